"""Addresses of notifications."""

from django.urls import path

from . import api

urlpatterns = [
    path("api/v1/notifications/", api.Notifications.as_view()),
]
