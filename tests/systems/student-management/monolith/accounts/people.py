"""Making and changing users together with the profile of their role. Does not check who asks."""

from django.db import IntegrityError, transaction

from .models import AdminHOD, CustomUser, Staff, Student
from .roles import Role

PROFILES = {Role.ADMIN: AdminHOD, Role.STAFF: Staff, Role.STUDENT: Student}
PROFILE_FIELDS = {
    Role.ADMIN: (),
    Role.STAFF: ("address",),
    Role.STUDENT: ("address", "gender", "course_id", "session_year_id"),
}


class UsernameTaken(Exception):
    """Another user has the name already."""


def with_profiles():
    """All users by id, each with its profile in the same query."""
    return CustomUser.objects.select_related("admin_profile", "staff_profile", "student_profile").order_by("pk")


def create(role, username, password, **values):
    """A new user of the role. `values` are columns of the user and of the role's profile."""
    profile_values = {name: values.pop(name) for name in PROFILE_FIELDS[role] if name in values}
    user = CustomUser(username=CustomUser.normalize_username(username), user_type=role, **values)
    user.set_password(password)
    try:
        with transaction.atomic():
            user.save()
            PROFILES[role].objects.create(user=user, **profile_values)
    except IntegrityError as error:
        if "accounts_customuser.username" in str(error):
            raise UsernameTaken(username) from error
        raise
    return user


def change(user, **values):
    """Writes the given columns of the user and of its profile, and no others."""
    of_profile = {name: values.pop(name) for name in PROFILE_FIELDS[user.role] if name in values}
    with transaction.atomic():
        _write(user, values)
        if of_profile and user.profile is not None:
            _write(user.profile, of_profile)


def _write(row, values):
    for name, value in values.items():
        setattr(row, name, value)
    if values:
        row.save(update_fields=list(values))
