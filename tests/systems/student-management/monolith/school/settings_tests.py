"""The settings with which `manage.py test` runs: the real ones, with a key of their own."""

import os
import tempfile

os.environ.setdefault("SCHOOL_SECRET_KEY", "key-of-the-test-runs")
os.environ.setdefault("SCHOOL_FAST_PASSWORDS", "1")

from school.settings import *  # noqa: E402, F403  (the environment has to be complete before the import)

MEDIA_ROOT = tempfile.mkdtemp(prefix="school-media-")
LOGGING["loggers"]["django.security.csrf"] = {"level": "ERROR"}  # noqa: F405  (refusals are what the tests are after)
