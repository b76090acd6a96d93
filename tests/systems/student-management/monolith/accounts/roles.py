"""The three roles: their names in public, their numbers in the table."""

from django.db import models


class Role(models.IntegerChoices):
    ADMIN = 1, "admin"
    STAFF = 2, "staff"
    STUDENT = 3, "student"

    @classmethod
    def named(cls, name):
        """The role of this name, or None."""
        return next((role for role in cls if role.label == name), None)
