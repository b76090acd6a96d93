"""Reads the fields of a JSON object one by one and keeps what is wrong with each, to say it all at once."""

from datetime import date

from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from .api import ApiError


class Fields:
    """A field that is absent or not valid reads as None; `check()` raises when any was not valid."""

    def __init__(self, body, known):
        self._body = body
        self.errors = {name: "This field is not known here." for name in body if name not in known}

    def __contains__(self, name):
        return name in self._body

    def text(self, name, *, required=False, max_length=None):
        value = self._body.get(name)
        if value is None and name not in self._body:
            return self._missing(name) if required else None
        if not isinstance(value, str):
            return self.refuse(name, "This is not a text.")
        if required and not value.strip():
            return self._missing(name)
        if not _storable(value):
            return self.refuse(name, "This text has characters that cannot be stored.")
        if max_length is not None and len(value) > max_length:
            return self.refuse(name, f"At most {max_length} characters.")
        return value

    def email(self, name):
        value = self.text(name, max_length=254)
        if value:
            try:
                validate_email(value)
            except ValidationError:
                return self.refuse(name, "This is not an e-mail address.")
        return value

    def flag(self, name):
        value = self._body.get(name)
        if name in self._body and not isinstance(value, bool):
            return self.refuse(name, "This is neither true nor false.")
        return value

    def integer(self, name, *, required=False):
        value = self._body.get(name)
        if value is None:
            return self._missing(name) if required else None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**63:
            return self.refuse(name, "This is not an id.")
        return value

    def date(self, name):
        value = self.text(name, required=True)
        try:
            return value and date.fromisoformat(value)
        except ValueError:
            return self.refuse(name, "This is not a date (YYYY-MM-DD).")

    def refuse(self, name, why):
        self.errors.setdefault(name, why)

    def check(self):
        if self.errors:
            raise ApiError(400, "Some fields are not valid.", self.errors)

    def _missing(self, name):
        return self.refuse(name, "This field is required.")


def _storable(text):
    """NUL ends a text for much of SQLite; a lone surrogate, which JSON can spell, has no UTF-8."""
    return "\0" not in text and not any("\ud800" <= letter <= "\udfff" for letter in text)
