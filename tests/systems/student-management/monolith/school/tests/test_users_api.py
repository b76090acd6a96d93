"""/api/v1/users/ keeps the contract: shapes, roles, statuses."""

from datetime import UTC, datetime

from academics.models import Course
from accounts.models import CustomUser, UserNote

from .people import MOMENT, PASSWORD, SchoolTestCase

USERS = "/api/v1/users/"


class Listing(SchoolTestCase):
    def test_without_a_login_it_is_a_401_in_json(self):
        for path in (USERS, f"{USERS}me/", f"{USERS}1/", f"{USERS}1/notes/", f"{USERS}1/photo/"):
            answer = self.client.get(path)
            self.assertEqual((answer.status_code, list(answer.json())), (401, ["detail"]), path)

    def test_pages_are_cut_by_id(self):
        self.as_user(self.student)
        body = self.client.get(USERS, {"page": 2, "page_size": 2}).json()
        self.assertEqual([user["id"] for user in body.pop("results")], [self.student.pk])
        self.assertEqual(body, {"count": 3, "page": 2, "page_size": 2})

    def test_role_and_prefix_filter(self):
        self.as_user(self.student)
        for query in ({"role": "staff"}, {"q": "sta"}):
            found = self.client.get(USERS, query).json()["results"]
            self.assertEqual([user["username"] for user in found], ["staff1"], query)
        self.assertEqual(self.client.get(USERS, {"q": "%"}).json()["count"], 0)

    def test_page_size_has_a_ceiling_and_nonsense_is_refused(self):
        self.as_user(self.student)
        self.assertEqual(self.client.get(USERS, {"page_size": 1000}).json()["page_size"], 200)
        for query in ({"page": "0"}, {"page": "x"}, {"page_size": "-1"}, {"page": "9" * 30}, {"role": "cook"}):
            self.assertEqual(self.client.get(USERS, query).status_code, 400, query)


class OneUser(SchoolTestCase):
    def test_a_student_in_full(self):
        course = Course.objects.create(name="Physics 1")
        joined = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        CustomUser.objects.filter(pk=self.student.pk).update(date_joined=joined, first_name="Ada")
        profile = self.student.student_profile
        profile.address, profile.gender, profile.course = "1 High St", "female", course
        profile.save()
        self.as_user(self.student)
        expected = {
            "id": self.student.pk,
            "username": "student1",
            "email": "student1@example.test",
            "first_name": "Ada",
            "last_name": "",
            "role": "student",
            "is_active": True,
            "date_joined": "2026-01-02T03:04:05.000000Z",
            "profile": {"address": "1 High St", "gender": "female", "course_id": course.pk, "session_year_id": None},
        }
        self.assertEqual(self.client.get(f"{USERS}{self.student.pk}/").json(), expected)
        self.assertEqual(self.client.get(f"{USERS}me/").json(), expected)

    def test_profiles_of_the_other_roles(self):
        self.as_user(self.student)
        nothing = {"gender": None, "course_id": None, "session_year_id": None}
        for user in (self.admin, self.staff):
            profile = self.client.get(f"{USERS}{user.pk}/").json()["profile"]
            self.assertEqual(profile, {"address": "", **nothing})
        self.staff.staff_profile.delete()
        self.assertIsNone(self.client.get(f"{USERS}{self.staff.pk}/").json()["profile"])

    def test_nobody_there_is_a_404_in_json(self):
        self.as_user(self.admin)
        for path in (f"{USERS}999/", f"{USERS}{10**30}/", f"{USERS}abc/", "/api/v1/nothing/"):
            answer = self.client.get(path)
            self.assertEqual((answer.status_code, list(answer.json())), (404, ["detail"]), path)

    def test_a_method_that_is_not_there_is_a_405_in_json(self):
        self.as_user(self.admin)
        answer = self.client.put(f"{USERS}me/")
        self.assertEqual((answer.status_code, list(answer.json())), (405, ["detail"]))


class Creating(SchoolTestCase):
    def test_an_admin_makes_a_student_who_can_log_in(self):
        self.as_user(self.admin)
        body = {
            "username": "new",
            "password": "secret words",
            "role": "student",
            "address": "2 Low St",
            "gender": "male",
        }
        answer = self.post_json(USERS, body)
        self.assertEqual(answer.status_code, 201)
        user = answer.json()
        self.assertRegex(user["date_joined"], MOMENT)
        self.assertEqual(
            (user["role"], user["profile"]["address"], user["profile"]["gender"]), ("student", "2 Low St", "male")
        )
        self.assertTrue(self.client.login(username="new", password="secret words"))

    def test_only_an_admin_may(self):
        for user in (self.staff, self.student):
            self.as_user(user)
            self.assertEqual(self.post_json(USERS, {}).status_code, 403)

    def test_a_taken_name_is_a_409(self):
        self.as_user(self.admin)
        answer = self.post_json(USERS, {"username": "staff1", "password": PASSWORD, "role": "staff"})
        self.assertEqual((answer.status_code, answer.json()), (409, {"detail": "The user name is taken."}))

    def test_all_that_is_wrong_is_said_at_once(self):
        self.as_user(self.admin)
        body = {"username": "no spaces", "role": "cook", "email": "nowhere", "course_id": 99, "shoe_size": 42}
        answer = self.post_json(USERS, body)
        self.assertEqual(answer.status_code, 400)
        self.assertEqual(set(answer.json()), {"detail", "fields"})
        self.assertEqual(
            set(answer.json()["fields"]), {"username", "password", "role", "email", "course_id", "shoe_size"}
        )

    def test_what_sqlite_or_utf8_cannot_hold_is_refused(self):
        self.as_user(self.admin)
        for bad in ('"\\u0000"', '"\\ud800"'):
            body = f'{{"username": "new", "password": "x", "role": "staff", "first_name": {bad}}}'
            self.assertEqual(list(self.post_json(USERS, body).json()["fields"]), ["first_name"])

    def test_a_body_that_is_no_json_object_is_a_400(self):
        self.as_user(self.admin)
        for body in ("", "{", "[]", "3", "null"):
            answer = self.post_json(USERS, body)
            self.assertEqual((answer.status_code, list(answer.json())), (400, ["detail"]), body)


class Changing(SchoolTestCase):
    def test_users_change_themselves(self):
        self.as_user(self.student)
        before = self.student.student_profile.updated_at
        answer = self.patch_json(f"{USERS}{self.student.pk}/", {"first_name": "Eve", "address": "9 Mill Lane"})
        self.assertEqual(answer.status_code, 200)
        self.student.refresh_from_db()
        self.assertEqual((self.student.first_name, self.student.student_profile.address), ("Eve", "9 Mill Lane"))
        self.assertGreater(self.student.student_profile.updated_at, before)
        self.assertEqual(answer.json(), self.client.get(f"{USERS}me/").json())

    def test_nobody_changes_others_but_an_admin(self):
        self.as_user(self.staff)
        self.assertEqual(self.patch_json(f"{USERS}{self.student.pk}/", {"first_name": "X"}).status_code, 403)
        self.as_user(self.admin)
        self.assertEqual(self.patch_json(f"{USERS}{self.student.pk}/", {"is_active": False}).json()["is_active"], False)

    def test_is_active_is_not_for_the_user(self):
        self.as_user(self.student)
        self.assertEqual(self.patch_json(f"{USERS}{self.student.pk}/", {"is_active": True}).status_code, 403)

    def test_fields_of_other_roles_and_unknown_ones_are_refused(self):
        self.as_user(self.admin)
        for user, name in ((self.staff, "gender"), (self.admin, "address"), (self.student, "username")):
            answer = self.patch_json(f"{USERS}{user.pk}/", {name: "x"})
            self.assertEqual((answer.status_code, list(answer.json()["fields"])), (400, [name]))


class Notes(SchoolTestCase):
    def test_every_post_is_a_row(self):
        self.as_user(self.student)
        path = f"{USERS}{self.staff.pk}/notes/"
        first, second = (self.post_json(path, {"text": "Ünïcode ☂"}) for _ in range(2))
        self.assertEqual((first.status_code, second.status_code), (201, 201))
        self.assertRegex(first.json()["created_at"], MOMENT)
        self.assertEqual(self.client.get(path).json(), {"count": 2, "results": [first.json(), second.json()]})

    def test_the_last_hundred_are_shown_by_id(self):
        UserNote.objects.bulk_create(UserNote(user=self.staff, text=str(number)) for number in range(103))
        self.as_user(self.student)
        body = self.client.get(f"{USERS}{self.staff.pk}/notes/").json()
        self.assertEqual(body["count"], 103)
        self.assertEqual([note["text"] for note in body["results"]], [str(number) for number in range(3, 103)])

    def test_no_text_is_a_400_and_nobody_a_404(self):
        self.as_user(self.student)
        self.assertEqual(self.post_json(f"{USERS}{self.staff.pk}/notes/", {"text": " "}).status_code, 400)
        self.assertEqual(self.post_json(f"{USERS}999/notes/", {"text": "x"}).status_code, 404)
        self.assertEqual(self.client.get(f"{USERS}999/notes/").status_code, 404)


class Health(SchoolTestCase):
    def test_anybody_may_ask(self):
        for path in (f"{USERS}health/", "/health/"):
            self.assertEqual(self.client.get(path).json()["status"], "ok")
