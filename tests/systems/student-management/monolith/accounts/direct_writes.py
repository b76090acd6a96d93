"""Writes of the users' tables that come from outside the web server: a nightly job, a shell, an import.

Each write is one transaction and reported as one JSON line right after its commit. A database that is locked is
tried again; a write that the database refuses in the name of `ficus` is reported and left out, as is one for somebody
who was removed meanwhile.
"""

import json
import time

from django.db import IntegrityError, OperationalError

LOCKED = "database is locked"
PAUSE_WHEN_LOCKED = 0.02  # seconds


def write(out, row, *values):
    """Calls `row` with the values; it commits one write and returns what to report of it."""
    try:
        report = _until_unlocked(row, values)
    except IntegrityError as error:
        if "ficus" in str(error):
            report = {"refused": str(error)}
        elif "foreign key" in str(error).lower():
            report = {"gone": str(error)}
        else:
            raise
    out.write(json.dumps(report))
    out.flush()


def _until_unlocked(row, values):
    while True:
        try:
            return row(*values)
        except OperationalError as error:
            if LOCKED not in str(error):
                raise
            time.sleep(PAUSE_WHEN_LOCKED)
