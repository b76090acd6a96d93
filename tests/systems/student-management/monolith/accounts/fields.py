"""A form field for a profile."""

from django.core.exceptions import ValidationError
from django.forms import CharField


class ProfileByUserName(CharField):
    """The profile whose user has the name that is typed. Typed, not picked: there are too many for a list."""

    def __init__(self, model, **kwargs):
        super().__init__(help_text="User name", **kwargs)
        self.model = model

    def clean(self, value):
        profile = self.model.objects.filter(user__username=super().clean(value)).first()
        if profile is None:
            raise ValidationError("Nobody of this role has this user name.")
        return profile
