"""Photos: uploaded as multipart, served as they came."""

import hashlib

from django.core.files.uploadedfile import SimpleUploadedFile

from accounts.api.photos import MAX_BYTES

from .people import SchoolTestCase

BYTES = bytes(range(256)) * 12_000  # more than Django keeps in memory


class Photos(SchoolTestCase):
    def setUp(self):
        self.path = f"/api/v1/users/{self.student.pk}/photo/"

    def upload(self, data=BYTES, content_type="image/png"):
        return self.client.post(self.path, {"photo": SimpleUploadedFile("me.png", data, content_type)})

    def test_comes_back_byte_by_byte_with_its_etag(self):
        self.as_user(self.student)
        digest = hashlib.sha256(BYTES).hexdigest()
        answer = self.upload()
        self.assertEqual(answer.status_code, 201)
        self.assertEqual(answer.json(), {"content_type": "image/png", "size": len(BYTES), "sha256": digest})
        photo = self.client.get(self.path)
        self.assertEqual((photo.content, photo["Content-Type"], photo["ETag"]), (BYTES, "image/png", f'"{digest}"'))
        self.assertEqual(self.client.get(self.path, headers={"If-None-Match": f'"{digest}"'}).status_code, 304)

    def test_a_second_one_takes_the_place_of_the_first(self):
        self.as_user(self.student)
        self.upload()
        self.assertEqual(self.upload(b"GIF89a", "image/gif").status_code, 201)
        photo = self.client.get(self.path)
        self.assertEqual((photo.content, photo["Content-Type"]), (b"GIF89a", "image/gif"))

    def test_none_is_a_404(self):
        self.as_user(self.staff)
        self.assertEqual(self.client.get(self.path).status_code, 404)

    def test_only_an_admin_or_the_user_may_upload(self):
        self.as_user(self.staff)
        self.assertEqual(self.upload().status_code, 403)
        self.as_user(self.admin)
        self.assertEqual(self.upload().status_code, 201)

    def test_what_is_too_large_no_picture_or_missing_is_a_400(self):
        self.as_user(self.student)
        answers = [
            self.upload(bytes(MAX_BYTES + 1)),
            self.upload(b"<script>", "text/html"),
            self.client.post(self.path, {"picture": "x"}),
        ]
        for answer in answers:
            self.assertEqual((answer.status_code, list(answer.json()["fields"])), (400, ["photo"]))
        self.assertEqual(self.upload(bytes(MAX_BYTES)).status_code, 201)
