"""Addresses of what is taught."""

from django.urls import path

from . import api

urlpatterns = [
    path("api/v1/courses/", api.Courses.as_view()),
    path("api/v1/subjects/", api.Subjects.as_view()),
    path("api/v1/session-years/", api.SessionYears.as_view()),
    path("api/v1/enrolments/", api.Enrolments.as_view()),
]
