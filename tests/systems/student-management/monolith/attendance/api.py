"""JSON of attendance. A row of the listing is one student in one lesson; a POST is one lesson with all its students."""

from django.http import JsonResponse

from academics.models import SessionYear, Subject
from accounts.models import Student
from accounts.ownership import visible
from accounts.roles import Role
from school.api import ApiError, ListView, json_body
from school.fields import Fields

from .lessons import AlreadyTaken, take
from .models import AttendanceReport


class AttendanceReports(ListView):
    roles = {"POST": {Role.STAFF}}

    def rows(self):
        reports = AttendanceReport.objects.select_related("attendance").order_by("pk")
        if self.request.user.user_type == Role.STAFF:
            return reports
        return visible(self.request, reports, owner="student")

    def shape(self, report):
        return {
            "id": report.pk,
            "attendance_id": report.attendance_id,
            "subject_id": report.attendance.subject_id,
            "session_year_id": report.attendance.session_year_id,
            "date": report.attendance.date,
            "student_id": report.student_id,
            "present": report.present,
        }

    def post(self, request):
        lesson, present = _read_lesson(request)
        try:
            attendance = take(**lesson, present=present)
        except AlreadyTaken:
            raise ApiError(409, "The attendance of this lesson is taken already.") from None
        return JsonResponse({"id": attendance.pk, "date": attendance.date, "students": len(present)}, status=201)


def _read_lesson(request):
    body = json_body(request)
    fields = Fields(body, ("subject_id", "session_year_id", "date", "present"))
    subject = Subject.objects.filter(pk=fields.integer("subject_id", required=True)).first()
    if subject is None:
        fields.refuse("subject_id", "There is no such subject.")
    elif subject.staff.user_id != request.user.pk:
        fields.refuse("subject_id", "This subject is taught by somebody else.")
    year = SessionYear.objects.filter(pk=fields.integer("session_year_id", required=True)).first()
    if year is None:
        fields.refuse("session_year_id", "There is no such year.")
    lesson = {"subject": subject, "session_year": year, "date": fields.date("date")}
    present = _read_present(fields, body.get("present"))
    fields.check()
    return lesson, present


def _read_present(fields, given):
    """`{"<student id>": true or false}`; JSON's names are texts."""
    if not isinstance(given, dict) or not all(name.isascii() and name.isdigit() for name in given):
        return fields.refuse("present", "This is not an object of student ids.")
    if not all(isinstance(was_there, bool) for was_there in given.values()):
        return fields.refuse("present", "A student is present (true) or not (false).")
    present = {int(name): was_there for name, was_there in given.items()}
    if Student.objects.filter(pk__in=present).count() != len(present):
        return fields.refuse("present", "Not all of these are students.")
    return present
