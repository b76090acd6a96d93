"""Addresses of results and assignments."""

from django.urls import path

from . import api, views

urlpatterns = [
    path("api/v1/results/", api.Results.as_view()),
    path("results/enter/", views.EnterResultsPage.as_view()),
    path("results/mine/", views.MyResultsPage.as_view()),
    path("assignments/set/", views.SetAssignmentsPage.as_view()),
    path("assignments/mine/", views.MyAssignmentsPage.as_view()),
    path("assignments/<int:pk>/hand-in/", views.HandInPage.as_view()),
    path("assignments/submissions/<int:pk>/document/", views.SubmittedDocument.as_view()),
]
