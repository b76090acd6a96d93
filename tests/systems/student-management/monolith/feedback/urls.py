"""Addresses of feedback."""

from django.urls import path

from . import api, views

urlpatterns = [
    path("api/v1/feedback/", api.Feedback.as_view()),
    path("feedback/", views.MyFeedbackPage.as_view()),
    path("manage/feedback/<str:kind>/", views.AllFeedbackPage.as_view()),
    path("manage/feedback/<str:kind>/<int:pk>/reply/", views.FeedbackReply.as_view()),
]
