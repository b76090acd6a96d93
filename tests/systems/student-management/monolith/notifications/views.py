"""Sending notifications (admins) and reading the own (students, staff)."""

from django.forms import modelform_factory

from accounts.fields import ProfileByUserName
from accounts.ownership import table_of_kind
from accounts.roles import Role
from school.pages import FormTablePage, TablePage

from .api import TABLES


class MyNotificationsPage(TablePage):
    roles = set(TABLES)
    title = "My notifications"
    columns = {
        "Sent": lambda notification: f"{notification.created_at:%d %B %Y}",
        "Message": lambda notification: notification.message,
    }

    def get_queryset(self):
        return TABLES[self.request.user.role].objects.filter(owner=self.profile).order_by("-pk")


class SendNotificationPage(FormTablePage):
    roles = {Role.ADMIN}
    template_name = "notifications/send.html"
    title = "Notifications"
    button = "Send"
    saved = "The notification is sent."
    columns = {
        "To": lambda notification: notification.owner.user.username,
        "Message": lambda notification: notification.message,
    }

    @property
    def table(self):
        return table_of_kind(self.kwargs["kind"], TABLES)

    def get_queryset(self):
        return self.table.objects.select_related("owner__user").order_by("-pk")

    def get_form_class(self):
        owners = self.table._meta.get_field("owner").related_model
        form_class = modelform_factory(self.table, fields=("owner", "message"))
        return type("NotificationForm", (form_class,), {"owner": ProfileByUserName(owners, label="To")})
