"""The seed is the same for the same seed; the writers report what was committed and what was refused."""

import json
from io import StringIO
from unittest import mock

from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import SimpleTestCase, TestCase, TransactionTestCase

from accounts import direct_writes
from accounts.models import CustomUser, Student, UserNote
from school.seeding import fill

from .people import make_people

OURS = ("accounts", "academics", "attendance", "leave", "feedback", "notifications", "assessment", "finance")


def everything():
    """All rows of the school, and none of them left behind."""
    models = [model for app in OURS for model in apps.get_app_config(app).get_models()]
    rows = {model._meta.label: list(model.objects.order_by("pk").values_list()) for model in models}
    for model in reversed(models):
        model.objects.all()._raw_delete("default")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sqlite_sequence")
    return rows


class Seed(TestCase):
    def test_is_the_same_for_the_same_seed_only(self):
        fill(60, seed=3)
        first = everything()
        fill(60, seed=3)
        self.assertEqual(everything(), first)
        fill(60, seed=4)
        self.assertNotEqual(everything(), first)
        self.assertEqual([label for label, rows in first.items() if not rows], [])

    def test_everybody_can_log_in(self):
        call_command("seed", users=10, stdout=StringIO())
        for name in ("admin1", "staff1", "student1"):
            self.assertTrue(self.client.login(username=name, password="ficus-demo-1"), name)
        self.assertEqual(CustomUser.objects.count(), 10)

    def test_wants_an_empty_database(self):
        make_people()
        with self.assertRaisesMessage(CommandError, "has users already"):
            call_command("seed")


class DirectWrites(TransactionTestCase):
    def setUp(self):
        make_people()

    def lines(self, command, **options):
        out = StringIO()
        call_command(command, stdout=out, **options)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def test_notes_are_reported_as_they_are_stored(self):
        lines = self.lines("write_notes", count=5, prefix="p")
        self.assertEqual(
            [(line["user"], line["text"]) for line in lines], list(UserNote.objects.values_list("user", "text"))
        )
        self.assertEqual(lines[-1]["text"], "p-5")

    def test_a_refusal_in_the_name_of_ficus_is_reported_and_left_out(self):
        with connection.cursor() as cursor:
            cursor.execute(
                "CREATE TEMP TRIGGER fence BEFORE INSERT ON accounts_usernote WHEN NEW.text = 'p-2'"
                " BEGIN SELECT RAISE(ABORT, 'ficus: users are moving'); END"
            )
        self.addCleanup(lambda: connection.cursor().execute("DROP TRIGGER fence"))
        lines = self.lines("write_notes", count=3, prefix="p")
        self.assertEqual(lines[1], {"refused": "ficus: users are moving"})
        self.assertEqual(list(UserNote.objects.values_list("text", flat=True)), ["p-1", "p-3"])

    def test_addresses(self):
        lines = self.lines("touch_addresses", count=2, prefix="house")
        self.assertEqual(lines[-1], {"user": Student.objects.get().user_id, "address": "house-2"})
        self.assertEqual(Student.objects.get().address, "house-2")


class Retrying(SimpleTestCase):
    def test_a_locked_database_is_tried_again(self):
        row = mock.Mock(side_effect=[OperationalError("database is locked")] * 2 + [{"user": 1}])
        out = StringIO()
        with mock.patch.object(direct_writes, "PAUSE_WHEN_LOCKED", 0):
            direct_writes.write(out, row)
        self.assertEqual((row.call_count, out.getvalue()), (3, '{"user": 1}'))

    def test_any_other_trouble_is_raised(self):
        with self.assertRaises(OperationalError):
            direct_writes.write(StringIO(), mock.Mock(side_effect=OperationalError("disk I/O error")))
