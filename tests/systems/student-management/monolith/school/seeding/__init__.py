"""A school of any size, the same for the same seed: `fill()` is the whole of it.

Times count back from a fixed moment, so two fills with one seed make the same rows to the last byte.
"""

from random import Random

from django.db import transaction

from .activity import fill_activity
from .lessons import fill_lessons
from .people import fill_people
from .studies import fill_studies


def fill(users, seed):
    """Fills an empty database. Returns how many rows of each kind there are."""
    dice = Random(seed)
    with transaction.atomic():
        studies = fill_studies(users)
        people = fill_people(dice, users, studies)
        lessons = fill_lessons(dice, studies, people)
        activity = fill_activity(dice, people)
    return {**studies.counts(), **people.counts(), **lessons.counts(), **activity}
