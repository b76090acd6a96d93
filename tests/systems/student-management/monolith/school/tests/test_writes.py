"""What is written to the users' tables, and by what: the part that a migration of these tables leans on."""

import re

from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.hashers import SteadyPBKDF2PasswordHasher
from accounts.models import CustomUser

from .people import PASSWORD, SchoolTestCase

WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE")
PAGES = [
    "/", "/admin-home/", "/accounts/profile/", "/manage/users/", "/manage/users/add/", "/api/v1/users/",
    "/api/v1/users/me/", "/api/v1/users/health/", "/api/v1/reports/attendance.csv",
    "/admin/", "/admin/accounts/customuser/",
]  # fmt: skip


def writes_to_accounts(captured):
    statements = [query["sql"] for query in captured]
    return [sql for sql in statements if sql.startswith(WRITES) and '"accounts_' in sql]


class Writes(SchoolTestCase):
    def log_in(self):
        form = {"username": self.student.username, "password": PASSWORD}
        with CaptureQueriesContext(connection) as captured:
            self.assertEqual(self.client.post("/accounts/login/", form).status_code, 302)
        return writes_to_accounts(captured)

    def assert_only_last_login(self, written):
        self.assertEqual(len(written), 1, written)
        self.assertRegex(written[0], r"""^UPDATE "accounts_customuser" SET "last_login" = '[^']+' WHERE [^,]+$""")

    def test_a_login_writes_last_login_and_nothing_else(self):
        self.assert_only_last_login(self.log_in())

    def test_a_login_keeps_a_hash_of_other_iterations(self):
        other = SteadyPBKDF2PasswordHasher().encode(PASSWORD, "salt", iterations=7)
        CustomUser.objects.filter(pk=self.student.pk).update(password=other)
        self.assert_only_last_login(self.log_in())

    def test_a_change_writes_the_named_columns_only(self):
        self.as_user(self.student)
        with CaptureQueriesContext(connection) as captured:
            self.patch_json(f"/api/v1/users/{self.student.pk}/", {"first_name": "Eve", "gender": "other"})
        columns = [sorted(re.findall(r'"(\w+)" =', sql.split(" WHERE ")[0])) for sql in writes_to_accounts(captured)]
        self.assertEqual(columns, [["first_name"], ["gender", "updated_at"]])

    def test_reading_writes_nothing(self):
        CustomUser.objects.filter(pk=self.admin.pk).update(is_staff=True, is_superuser=True)
        self.as_user(self.admin)
        for page in PAGES:
            with CaptureQueriesContext(connection) as captured:
                answer = self.client.get(page)
                b"".join(answer)
            self.assertLess(answer.status_code, 400, page)
            self.assertEqual(writes_to_accounts(captured), [], page)
