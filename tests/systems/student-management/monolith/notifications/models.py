"""What the administration tells one student or one staff member."""

from django.db import models

from school.models import Stamped


class Notification(Stamped):
    message = models.TextField()

    class Meta:
        abstract = True

    def __str__(self):
        return f"to {self.owner}: {self.message[:60]}"


class NotificationStudent(Notification):
    owner = models.ForeignKey("accounts.Student", models.CASCADE, db_column="student_id", related_name="notifications")

    class Meta:
        verbose_name = "notification of a student"
        verbose_name_plural = "notifications of students"


class NotificationStaff(Notification):
    owner = models.ForeignKey("accounts.Staff", models.CASCADE, db_column="staff_id", related_name="notifications")

    class Meta:
        verbose_name = "notification of a staff member"
        verbose_name_plural = "notifications of staff"
