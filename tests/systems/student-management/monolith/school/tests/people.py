"""One user of each role, and requests in their name."""

from django.test import TestCase

from accounts import people
from accounts.roles import Role

PASSWORD = "a password of the tests"
JSON = "application/json"
MOMENT = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"


def make_people():
    made = {}
    for role in Role:
        made[role] = people.create(role, f"{role.label}1", PASSWORD, email=f"{role.label}1@example.test")
    return made


class SchoolTestCase(TestCase):
    """`self.admin`, `self.staff`, `self.student` exist; nobody is logged in."""

    @classmethod
    def setUpTestData(cls):
        made = make_people()
        cls.admin, cls.staff, cls.student = made[Role.ADMIN], made[Role.STAFF], made[Role.STUDENT]

    def as_user(self, user):
        self.client.force_login(user)

    def post_json(self, path, body):
        return self.client.post(path, body, content_type=JSON)

    def patch_json(self, path, body):
        return self.client.patch(path, body, content_type=JSON)
