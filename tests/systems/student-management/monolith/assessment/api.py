"""Read-only JSON of results: students see the own, everybody else all."""

from accounts.ownership import visible
from accounts.roles import Role
from school.api import ListView, timestamp

from .models import StudentResult


class Results(ListView):
    def rows(self):
        results = StudentResult.objects.order_by("pk")
        if self.request.user.user_type == Role.STAFF:
            return results
        return visible(self.request, results, owner="student")

    def shape(self, result):
        return {
            "id": result.pk,
            "student_id": result.student_id,
            "subject_id": result.subject_id,
            "exam_marks": result.exam_marks,
            "assignment_marks": result.assignment_marks,
            "updated_at": timestamp(result.updated_at),
        }
