"""Fines of students and the payments towards them."""

from django.db import models
from django.utils import timezone

from school.models import Stamped


class Fine(Stamped):
    student = models.ForeignKey("accounts.Student", models.CASCADE, related_name="fines")
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    reason = models.CharField(max_length=200)
    due_on = models.DateField()

    def __str__(self):
        return f"{self.amount} for {self.student}"


class FinePayment(models.Model):
    fine = models.ForeignKey(Fine, models.CASCADE, related_name="payments")
    amount = models.DecimalField(max_digits=8, decimal_places=2)
    paid_at = models.DateTimeField(default=timezone.now, editable=False)

    def __str__(self):
        return f"{self.amount} towards fine {self.fine_id}"
