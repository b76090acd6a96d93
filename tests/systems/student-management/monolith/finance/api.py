"""Read-only JSON of fines: a student sees the own, an admin all. Amounts are texts, so that no digit is lost."""

from django.db.models import Sum

from accounts.ownership import visible
from accounts.roles import Role
from school.api import ListView

from .models import Fine


class Fines(ListView):
    roles = {"GET": {Role.ADMIN, Role.STUDENT}}

    def rows(self):
        fines = Fine.objects.annotate(paid=Sum("payments__amount")).order_by("pk")
        return visible(self.request, fines, owner="student")

    def shape(self, fine):
        return {
            "id": fine.pk,
            "student_id": fine.student_id,
            "amount": f"{fine.amount:.2f}",
            "paid": f"{fine.paid or 0:.2f}",
            "reason": fine.reason,
            "due_on": fine.due_on,
        }
