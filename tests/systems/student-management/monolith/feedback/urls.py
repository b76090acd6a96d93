"""Addresses of feedback."""

from django.urls import path

from . import api

urlpatterns = [
    path("api/v1/feedback/", api.Feedback.as_view()),
]
