"""The fields of a user in a JSON body: which there are, for whom, and what is wrong with them."""

from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError

from academics.models import Course, SessionYear
from accounts.people import PROFILE_FIELDS
from accounts.roles import Role
from school.api import ApiError
from school.fields import Fields

CHANGEABLE = ("email", "first_name", "last_name", "address", "gender")
OF_PROFILE = ("address", "gender", "course_id", "session_year_id")
NEW = ("username", "password", "role", "email", "first_name", "last_name", *OF_PROFILE)
REFERENCES = {"course_id": Course, "session_year_id": SessionYear}


def read_new_user(body):
    """The arguments of `people.create`."""
    fields = Fields(body, NEW)
    role = Role.named(fields.text("role", required=True))
    if role is None:
        fields.refuse("role", "This is none of admin, staff, student.")
    values = {
        "role": role,
        "username": _username(fields),
        "password": fields.text("password", required=True),
        **_personal(fields),
    }
    for name, model in REFERENCES.items():
        values[name] = fields.integer(name)
        if values[name] is not None and not model.objects.filter(pk=values[name]).exists():
            fields.refuse(name, "There is no such row.")
    return _of_role(fields, role, values)


def read_changes(body, role, *, by_admin):
    """The arguments of `people.change`: only what the body names."""
    if "is_active" in body and not by_admin:
        raise ApiError(403, "Only an admin may change is_active.")
    fields = Fields(body, (*CHANGEABLE, "is_active"))
    values = {**_personal(fields), "is_active": fields.flag("is_active")}
    return _of_role(fields, role, values)


def _personal(fields):
    return {
        "email": fields.email("email"),
        "first_name": fields.text("first_name", max_length=150),
        "last_name": fields.text("last_name", max_length=150),
        "address": fields.text("address"),
        "gender": fields.text("gender", max_length=20),
    }


def _username(fields):
    name = fields.text("username", required=True, max_length=150)
    if name is not None:
        try:
            UnicodeUsernameValidator()(name)
        except ValidationError:
            return fields.refuse("username", "Letters, digits and @ . + - _ only.")
    return name


def _of_role(fields, role, values):
    """Drops what was not given; an empty value for what the role does not have is not given, a real one is refused."""
    given = {name: value for name, value in values.items() if value is not None}
    for name in OF_PROFILE:
        if role is not None and name in given and name not in PROFILE_FIELDS[role]:
            if given.pop(name) != "":
                fields.refuse(name, f"The role {role.label} has no such field.")
    fields.check()
    return given
