"""What every JSON view shares: who may call, how a body is read, how a page is cut, how times look.

The session and CSRF are the middleware's work. Knows nothing of any table.
"""

import json
from datetime import UTC

from django.core.exceptions import RequestDataTooBig
from django.http import JsonResponse
from django.views import View

from .errors import detail

MAX_PAGE_SIZE = 200
DEFAULT_PAGE_SIZE = 50


class ApiError(Exception):
    """An answer that is not the one the caller hoped for; `fields` says which of its fields are to blame."""

    def __init__(self, status, text, fields=None):
        super().__init__(text)
        self.status = status
        self.text = text
        self.fields = fields

    def response(self):
        more = {"fields": self.fields} if self.fields else {}
        return detail(self.status, self.text, **more)


class ApiView(View):
    """A view whose errors are JSON.

    `roles` maps a method to the roles that may use it; a method that is absent is open to every user.
    """

    roles = {}

    def dispatch(self, request, *args, **kwargs):
        try:
            if not request.user.is_authenticated:
                raise ApiError(401, "Log in first.")
            allowed = self.roles.get(request.method)
            if allowed and request.user.user_type not in allowed:
                raise ApiError(403, "Not allowed for your role.")
            return super().dispatch(request, *args, **kwargs)
        except ApiError as error:
            return error.response()

    def http_method_not_allowed(self, request, *args, **kwargs):
        response = detail(405, f"{request.method} is not possible here.")
        response.headers["Allow"] = ", ".join(self._allowed_methods())
        return response


class ListView(ApiView):
    """A paged listing of `rows()`, each row through `shape()`."""

    def get(self, request):
        page, page_size = paging(request)
        rows = self.rows()
        start = (page - 1) * page_size
        return JsonResponse(
            {
                "count": rows.count(),
                "page": page,
                "page_size": page_size,
                "results": [self.shape(row) for row in rows[start : start + page_size]],
            }
        )

    def rows(self):
        raise NotImplementedError

    def shape(self, row):
        raise NotImplementedError


def paging(request):
    """The page and its size. A larger size than allowed is cut to the largest."""
    page = _positive(request, "page", 1)
    page_size = _positive(request, "page_size", DEFAULT_PAGE_SIZE)
    return page, min(page_size, MAX_PAGE_SIZE)


def json_body(request):
    """The JSON object in the body."""
    try:
        body = json.loads(request.body)
    except RequestDataTooBig:
        raise ApiError(400, "The body is too large.") from None
    except (ValueError, RecursionError):
        raise ApiError(400, "The body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise ApiError(400, "The body is not a JSON object.")
    return body


def timestamp(moment):
    """ISO 8601 in UTC, always with six digits of microseconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _positive(request, name, default):
    text = request.GET.get(name) or str(default)
    # Nine digits reach further than any table here and fit what the database counts with.
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
    if number < 1:
        raise ApiError(400, f"{name} is not a positive number.")
    return number
