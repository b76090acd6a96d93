"""Courses and years. Subjects need teachers and come with the lessons."""

from dataclasses import dataclass
from datetime import date

from academics.models import Course, SessionYear

from .words import FIELDS, NOW

USERS_A_COURSE = 200
YEARS = (2023, 2024, 2025)


@dataclass
class Studies:
    courses: list
    years: list

    def counts(self):
        return {"courses": len(self.courses), "session years": len(self.years)}


def fill_studies(users):
    years = SessionYear.objects.bulk_create(
        SessionYear(starts_on=date(year, 9, 1), ends_on=date(year + 1, 7, 31)) for year in YEARS
    )
    courses = Course.objects.bulk_create(
        Course(name=_course_name(number), created_at=NOW, updated_at=NOW)
        for number in range(max(3, users // USERS_A_COURSE))
    )
    return Studies(courses, years)


def _course_name(number):
    level, field = divmod(number, len(FIELDS))
    return f"{FIELDS[field]} {level + 1}"
