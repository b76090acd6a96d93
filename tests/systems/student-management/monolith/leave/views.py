"""Asking for leave (students, staff) and deciding about it (admins)."""

from django.contrib import messages
from django.forms import DateInput, modelform_factory
from django.shortcuts import get_object_or_404, redirect
from django.views import View

from accounts.ownership import table_of_kind
from accounts.roles import Role
from school.pages import OwnedFormTablePage, RolePage, TablePage

from .api import TABLES
from .models import Decision, LeaveReportStudent

COLUMNS = {
    "Date": lambda leave: leave.leave_date,
    "Reason": lambda leave: leave.message,
    "Status": lambda leave: leave.get_status_display(),
}
DECISIONS = {"approve": Decision.APPROVED, "reject": Decision.REJECTED}


class MyLeavePage(OwnedFormTablePage):
    title = "My leave"
    button = "Ask for leave"
    saved = "Your request is handed in."
    tables = TABLES
    columns = COLUMNS
    # Both tables have the same fields; the form only reads them, the page saves to the caller's table.
    form_class = modelform_factory(
        LeaveReportStudent,
        fields=("leave_date", "message"),
        widgets={"leave_date": DateInput(attrs={"type": "date"})},
    )


class DecideLeavePage(TablePage):
    roles = {Role.ADMIN}
    template_name = "leave/decide.html"
    title = "Requests for leave"
    columns = {"Who": lambda leave: leave.owner.user.username, **COLUMNS}

    def get_queryset(self):
        table = table_of_kind(self.kwargs["kind"], TABLES)
        return table.objects.select_related("owner__user").order_by("status", "-pk")


class LeaveDecision(RolePage, View):
    roles = {Role.ADMIN}

    def post(self, request, kind, pk, decision):
        leave = get_object_or_404(table_of_kind(kind, TABLES), pk=pk)
        leave.status = DECISIONS[decision]
        leave.save(update_fields=["status"])
        messages.success(request, f"The request is {leave.get_status_display()}.")
        return redirect(f"/manage/leave/{kind}/")
