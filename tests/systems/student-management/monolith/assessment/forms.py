"""The forms of marks, assignments and what is handed in."""

from django import forms

from accounts.fields import ProfileByUserName
from accounts.models import Student

from .models import Assignment, AssignmentSubmission, StudentResult


class OwnSubjects(forms.ModelForm):
    """A form whose subject is one that the staff member teaches."""

    def __init__(self, *args, staff, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["subject"].queryset = staff.subjects.order_by("name")


class ResultForm(OwnSubjects):
    student = ProfileByUserName(Student)

    class Meta:
        model = StudentResult
        fields = ("student", "subject", "exam_marks", "assignment_marks")


class AssignmentForm(OwnSubjects):
    class Meta:
        model = Assignment
        fields = ("subject", "title", "description", "due_on")
        widgets = {"due_on": forms.DateInput(attrs={"type": "date"})}


class SubmissionForm(forms.ModelForm):
    class Meta:
        model = AssignmentSubmission
        fields = ("answer", "document")

    def clean(self):
        values = super().clean()
        if not values.get("answer") and not values.get("document"):
            raise forms.ValidationError("Hand in an answer or a document.")
        return values
