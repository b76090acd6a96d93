"""Requests for leave, of students and of staff, and what an admin decided about them."""

from django.db import models

from school.models import Stamped


class Decision(models.IntegerChoices):
    PENDING = 0, "pending"
    APPROVED = 1, "approved"
    REJECTED = 2, "rejected"


class LeaveReport(Stamped):
    leave_date = models.DateField()
    message = models.TextField()
    status = models.SmallIntegerField(choices=Decision.choices, default=Decision.PENDING)

    class Meta:
        abstract = True

    def __str__(self):
        return f"{self.owner} on {self.leave_date}: {Decision(self.status).label}"


class LeaveReportStudent(LeaveReport):
    owner = models.ForeignKey("accounts.Student", models.CASCADE, db_column="student_id", related_name="leave_reports")

    class Meta:
        verbose_name = "leave of a student"
        verbose_name_plural = "leave of students"


class LeaveReportStaff(LeaveReport):
    owner = models.ForeignKey("accounts.Staff", models.CASCADE, db_column="staff_id", related_name="leave_reports")

    class Meta:
        verbose_name = "leave of a staff member"
        verbose_name_plural = "leave of staff"
