"""Which lesson attendance is taken of."""

from django import forms

from academics.models import SessionYear, Subject


class LessonForm(forms.Form):
    subject = forms.ModelChoiceField(Subject.objects.none())
    session_year = forms.ModelChoiceField(SessionYear.objects.order_by("-starts_on"))
    date = forms.DateField(widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, *args, staff, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["subject"].queryset = Subject.objects.filter(staff=staff).order_by("name")
