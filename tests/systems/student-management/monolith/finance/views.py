"""Fines: an admin imposes them, a student looks at the own."""

from django import forms
from django.db.models import Sum

from accounts.fields import ProfileByUserName
from accounts.models import Student
from accounts.roles import Role
from school.pages import FormTablePage, TablePage

from .models import Fine

COLUMNS = {
    "Amount": lambda fine: f"{fine.amount:.2f}",
    "Paid": lambda fine: f"{fine.paid or 0:.2f}",
    "Reason": lambda fine: fine.reason,
    "Due": lambda fine: fine.due_on,
}


def _fines():
    return Fine.objects.annotate(paid=Sum("payments__amount")).order_by("-pk")


class FineForm(forms.ModelForm):
    student = ProfileByUserName(Student)

    class Meta:
        model = Fine
        fields = ("student", "amount", "reason", "due_on")
        widgets = {"due_on": forms.DateInput(attrs={"type": "date"})}


class FinesPage(FormTablePage):
    roles = {Role.ADMIN}
    title = "Fines"
    form_class = FineForm
    columns = {"Id": lambda fine: fine.pk, "Student": lambda fine: fine.student.user.username, **COLUMNS}

    def get_queryset(self):
        return _fines().select_related("student__user")


class MyFinesPage(TablePage):
    roles = {Role.STUDENT}
    title = "My fines"
    columns = COLUMNS

    def get_queryset(self):
        return _fines().filter(student=self.profile)
