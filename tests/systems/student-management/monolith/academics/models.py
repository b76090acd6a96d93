"""What is taught: courses, their subjects, the years, and who is enrolled."""

from django.db import models
from django.utils import timezone

from school.models import Stamped


class Course(Stamped):
    name = models.CharField(max_length=120, unique=True)

    def __str__(self):
        return self.name


class SessionYear(models.Model):
    starts_on = models.DateField()
    ends_on = models.DateField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_on__gt=models.F("starts_on")), name="session_year_runs_forward"
            ),
        ]

    def __str__(self):
        return f"{self.starts_on:%Y}–{self.ends_on:%Y}"


class Subject(Stamped):
    name = models.CharField(max_length=120)
    course = models.ForeignKey(Course, models.CASCADE, related_name="subjects")
    staff = models.ForeignKey("accounts.Staff", models.CASCADE, related_name="subjects")

    def __str__(self):
        return self.name


class Enrolment(models.Model):
    student = models.ForeignKey("accounts.Student", models.CASCADE, related_name="enrolments")
    subject = models.ForeignKey(Subject, models.CASCADE, related_name="enrolments")
    session_year = models.ForeignKey(SessionYear, models.PROTECT)
    enrolled_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["student", "subject", "session_year"], name="enrolled_once"),
        ]

    def __str__(self):
        return f"{self.student} in {self.subject}"
