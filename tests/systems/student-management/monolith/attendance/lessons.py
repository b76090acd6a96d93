"""Taking attendance: one lesson with a report for each student, or nothing."""

from django.db import IntegrityError, transaction

from .models import Attendance, AttendanceReport


class AlreadyTaken(Exception):
    """The attendance of this lesson is there already."""


def take(subject, session_year, date, present):
    """`present` maps the id of each student of the lesson to whether the student was there."""
    lesson = {"subject": subject, "session_year": session_year, "date": date}
    try:
        with transaction.atomic():
            attendance = Attendance.objects.create(**lesson)
            AttendanceReport.objects.bulk_create(
                AttendanceReport(attendance=attendance, student_id=student, present=was_there)
                for student, was_there in present.items()
            )
    except IntegrityError as error:
        if "attendance_attendance.subject_id" in str(error):
            raise AlreadyTaken from error
        raise
    return attendance
