"""Whose rows a request is about, for the capabilities that keep one table for students and one for staff."""

from django.http import Http404

from school.api import ApiError

from .roles import Role


def own_table(request, tables):
    """The table of the caller's role, from `{Role.STUDENT: ..., Role.STAFF: ...}`; an admin names it by `?kind=`."""
    role = Role(request.user.user_type)
    if role is Role.ADMIN:
        role = Role.named(request.GET.get("kind") or Role.STUDENT.label)
    if role not in tables:
        raise ApiError(400, "kind is neither student nor staff.")
    return tables[role]


def visible(request, rows, owner="owner"):
    """The rows that the caller may see: an admin all, everybody else the own ones."""
    if request.user.user_type == Role.ADMIN:
        return rows
    return rows.filter(**{f"{owner}__user": request.user})


def require_profile(request):
    profile = request.user.profile
    if profile is None:
        raise ApiError(403, "Your user has no profile.")
    return profile


def table_of_kind(kind, tables):
    """The table that a page's address names."""
    role = Role.named(kind)
    if role not in tables:
        raise Http404
    return tables[role]
