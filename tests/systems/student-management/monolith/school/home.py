"""The first page of each role: what there is to do, and how much of it."""

from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect
from django.views.generic import TemplateView

from academics.models import Course, Subject
from accounts.models import CustomUser
from accounts.roles import Role
from assessment.models import Assignment
from finance.models import Fine
from leave.models import Decision, LeaveReportStaff, LeaveReportStudent

from .pages import RolePage

HOMES = {Role.ADMIN: "/admin-home/", Role.STAFF: "/staff-home/", Role.STUDENT: "/student-home/"}


@login_required
def home(request):
    return redirect(HOMES[request.user.role])


def start(request):
    """The address on the school's letters, which leads to a whole address: some readers of codes take no other."""
    return redirect(request.build_absolute_uri("/"))


class HomePage(RolePage, TemplateView):
    template_name = "school/home.html"

    def get_context_data(self, **kwargs):
        return super().get_context_data(title=self.title, figures=self.figures(), **kwargs)

    def figures(self):
        raise NotImplementedError


class AdminHome(HomePage):
    roles = {Role.ADMIN}
    title = "Administration"

    def figures(self):
        pending = {"status": Decision.PENDING}
        return {
            "users": CustomUser.objects.count(),
            "courses": Course.objects.count(),
            "subjects": Subject.objects.count(),
            "requests for leave to decide": LeaveReportStudent.objects.filter(**pending).count()
            + LeaveReportStaff.objects.filter(**pending).count(),
        }


class StaffHome(HomePage):
    roles = {Role.STAFF}
    title = "Teaching"

    def figures(self):
        staff = self.profile
        return {
            "subjects": staff.subjects.count(),
            "assignments": Assignment.objects.filter(subject__staff=staff).count(),
            "notifications": staff.notifications.count(),
        }


class StudentHome(HomePage):
    roles = {Role.STUDENT}
    title = "Studies"

    def figures(self):
        student = self.profile
        return {
            "subjects": student.enrolments.count(),
            "lessons attended": student.attendance_reports.filter(present=True).count(),
            "lessons missed": student.attendance_reports.filter(present=False).count(),
            "fines": Fine.objects.filter(student=student).count(),
        }
