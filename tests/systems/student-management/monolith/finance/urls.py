"""Addresses of fines."""

from django.urls import path

from . import api, views

urlpatterns = [
    path("api/v1/fines/", api.Fines.as_view()),
    path("manage/fines/", views.FinesPage.as_view()),
    path("fines/mine/", views.MyFinesPage.as_view()),
]
