"""Taking attendance (staff) and looking at the own (students)."""

from django.contrib import messages
from django.shortcuts import redirect, render
from django.views import View

from accounts.models import Student
from accounts.roles import Role
from school.pages import RolePage, TablePage

from .forms import LessonForm
from .lessons import AlreadyTaken, take
from .models import AttendanceReport


class TakeAttendancePage(RolePage, View):
    """First the lesson is chosen (GET), then its students are ticked (POST)."""

    roles = {Role.STAFF}

    def get(self, request):
        lesson = LessonForm(request.GET or None, staff=self.profile)
        return self._page(lesson)

    def post(self, request):
        lesson = LessonForm(request.POST, staff=self.profile)
        if not lesson.is_valid():
            return self._page(lesson)
        ticked = set(request.POST.getlist("present"))
        present = {student.pk: str(student.pk) in ticked for student in _students(lesson)}
        try:
            take(**lesson.cleaned_data, present=present)
        except AlreadyTaken:
            lesson.add_error(None, "The attendance of this lesson is taken already.")
            return self._page(lesson)
        messages.success(request, f"The attendance of {len(present)} students is saved.")
        return redirect(request.path)

    def _page(self, lesson):
        students = _students(lesson) if lesson.is_valid() else None
        context = {"title": "Take attendance", "lesson": lesson, "students": students}
        return render(self.request, "attendance/take.html", context)


class MyAttendancePage(TablePage):
    roles = {Role.STUDENT}
    title = "My attendance"
    columns = {
        "Date": lambda report: report.attendance.date,
        "Subject": lambda report: report.attendance.subject.name,
        "Present": lambda report: "yes" if report.present else "no",
    }

    def get_queryset(self):
        reports = AttendanceReport.objects.select_related("attendance__subject")
        return reports.filter(student=self.profile).order_by("-attendance__date", "-pk")


def _students(lesson):
    enrolled = {
        "enrolments__subject": lesson.cleaned_data["subject"],
        "enrolments__session_year": lesson.cleaned_data["session_year"],
    }
    return Student.objects.filter(**enrolled).select_related("user").order_by("user__last_name", "pk")
