"""Finding the user that an address names, and who may change it."""

from accounts.people import with_profiles
from accounts.roles import Role
from school.api import ApiError


def find_user(pk):
    user = with_profiles().filter(pk=pk).first()
    if user is None:
        raise ApiError(404, "There is no such user.")
    return user


def is_admin(request):
    return request.user.user_type == Role.ADMIN


def require_admin_or_self(request, pk):
    if not is_admin(request) and request.user.pk != pk:
        raise ApiError(403, "Only an admin or the user may do this.")
