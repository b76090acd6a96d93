"""The HTML pages: who gets in, and that every form does its work."""

from datetime import date

from django.core.files.uploadedfile import SimpleUploadedFile

from academics.models import Course, Enrolment, SessionYear, Subject
from accounts.models import CustomUser
from assessment.models import Assignment, AssignmentSubmission, StudentResult
from attendance.models import AttendanceReport
from feedback.models import FeedbackStaff, FeedbackStudent
from finance.models import Fine
from leave.models import LeaveReportStaff, LeaveReportStudent
from notifications.models import NotificationStudent

from .people import PASSWORD, SchoolTestCase

PAGES = {
    "admin": [
        "/admin-home/", "/manage/users/", "/manage/users/add/", "/manage/courses/", "/manage/subjects/",
        "/manage/session-years/", "/manage/leave/student/", "/manage/leave/staff/", "/manage/feedback/student/",
        "/manage/notifications/staff/", "/manage/fines/",
    ],
    "staff": ["/staff-home/", "/attendance/take/", "/results/enter/", "/assignments/set/"],
    "student": ["/student-home/", "/attendance/mine/", "/results/mine/", "/assignments/mine/", "/fines/mine/"],
}  # fmt: skip


class Access(SchoolTestCase):
    def test_every_page_is_for_its_role(self):
        for user in (self.admin, self.staff, self.student):
            self.as_user(user)
            for role, pages in PAGES.items():
                expected = 200 if role == user.role.label else 403
                for page in pages:
                    self.assertEqual(self.client.get(page).status_code, expected, (user.username, page))

    def test_without_a_login_pages_lead_to_it(self):
        for page in ("/accounts/profile/", "/manage/users/", "/"):
            self.assertRedirects(self.client.get(page), f"/accounts/login/?next={page}")

    def test_home_depends_on_the_role(self):
        for user, home in (
            (self.admin, "/admin-home/"),
            (self.staff, "/staff-home/"),
            (self.student, "/student-home/"),
        ):
            self.as_user(user)
            self.assertRedirects(self.client.get("/"), home)

    def test_a_wrong_password_stays_on_the_form(self):
        answer = self.client.post("/accounts/login/", {"username": "student1", "password": "wrong"})
        self.assertContains(answer, "Please enter a correct username and password")


class Profile(SchoolTestCase):
    def test_saves_user_and_address(self):
        self.as_user(self.student)
        self.assertContains(self.client.get("/accounts/profile/"), 'name="csrfmiddlewaretoken"')
        form = {"first_name": "Eve", "last_name": "Ray", "email": "eve@example.test", "address": "7 Park Row"}
        self.assertRedirects(self.client.post("/accounts/profile/", form), "/accounts/profile/")
        self.student.refresh_from_db()
        self.assertEqual((self.student.get_full_name(), self.student.profile.address), ("Eve Ray", "7 Park Row"))

    def test_errors_come_back_with_the_form(self):
        self.as_user(self.student)
        answer = self.client.post("/accounts/profile/", {"email": "nowhere"})
        self.assertContains(answer, "Enter a valid email address.")

    def test_an_admin_has_no_address_to_change(self):
        self.as_user(self.admin)
        answer = self.client.post("/accounts/profile/", {"first_name": "Ann", "address": "somewhere"})
        self.assertRedirects(answer, "/accounts/profile/")


class ManagingUsers(SchoolTestCase):
    def setUp(self):
        self.as_user(self.admin)

    def test_fifty_a_page(self):
        CustomUser.objects.bulk_create(CustomUser(username=f"u{number}") for number in range(60))
        self.assertEqual(self.client.get("/manage/users/").content.count(b"<tr>"), 51)
        self.assertContains(self.client.get("/manage/users/?page=2"), "u59")

    def test_adds_a_user_with_its_profile(self):
        form = {
            "username": "new",
            "email": "",
            "first_name": "",
            "last_name": "",
            "role": "staff",
            "password": PASSWORD,
        }
        self.assertRedirects(self.client.post("/manage/users/add/", form), "/manage/users/")
        self.assertIsNotNone(CustomUser.objects.get(username="new").staff_profile)
        self.assertContains(self.client.post("/manage/users/add/", form), "already exists")


class Studies(SchoolTestCase):
    """The forms round one subject that staff1 teaches and student1 is enrolled in."""

    def setUp(self):
        self.teacher, self.learner = self.staff.staff_profile, self.student.student_profile
        self.year = SessionYear.objects.create(starts_on=date(2025, 9, 1), ends_on=date(2026, 7, 31))
        self.course = Course.objects.create(name="Physics 1")
        self.subject = Subject.objects.create(name="Optics", course=self.course, staff=self.teacher)
        Enrolment.objects.create(student=self.learner, subject=self.subject, session_year=self.year)

    def submit(self, user, page, form):
        self.as_user(user)
        answer = self.client.post(page, form)
        self.assertEqual(answer.status_code, 302, answer.content)

    def test_attendance_is_taken_once_and_seen(self):
        lesson = {"subject": self.subject.pk, "session_year": self.year.pk, "date": "2026-01-05"}
        self.as_user(self.staff)
        self.assertContains(self.client.get("/attendance/take/", lesson), "student1")
        self.submit(self.staff, "/attendance/take/", {**lesson, "present": self.learner.pk})
        self.assertTrue(AttendanceReport.objects.get().present)
        self.assertContains(self.client.post("/attendance/take/", lesson), "taken already")
        self.as_user(self.student)
        self.assertContains(self.client.get("/attendance/mine/"), "Optics")

    def test_attendance_over_json(self):
        self.as_user(self.staff)
        path = "/api/v1/attendance/"
        body = {"subject_id": self.subject.pk, "session_year_id": self.year.pk, "date": "2026-01-05"}
        self.assertEqual(self.post_json(path, body).status_code, 400)
        body["present"] = {str(self.learner.pk): False}
        self.assertEqual(self.post_json(path, body).status_code, 201)
        self.assertEqual(self.post_json(path, body).status_code, 409)
        csv = b"".join(self.client.get("/api/v1/reports/attendance.csv")).decode()
        self.assertEqual(csv.splitlines()[1], f"2026-01-05,Optics,{self.year.pk},student1,False")

    def test_results(self):
        form = {"student": "student1", "subject": self.subject.pk, "exam_marks": 80, "assignment_marks": 70}
        self.submit(self.staff, "/results/enter/", form)
        self.assertEqual(StudentResult.objects.get().student, self.learner)
        self.as_user(self.student)
        self.assertContains(self.client.get("/results/mine/"), "80.0")
        self.assertEqual(self.client.get("/api/v1/results/").json()["results"][0]["exam_marks"], 80.0)

    def test_assignments_are_set_handed_in_and_read(self):
        form = {"subject": self.subject.pk, "title": "Lenses", "due_on": "2026-02-01"}
        self.submit(self.staff, "/assignments/set/", form)
        page = f"/assignments/{Assignment.objects.get().pk}/hand-in/"
        self.submit(self.student, page, {"answer": "first"})
        self.submit(self.student, page, {"document": SimpleUploadedFile("lenses.txt", b"all about lenses")})
        document = f"/assignments/submissions/{AssignmentSubmission.objects.get().pk}/document/"
        for reader, status in ((self.student, 200), (self.staff, 200), (self.admin, 404)):
            self.as_user(reader)
            self.assertEqual(self.client.get(document).status_code, status)
        self.as_user(self.staff)
        self.assertContains(self.client.get("/assignments/set/"), document)

    def test_admins_add_courses_subjects_and_years(self):
        self.submit(self.admin, "/manage/courses/", {"name": "Physics 2"})
        subject = {"name": "Waves", "course": self.course.pk, "staff": self.teacher.pk}
        self.submit(self.admin, "/manage/subjects/", subject)
        self.submit(self.admin, "/manage/session-years/", {"starts_on": "2026-09-01", "ends_on": "2027-07-31"})
        self.assertEqual((Course.objects.count(), Subject.objects.count(), SessionYear.objects.count()), (2, 2, 2))

    def test_a_year_that_ends_before_it_starts_comes_back(self):
        self.as_user(self.admin)
        answer = self.client.post("/manage/session-years/", {"starts_on": "2027-09-01", "ends_on": "2026-07-31"})
        self.assertEqual((answer.status_code, SessionYear.objects.count()), (200, 1))


class Letters(SchoolTestCase):
    """Leave, feedback, notifications and fines go between the administration and one person."""

    def test_leave_is_asked_for_and_decided(self):
        for user, table in ((self.student, LeaveReportStudent), (self.staff, LeaveReportStaff)):
            self.as_user(user)
            self.client.post("/leave/", {"leave_date": "2026-03-01", "message": "family"})
            self.assertContains(self.client.get("/leave/"), "pending")
            self.as_user(self.admin)
            self.client.post(f"/manage/leave/{user.role.label}/{table.objects.get().pk}/approve/")
            self.assertEqual(table.objects.get().get_status_display(), "approved")

    def test_feedback_is_given_and_answered(self):
        for user, table in ((self.student, FeedbackStudent), (self.staff, FeedbackStaff)):
            self.as_user(user)
            self.client.post("/feedback/", {"text": "more light"})
            self.as_user(self.admin)
            self.client.post(f"/manage/feedback/{user.role.label}/{table.objects.get().pk}/reply/", {"reply": "done"})
            self.as_user(user)
            self.assertContains(self.client.get("/feedback/"), "done")

    def test_the_same_over_json(self):
        for user in (self.student, self.staff):
            self.as_user(user)
            leave = self.post_json("/api/v1/leave/", {"leave_date": "2026-03-01", "message": "family"})
            feedback = self.post_json("/api/v1/feedback/", {"text": "more light"})
            self.assertEqual((leave.status_code, feedback.status_code), (201, 201))
            self.assertEqual(self.client.get("/api/v1/leave/").json()["results"], [leave.json()])
            self.assertEqual(self.post_json("/api/v1/leave/", {"leave_date": "soon"}).status_code, 400)
        self.as_user(self.admin)
        self.assertEqual(self.client.get("/api/v1/feedback/", {"kind": "staff"}).json()["count"], 1)
        self.assertEqual(self.client.get("/api/v1/feedback/", {"kind": "cook"}).status_code, 400)
        self.assertEqual(self.post_json("/api/v1/leave/", {}).status_code, 403)

    def test_notifications_reach_one_person(self):
        self.as_user(self.admin)
        self.client.post("/manage/notifications/student/", {"owner": "student1", "message": "Come & see"})
        self.assertEqual(NotificationStudent.objects.count(), 1)
        nobody = self.client.post("/manage/notifications/student/", {"owner": "staff1", "message": "x"})
        self.assertContains(nobody, "Nobody of this role")
        self.as_user(self.student)
        self.assertContains(self.client.get("/notifications/"), "Come &amp; see")

    def test_fines(self):
        self.as_user(self.admin)
        fine = {"student": "student1", "amount": "2.50", "reason": "late book", "due_on": "2026-03-01"}
        self.client.post("/manage/fines/", fine)
        Fine.objects.get().payments.create(amount="1.00")
        self.as_user(self.student)
        self.assertContains(self.client.get("/fines/mine/"), "2.50")
        body = self.client.get("/api/v1/fines/").json()["results"][0]
        self.assertEqual((body["amount"], body["paid"]), ("2.50", "1.00"))
        self.as_user(self.staff)
        self.assertEqual(self.client.get("/api/v1/fines/").status_code, 403)
