"""The pages of users: the own profile, and the administration of all."""

from django.contrib import messages
from django.shortcuts import redirect
from django.views.generic import FormView

from school.pages import RolePage, TablePage

from . import people
from .forms import NewUserForm, ProfileForm
from .roles import Role


class ProfilePage(RolePage, FormView):
    template_name = "school/form.html"
    form_class = ProfileForm
    extra_context = {"title": "Profile", "button": "Save"}

    def get_form_kwargs(self):
        # A user of its own: an invalid form leaves traces on its instance, which the page's header must not show.
        user = people.with_profiles().get(pk=self.request.user.pk)
        return {**super().get_form_kwargs(), "instance": user}

    def form_valid(self, form):
        form.save()
        messages.success(self.request, "Your profile is saved.")
        return redirect("/accounts/profile/")


class UsersPage(TablePage):
    roles = {Role.ADMIN}
    template_name = "accounts/users.html"
    title = "Users"
    columns = {
        "Id": lambda user: user.pk,
        "User name": lambda user: user.username,
        "Name": lambda user: user.get_full_name(),
        "E-mail": lambda user: user.email,
        "Role": lambda user: user.role.label,
        "Active": lambda user: "yes" if user.is_active else "no",
    }

    def get_queryset(self):
        return people.with_profiles()


class NewUserPage(RolePage, FormView):
    roles = {Role.ADMIN}
    template_name = "school/form.html"
    form_class = NewUserForm
    extra_context = {"title": "New user", "button": "Add"}

    def form_valid(self, form):
        try:
            form.save()
        except people.UsernameTaken:
            form.add_error("username", "A user with that username already exists.")
            return self.form_invalid(form)
        messages.success(self.request, "The user is added.")
        return redirect("/manage/users/")
