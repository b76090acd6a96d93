"""The admin's pages of what is taught."""

from django.forms import DateInput, modelform_factory

from accounts.roles import Role
from school.pages import FormTablePage

from .models import Course, SessionYear, Subject

DATE = DateInput(attrs={"type": "date"})


class CoursesPage(FormTablePage):
    roles = {Role.ADMIN}
    title = "Courses"
    queryset = Course.objects.order_by("pk")
    form_class = modelform_factory(Course, fields=("name",))
    columns = {"Id": lambda course: course.pk, "Name": lambda course: course.name}


class SubjectsPage(FormTablePage):
    roles = {Role.ADMIN}
    title = "Subjects"
    queryset = Subject.objects.select_related("course", "staff__user").order_by("pk")
    form_class = modelform_factory(Subject, fields=("name", "course", "staff"))
    columns = {
        "Id": lambda subject: subject.pk,
        "Name": lambda subject: subject.name,
        "Course": lambda subject: subject.course.name,
        "Taught by": lambda subject: subject.staff.user.get_full_name(),
    }

    def get_form(self, form_class=None):
        form = super().get_form(form_class)
        form.fields["staff"].queryset = form.fields["staff"].queryset.select_related("user")
        return form


class SessionYearsPage(FormTablePage):
    roles = {Role.ADMIN}
    title = "Years"
    queryset = SessionYear.objects.order_by("pk")
    form_class = modelform_factory(
        SessionYear, fields=("starts_on", "ends_on"), widgets={"starts_on": DATE, "ends_on": DATE}
    )
    columns = {
        "Id": lambda year: year.pk,
        "Starts": lambda year: year.starts_on,
        "Ends": lambda year: year.ends_on,
    }
