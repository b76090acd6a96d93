"""The users themselves: list, make, read, change, delete."""

from django.http import HttpResponse, JsonResponse

from accounts import people
from accounts.roles import Role
from accounts.shapes import user_json
from school.api import ApiError, ApiView, ListView, json_body

from .access import find_user, is_admin, require_admin_or_self
from .fields import read_changes, read_new_user


class Users(ListView):
    roles = {"POST": {Role.ADMIN}}
    shape = staticmethod(user_json)

    def rows(self):
        users = people.with_profiles()
        if name := self.request.GET.get("role"):
            role = Role.named(name)
            if role is None:
                raise ApiError(400, "role is none of admin, staff, student.")
            users = users.filter(user_type=role)
        if prefix := self.request.GET.get("q"):
            users = users.filter(username__startswith=prefix)
        return users

    def post(self, request):
        new_user = read_new_user(json_body(request))
        try:
            user = people.create(**new_user)
        except people.UsernameTaken:
            raise ApiError(409, "The user name is taken.") from None
        return JsonResponse(user_json(user), status=201)


class Me(ApiView):
    def get(self, request):
        return JsonResponse(user_json(find_user(request.user.pk)))


class OneUser(ApiView):
    roles = {"DELETE": {Role.ADMIN}}

    def get(self, request, pk):
        return JsonResponse(user_json(find_user(pk)))

    def patch(self, request, pk):
        require_admin_or_self(request, pk)
        user = find_user(pk)
        changes = read_changes(json_body(request), user.role, by_admin=is_admin(request))
        people.change(user, **changes)
        return JsonResponse(user_json(user))

    def delete(self, request, pk):
        find_user(pk).delete()
        return HttpResponse(status=204)
