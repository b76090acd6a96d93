"""One `Attendance` for each lesson, one `AttendanceReport` for each student in it."""

from django.db import models

from school.models import Stamped


class Attendance(Stamped):
    subject = models.ForeignKey("academics.Subject", models.CASCADE)
    session_year = models.ForeignKey("academics.SessionYear", models.PROTECT)
    date = models.DateField()

    class Meta:
        verbose_name_plural = "attendance"
        constraints = [
            models.UniqueConstraint(fields=["subject", "session_year", "date"], name="attendance_taken_once"),
        ]

    def __str__(self):
        return f"{self.subject} on {self.date}"


class AttendanceReport(Stamped):
    attendance = models.ForeignKey(Attendance, models.CASCADE, related_name="reports")
    student = models.ForeignKey("accounts.Student", models.CASCADE, related_name="attendance_reports")
    present = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["attendance", "student"], name="student_reported_once"),
        ]

    def __str__(self):
        return f"{self.student}: {'present' if self.present else 'absent'}"
