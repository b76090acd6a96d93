"""Addresses of fines."""

from django.urls import path

from . import api

urlpatterns = [
    path("api/v1/fines/", api.Fines.as_view()),
]
