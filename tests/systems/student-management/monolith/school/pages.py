"""What every HTML page shares: who may see it, a table of rows, a form above that table.

Without a log-in a page answers 302 to it, with the wrong role 403.
"""

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied
from django.shortcuts import redirect
from django.views.generic import ListView
from django.views.generic.edit import FormMixin


class RolePage(LoginRequiredMixin):
    """First base of every page. `roles` are those that may see it; None is any user."""

    roles = None

    def dispatch(self, request, *args, **kwargs):
        user = request.user
        if user.is_authenticated and self.roles and user.user_type not in self.roles:
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)

    @property
    def profile(self):
        """The profile of the caller. One whose profile is missing has nothing to do here."""
        profile = self.request.user.profile
        if profile is None:
            raise PermissionDenied
        return profile


class TablePage(RolePage, ListView):
    """A paged table. `columns` maps a heading to a function of the row."""

    template_name = "school/table.html"
    paginate_by = 50
    title = ""
    columns = {}

    def get_context_data(self, **kwargs):
        context = super().get_context_data(**kwargs)
        context["title"] = self.title
        context["headings"] = list(self.columns)
        context["rows"] = [(row, [cell(row) for cell in self.columns.values()]) for row in context["object_list"]]
        return context


class FormTablePage(FormMixin, TablePage):
    """A table with a form above it. A valid form saves itself and the page is loaded anew."""

    button = "Add"
    saved = "Saved."

    def get_context_data(self, **kwargs):
        return super().get_context_data(button=self.button, **kwargs)

    def post(self, request, *args, **kwargs):
        form = self.get_form()
        if form.is_valid():
            self.save(form)
            messages.success(request, self.saved)
            return redirect(request.path)
        self.object_list = self.get_queryset()
        return self.render_to_response(self.get_context_data(form=form))

    def save(self, form):
        form.save()


class OwnedFormTablePage(FormTablePage):
    """The caller's own rows of the table that belongs to the caller's role, and a form for one more.

    `tables` maps a role to its model.
    """

    tables = {}

    @property
    def roles(self):
        return set(self.tables)

    @property
    def table(self):
        return self.tables[self.request.user.role]

    def get_queryset(self):
        return self.table.objects.filter(owner=self.profile).order_by("-pk")

    def save(self, form):
        self.table.objects.create(owner=self.profile, **form.cleaned_data)
