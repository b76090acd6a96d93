"""The HTML forms of users. Writing goes through `people`, like that of the JSON API."""

from django import forms

from . import people
from .models import CustomUser
from .roles import Role

NAMES = [(role.label, role.label) for role in Role]


class ProfileForm(forms.ModelForm):
    """What users change about themselves. An admin's profile has no address."""

    address = forms.CharField(required=False)

    class Meta:
        model = CustomUser
        fields = ("first_name", "last_name", "email")

    def __init__(self, *args, instance, **kwargs):
        super().__init__(*args, instance=instance, **kwargs)
        self.fields["address"].initial = getattr(instance.profile, "address", "")
        self.fields["address"].disabled = not hasattr(instance.profile, "address")

    def save(self):
        people.change(self.instance, **_only_columns(self.instance.role, self.cleaned_data))


class NewUserForm(forms.ModelForm):
    role = forms.ChoiceField(choices=NAMES)
    password = forms.CharField(widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}))

    class Meta:
        model = CustomUser
        fields = ("username", "email", "first_name", "last_name")

    field_order = ("username", "email", "first_name", "last_name", "role", "password")

    def save(self):
        values = dict(self.cleaned_data)
        return people.create(Role.named(values.pop("role")), values.pop("username"), values.pop("password"), **values)


def _only_columns(role, values):
    """Leaves out the address where the role has none."""
    return {name: value for name, value in values.items() if name != "address" or name in people.PROFILE_FIELDS[role]}
