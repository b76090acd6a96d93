"""Addresses of leave."""

from django.urls import path, re_path

from . import api, views

urlpatterns = [
    path("api/v1/leave/", api.Leave.as_view()),
    path("leave/", views.MyLeavePage.as_view()),
    path("manage/leave/<str:kind>/", views.DecideLeavePage.as_view()),
    re_path(
        r"^manage/leave/(?P<kind>\w+)/(?P<pk>[0-9]+)/(?P<decision>approve|reject)/$", views.LeaveDecision.as_view()
    ),
]
