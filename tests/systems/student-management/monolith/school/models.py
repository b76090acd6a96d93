"""What the models of every app share. Has no table of its own."""

from django.db import models
from django.utils import timezone


class Stamped(models.Model):
    """A row that knows when it was made and when it was last saved.

    `updated_at` follows `save()`; a bulk operation or an `update()` has to set it itself.
    """

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        abstract = True

    def save(self, *args, update_fields=None, **kwargs):
        if not self._state.adding:
            self.updated_at = timezone.now()
            if update_fields is not None:
                update_fields = {*update_fields, "updated_at"}
        super().save(*args, update_fields=update_fields, **kwargs)
