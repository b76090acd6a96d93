"""Addresses of what is taught."""

from django.urls import path

from . import api, views

urlpatterns = [
    path("api/v1/courses/", api.Courses.as_view()),
    path("api/v1/subjects/", api.Subjects.as_view()),
    path("api/v1/session-years/", api.SessionYears.as_view()),
    path("api/v1/enrolments/", api.Enrolments.as_view()),
    path("manage/courses/", views.CoursesPage.as_view()),
    path("manage/subjects/", views.SubjectsPage.as_view()),
    path("manage/session-years/", views.SessionYearsPage.as_view()),
]
