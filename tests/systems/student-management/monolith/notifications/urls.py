"""Addresses of notifications."""

from django.urls import path

from . import api, views

urlpatterns = [
    path("api/v1/notifications/", api.Notifications.as_view()),
    path("notifications/", views.MyNotificationsPage.as_view()),
    path("manage/notifications/<str:kind>/", views.SendNotificationPage.as_view()),
]
