"""Read-only JSON of courses, subjects, years and enrolments."""

from accounts.ownership import visible
from accounts.roles import Role
from school.api import ListView, timestamp

from .models import Course, Enrolment, SessionYear, Subject


class Courses(ListView):
    def rows(self):
        return Course.objects.order_by("pk")

    def shape(self, course):
        return {"id": course.pk, "name": course.name, "created_at": timestamp(course.created_at)}


class Subjects(ListView):
    def rows(self):
        return Subject.objects.order_by("pk")

    def shape(self, subject):
        return {"id": subject.pk, "name": subject.name, "course_id": subject.course_id, "staff_id": subject.staff_id}


class SessionYears(ListView):
    def rows(self):
        return SessionYear.objects.order_by("pk")

    def shape(self, year):
        return {"id": year.pk, "starts_on": year.starts_on, "ends_on": year.ends_on}


class Enrolments(ListView):
    def rows(self):
        enrolments = Enrolment.objects.order_by("pk")
        if self.request.user.user_type == Role.STAFF:
            return enrolments
        return visible(self.request, enrolments, owner="student")

    def shape(self, enrolment):
        return {
            "id": enrolment.pk,
            "student_id": enrolment.student_id,
            "subject_id": enrolment.subject_id,
            "session_year_id": enrolment.session_year_id,
            "enrolled_at": timestamp(enrolment.enrolled_at),
        }
