"""`seed --users N --seed S`: fills an empty database with a school."""

from django.core.management.base import BaseCommand, CommandError

from accounts.models import CustomUser
from school.seeding import fill


class Command(BaseCommand):
    help = "Fill an empty database with a school of N users, the same for the same seed."

    def add_arguments(self, parser):
        parser.add_argument("--users", type=int, default=500)
        parser.add_argument("--seed", type=int, default=1)

    def handle(self, *args, users, seed, **options):
        if users < 3:
            raise CommandError("--users: a school has at least 3 (one of each role)")
        if CustomUser.objects.exists():
            raise CommandError("the database has users already; seed fills an empty one")
        for kind, count in fill(users, seed).items():
            self.stdout.write(f"{count:8} {kind}")
