"""`touch_addresses --count N --prefix P --interval-ms M`: new addresses of students, past the web server."""

import time

from django.core.management.base import BaseCommand, CommandError

from accounts.direct_writes import write
from accounts.models import Student


class Command(BaseCommand):
    help = "Give students numbered addresses in turn; print each as a JSON line after its commit."

    def add_arguments(self, parser):
        parser.add_argument("--count", type=int, required=True)
        parser.add_argument("--prefix", default="house")
        parser.add_argument("--interval-ms", type=int, default=0)

    def handle(self, *args, count, prefix, interval_ms, **options):
        students = list(Student.objects.order_by("pk"))
        if not students:
            raise CommandError("there are no students to give addresses to")
        for number in range(count):
            student, address = students[number % len(students)], f"{prefix}-{number + 1}"
            write(self.stdout, _move, student, address)
            time.sleep(interval_ms / 1000)


def _move(student, address):
    student.address = address
    student.save(update_fields=["address"])
    return {"user": student.user_id, "address": address}
