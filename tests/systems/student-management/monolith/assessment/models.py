"""Marks, and the assignments that students hand in."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from school.models import Stamped

MARKS = [MinValueValidator(0), MaxValueValidator(100)]


class StudentResult(Stamped):
    student = models.ForeignKey("accounts.Student", models.CASCADE, related_name="results")
    subject = models.ForeignKey("academics.Subject", models.CASCADE, related_name="results")
    exam_marks = models.FloatField(default=0, validators=MARKS)
    assignment_marks = models.FloatField(default=0, validators=MARKS)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["student", "subject"], name="one_result_a_subject"),
        ]

    def __str__(self):
        return f"{self.student} in {self.subject}"


class Assignment(Stamped):
    subject = models.ForeignKey("academics.Subject", models.CASCADE, related_name="assignments")
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True, default="")
    due_on = models.DateField()

    def __str__(self):
        return self.title


class AssignmentSubmission(models.Model):
    assignment = models.ForeignKey(Assignment, models.CASCADE, related_name="submissions")
    student = models.ForeignKey("accounts.Student", models.CASCADE, related_name="submissions")
    answer = models.TextField(blank=True, default="")
    document = models.FileField(upload_to="submissions/", blank=True)
    submitted_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["assignment", "student"], name="handed_in_once"),
        ]

    def __str__(self):
        return f"{self.student} for {self.assignment}"
