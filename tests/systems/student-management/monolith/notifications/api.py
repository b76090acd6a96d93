"""Read-only JSON of notifications."""

from accounts.ownership import own_table, visible
from accounts.roles import Role
from school.api import ListView, timestamp

from .models import NotificationStaff, NotificationStudent

TABLES = {Role.STUDENT: NotificationStudent, Role.STAFF: NotificationStaff}


class Notifications(ListView):
    def rows(self):
        return visible(self.request, own_table(self.request, TABLES).objects.order_by("pk"))

    def shape(self, notification):
        return {
            "id": notification.pk,
            "owner_id": notification.owner_id,
            "message": notification.message,
            "created_at": timestamp(notification.created_at),
        }
