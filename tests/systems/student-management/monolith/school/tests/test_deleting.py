"""Deleting a user leaves nothing of it anywhere."""

from io import StringIO

from django.apps import apps
from django.contrib.admin.models import ADDITION, LogEntry
from django.core.management import call_command
from django.db import connection
from django.test import TestCase

from accounts.models import CustomUser


def counts():
    return {
        model._meta.label: model.objects.count() for model in apps.get_models() if model._meta.app_label != "sessions"
    }


class Deleting(TestCase):
    @classmethod
    def setUpTestData(cls):
        call_command("seed", users=30, seed=5, stdout=StringIO())

    def setUp(self):
        self.client.force_login(CustomUser.objects.get(username="admin1"))

    def delete(self, name):
        user = CustomUser.objects.get(username=name)
        LogEntry.objects.create(user=user, object_repr="x", action_flag=ADDITION)
        self.assertEqual(self.client.delete(f"/api/v1/users/{user.pk}/").status_code, 204)
        self.assertEqual(self.client.get(f"/api/v1/users/{user.pk}/").status_code, 404)
        connection.check_constraints()
        self.assertFalse(LogEntry.objects.exists())

    def test_a_student_goes_with_all_it_has(self):
        before = counts()
        self.delete("student1")
        after = counts()
        gone = {label for label, count in before.items() if after[label] < count}
        self.assertLessEqual(
            {
                "accounts.CustomUser", "accounts.Student", "academics.Enrolment", "attendance.AttendanceReport",
                "leave.LeaveReportStudent", "feedback.FeedbackStudent", "notifications.NotificationStudent",
                "assessment.StudentResult", "assessment.AssignmentSubmission", "finance.Fine", "finance.FinePayment",
            },
            gone,
        )  # fmt: skip

    def test_staff_go_with_their_subjects(self):
        self.delete("staff1")
        self.assertFalse(CustomUser.objects.filter(username="staff1").exists())

    def test_notes_and_photo_go_too(self):
        # The seed gives the first user of all a note and a photo.
        other = CustomUser.objects.create_superuser("other")
        self.client.force_login(other)
        before = counts()
        self.delete("admin1")
        after = counts()
        for label in ("accounts.AdminHOD", "accounts.UserNote", "accounts.Photo"):
            self.assertEqual(after[label], before[label] - 1, label)

    def test_only_an_admin_may(self):
        self.client.force_login(CustomUser.objects.get(username="staff1"))
        self.assertEqual(self.client.delete("/api/v1/users/1/").status_code, 403)
