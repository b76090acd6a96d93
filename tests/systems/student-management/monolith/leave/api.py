"""JSON of leave: everybody asks for the own, an admin sees all."""

from django.http import JsonResponse

from accounts.ownership import own_table, require_profile, visible
from accounts.roles import Role
from school.api import ListView, json_body, timestamp
from school.fields import Fields

from .models import Decision, LeaveReportStaff, LeaveReportStudent

TABLES = {Role.STUDENT: LeaveReportStudent, Role.STAFF: LeaveReportStaff}


class Leave(ListView):
    roles = {"POST": {Role.STAFF, Role.STUDENT}}

    def rows(self):
        return visible(self.request, own_table(self.request, TABLES).objects.order_by("pk"))

    def shape(self, leave):
        return {
            "id": leave.pk,
            "owner_id": leave.owner_id,
            "leave_date": leave.leave_date,
            "message": leave.message,
            "status": Decision(leave.status).label,
            "created_at": timestamp(leave.created_at),
        }

    def post(self, request):
        fields = Fields(json_body(request), ("leave_date", "message"))
        values = {"leave_date": fields.date("leave_date"), "message": fields.text("message", required=True)}
        fields.check()
        leave = own_table(request, TABLES).objects.create(owner=require_profile(request), **values)
        return JsonResponse(self.shape(leave), status=201)
