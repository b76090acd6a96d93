"""Who may see an HTML page: without a log-in 302 to it, with the wrong role 403."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.core.exceptions import PermissionDenied


class RolePage(LoginRequiredMixin):
    """First base of every page. `roles` are those that may see it; None is any user."""

    roles = None

    def dispatch(self, request, *args, **kwargs):
        user = request.user
        if user.is_authenticated and self.roles and user.user_type not in self.roles:
            raise PermissionDenied
        return super().dispatch(request, *args, **kwargs)
