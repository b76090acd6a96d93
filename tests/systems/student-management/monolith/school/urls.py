"""All addresses. Each app lists its own pages and its own part of /api/v1/."""

from django.contrib import admin
from django.urls import include, path

from . import errors
from .health import health
from .home import AdminHome, StaffHome, StudentHome, home, start

urlpatterns = [
    path("admin/", admin.site.urls),
    path("health/", health),
    path("", home),
    path("start/", start),
    path("admin-home/", AdminHome.as_view()),
    path("staff-home/", StaffHome.as_view()),
    path("student-home/", StudentHome.as_view()),
    path("", include("accounts.urls")),
    path("", include("academics.urls")),
    path("", include("attendance.urls")),
    path("", include("leave.urls")),
    path("", include("feedback.urls")),
    path("", include("notifications.urls")),
    path("", include("assessment.urls")),
    path("", include("finance.urls")),
]

handler400 = errors.bad_request
handler403 = errors.permission_denied
handler404 = errors.page_not_found
handler500 = errors.server_error
