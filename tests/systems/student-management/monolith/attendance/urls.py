"""Addresses of attendance."""

from django.urls import path

from . import api, views
from .reports import AttendanceCsv

urlpatterns = [
    path("api/v1/attendance/", api.AttendanceReports.as_view()),
    path("api/v1/reports/attendance.csv", AttendanceCsv.as_view()),
    path("attendance/take/", views.TakeAttendancePage.as_view()),
    path("attendance/mine/", views.MyAttendancePage.as_view()),
]
