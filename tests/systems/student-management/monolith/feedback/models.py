"""What students and staff tell the administration, and its reply."""

from django.db import models

from school.models import Stamped


class Feedback(Stamped):
    text = models.TextField()
    reply = models.TextField(blank=True, default="")

    class Meta:
        abstract = True

    def __str__(self):
        return f"{self.owner}: {self.text[:60]}"


class FeedbackStudent(Feedback):
    owner = models.ForeignKey("accounts.Student", models.CASCADE, db_column="student_id", related_name="feedback")

    class Meta:
        verbose_name = "feedback of a student"
        verbose_name_plural = "feedback of students"


class FeedbackStaff(Feedback):
    owner = models.ForeignKey("accounts.Staff", models.CASCADE, db_column="staff_id", related_name="feedback")

    class Meta:
        verbose_name = "feedback of a staff member"
        verbose_name_plural = "feedback of staff"
