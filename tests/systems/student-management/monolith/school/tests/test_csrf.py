"""CSRF of forms and of JSON, as Django checks it."""

from django.test import Client

from .people import PASSWORD, SchoolTestCase


class Csrf(SchoolTestCase):
    def setUp(self):
        self.client = Client(enforce_csrf_checks=True)

    def log_in(self, user):
        self.client.get("/accounts/login/")
        form = {"username": user.username, "password": PASSWORD, "csrfmiddlewaretoken": self.token()}
        return self.client.post("/accounts/login/", form)

    def token(self):
        return self.client.cookies["csrftoken"].value

    def test_login_needs_the_token_and_rotates_it(self):
        self.client.get("/accounts/login/")
        before = self.token()
        self.assertEqual(self.client.post("/accounts/login/", {"username": "x"}).status_code, 403)
        answer = self.log_in(self.student)
        self.assertRedirects(answer, "/", fetch_redirect_response=False)
        self.assertNotEqual(self.token(), before)
        self.assertIn("sessionid", self.client.cookies)

    def test_json_takes_the_header(self):
        self.log_in(self.student)
        path, body = f"/api/v1/users/{self.student.pk}/notes/", {"text": "x"}
        good = self.client.post(path, body, content_type="application/json", headers={"X-CSRFToken": self.token()})
        self.assertEqual(good.status_code, 201)

    def test_json_without_it_is_a_403_in_json(self):
        self.log_in(self.student)
        answer = self.post_json(f"/api/v1/users/{self.student.pk}/notes/", {"text": "x"})
        self.assertEqual((answer.status_code, list(answer.json())), (403, ["detail"]))

    def test_another_origin_is_refused(self):
        self.log_in(self.student)
        headers = {"X-CSRFToken": self.token(), "Origin": "https://elsewhere.test"}
        answer = self.client.post(
            "/api/v1/users/1/notes/", {"text": "x"}, content_type="application/json", headers=headers
        )
        self.assertEqual(answer.status_code, 403)

    def test_forms_take_the_field_and_fail_in_html(self):
        self.log_in(self.student)
        form = {"first_name": "Eve", "last_name": "", "email": "", "address": ""}
        without = self.client.post("/accounts/profile/", form)
        self.assertEqual((without.status_code, without["Content-Type"]), (403, "text/html; charset=utf-8"))
        answer = self.client.post("/accounts/profile/", {**form, "csrfmiddlewaretoken": self.token()})
        self.assertRedirects(answer, "/accounts/profile/", fetch_redirect_response=False)

    def test_logout_is_a_post_and_ends_the_session(self):
        self.log_in(self.student)
        self.assertEqual(self.client.get("/accounts/logout/").status_code, 405)
        self.client.post("/accounts/logout/", {"csrfmiddlewaretoken": self.token()})
        self.assertEqual(self.client.get("/api/v1/users/me/").status_code, 401)
