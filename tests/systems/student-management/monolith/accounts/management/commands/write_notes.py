"""`write_notes --count N --prefix P --interval-ms M`: notes straight into the database, past the web server."""

import time

from django.core.management.base import BaseCommand, CommandError

from accounts.direct_writes import write
from accounts.models import CustomUser, UserNote


class Command(BaseCommand):
    help = "Write numbered notes of all users in turn; print each as a JSON line after its commit."

    def add_arguments(self, parser):
        parser.add_argument("--count", type=int, required=True)
        parser.add_argument("--prefix", default="note")
        parser.add_argument("--interval-ms", type=int, default=0)

    def handle(self, *args, count, prefix, interval_ms, **options):
        users = list(CustomUser.objects.order_by("pk").values_list("pk", flat=True))
        if not users:
            raise CommandError("there are no users to write notes of")
        for number in range(count):
            user, text = users[number % len(users)], f"{prefix}-{number + 1}"
            write(self.stdout, _note, user, text)
            time.sleep(interval_ms / 1000)


def _note(user, text):
    UserNote.objects.create(user_id=user, text=text)
    return {"user": user, "text": text}
