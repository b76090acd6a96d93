"""The answers to requests that no view could serve: JSON under /api/, Django's own pages elsewhere."""

from django.http import JsonResponse
from django.views import csrf, defaults


def is_api(request):
    return request.path_info.startswith("/api/")


def detail(status, text, **more):
    """The JSON body that every error of the API has."""
    return JsonResponse({"detail": text, **more}, status=status)


def bad_request(request, exception):
    if is_api(request):
        return detail(400, "The request is not valid.")
    return defaults.bad_request(request, exception)


def permission_denied(request, exception):
    if is_api(request):
        return detail(403, "Not allowed.")
    return defaults.permission_denied(request, exception)


def page_not_found(request, exception):
    if is_api(request):
        return detail(404, "Not found.")
    return defaults.page_not_found(request, exception)


def server_error(request):
    if is_api(request):
        return detail(500, "Internal error.")
    return defaults.server_error(request)


def csrf_failure(request, reason=""):
    if is_api(request):
        return detail(403, f"CSRF verification failed: {reason}".removesuffix("."))
    return csrf.csrf_failure(request, reason=reason)
