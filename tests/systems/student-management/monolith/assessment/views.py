"""Marks and assignments: staff enter and set them, students look at their own and hand in."""

from django.contrib import messages
from django.db import transaction
from django.http import FileResponse, Http404
from django.shortcuts import get_object_or_404, redirect
from django.views import View
from django.views.generic import FormView

from accounts.roles import Role
from school.pages import FormTablePage, RolePage, TablePage

from .forms import AssignmentForm, ResultForm, SubmissionForm
from .models import Assignment, AssignmentSubmission, StudentResult

MARKS = {
    "Subject": lambda result: result.subject.name,
    "Examination": lambda result: result.exam_marks,
    "Assignments": lambda result: result.assignment_marks,
}
ASSIGNMENT = {
    "Subject": lambda assignment: assignment.subject.name,
    "Title": lambda assignment: assignment.title,
    "Due": lambda assignment: assignment.due_on,
}


class TeachersPage(FormTablePage):
    """A page whose form offers the subjects that the caller teaches."""

    roles = {Role.STAFF}

    def get_form_kwargs(self):
        return {**super().get_form_kwargs(), "staff": self.profile}


class EnterResultsPage(TeachersPage):
    title = "Results"
    form_class = ResultForm
    columns = {"Student": lambda result: result.student.user.username, **MARKS}

    def get_queryset(self):
        results = StudentResult.objects.select_related("student__user", "subject")
        return results.filter(subject__staff=self.profile).order_by("-pk")


class MyResultsPage(TablePage):
    roles = {Role.STUDENT}
    title = "My results"
    columns = MARKS

    def get_queryset(self):
        return StudentResult.objects.select_related("subject").filter(student=self.profile).order_by("-pk")


class SetAssignmentsPage(TeachersPage):
    template_name = "assessment/set.html"
    title = "Assignments"
    form_class = AssignmentForm
    columns = ASSIGNMENT

    def get_queryset(self):
        assignments = Assignment.objects.select_related("subject").prefetch_related("submissions__student__user")
        return assignments.filter(subject__staff=self.profile).order_by("-pk")


class MyAssignmentsPage(TablePage):
    roles = {Role.STUDENT}
    template_name = "assessment/mine.html"
    title = "My assignments"
    columns = ASSIGNMENT

    def get_queryset(self):
        enrolled = Assignment.objects.filter(subject__enrolments__student=self.profile)
        return enrolled.select_related("subject").distinct().order_by("-pk")


class HandInPage(RolePage, FormView):
    """A second hand-in takes the place of the first."""

    roles = {Role.STUDENT}
    template_name = "school/form.html"
    form_class = SubmissionForm

    def get_context_data(self, **kwargs):
        return super().get_context_data(title=self._assignment().title, button="Hand in", **kwargs)

    def form_valid(self, form):
        submission = form.instance
        submission.assignment, submission.student = self._assignment(), self.profile
        with transaction.atomic():
            AssignmentSubmission.objects.filter(assignment=submission.assignment, student=submission.student).delete()
            form.save()
        messages.success(self.request, "Handed in.")
        return redirect("/assignments/mine/")

    def _assignment(self):
        enrolled = Assignment.objects.filter(subject__enrolments__student=self.profile).distinct()
        return get_object_or_404(enrolled, pk=self.kwargs["pk"])


class SubmittedDocument(RolePage, View):
    """For the student who handed it in and the staff member who set the assignment."""

    def get(self, request, pk):
        submission = get_object_or_404(AssignmentSubmission, pk=pk)
        readers = {submission.student.user_id, submission.assignment.subject.staff.user_id}
        if request.user.pk not in readers or not submission.document:
            raise Http404
        return FileResponse(submission.document.open(), as_attachment=True)
