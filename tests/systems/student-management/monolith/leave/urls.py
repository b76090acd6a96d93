"""Addresses of leave."""

from django.urls import path

from . import api

urlpatterns = [
    path("api/v1/leave/", api.Leave.as_view()),
]
