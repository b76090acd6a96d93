"""JSON of feedback: everybody gives and sees the own, an admin sees all."""

from django.http import JsonResponse

from accounts.ownership import own_table, require_profile, visible
from accounts.roles import Role
from school.api import ListView, json_body, timestamp
from school.fields import Fields

from .models import FeedbackStaff, FeedbackStudent

TABLES = {Role.STUDENT: FeedbackStudent, Role.STAFF: FeedbackStaff}


class Feedback(ListView):
    roles = {"POST": {Role.STAFF, Role.STUDENT}}

    def rows(self):
        return visible(self.request, own_table(self.request, TABLES).objects.order_by("pk"))

    def shape(self, feedback):
        return {
            "id": feedback.pk,
            "owner_id": feedback.owner_id,
            "text": feedback.text,
            "reply": feedback.reply,
            "created_at": timestamp(feedback.created_at),
        }

    def post(self, request):
        fields = Fields(json_body(request), ("text",))
        text = fields.text("text", required=True)
        fields.check()
        feedback = own_table(request, TABLES).objects.create(owner=require_profile(request), text=text)
        return JsonResponse(self.shape(feedback), status=201)
