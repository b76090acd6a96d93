"""Addresses of results."""

from django.urls import path

from . import api

urlpatterns = [
    path("api/v1/results/", api.Results.as_view()),
]
