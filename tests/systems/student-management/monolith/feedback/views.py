"""Giving feedback (students, staff) and replying to it (admins)."""

from django.contrib import messages
from django.forms import modelform_factory
from django.shortcuts import get_object_or_404, redirect
from django.views import View

from accounts.ownership import table_of_kind
from accounts.roles import Role
from school.pages import OwnedFormTablePage, RolePage, TablePage

from .api import TABLES
from .models import FeedbackStudent

COLUMNS = {"Feedback": lambda feedback: feedback.text, "Reply": lambda feedback: feedback.reply}


class MyFeedbackPage(OwnedFormTablePage):
    title = "My feedback"
    button = "Send"
    saved = "Thank you for your feedback."
    tables = TABLES
    columns = COLUMNS
    form_class = modelform_factory(FeedbackStudent, fields=("text",))


class AllFeedbackPage(TablePage):
    roles = {Role.ADMIN}
    template_name = "feedback/all.html"
    title = "Feedback"
    columns = {"Who": lambda feedback: feedback.owner.user.username, **COLUMNS}

    def get_queryset(self):
        table = table_of_kind(self.kwargs["kind"], TABLES)
        return table.objects.select_related("owner__user").order_by("-pk")


class FeedbackReply(RolePage, View):
    roles = {Role.ADMIN}

    def post(self, request, kind, pk):
        feedback = get_object_or_404(table_of_kind(kind, TABLES), pk=pk)
        feedback.reply = request.POST.get("reply", "")
        feedback.save(update_fields=["reply"])
        messages.success(request, "The reply is saved.")
        return redirect(f"/manage/feedback/{kind}/")
