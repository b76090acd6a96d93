"""A real Django with its own log-in, Django REST framework's tokens, and the session engine that is named. Prints its port."""

import hmac
import os
import sys
import threading
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from socketserver import ThreadingMixIn

import django
from django.conf import settings

folder = os.environ["FOLDER"]
settings.configure(
    SECRET_KEY=os.environ["SECRET"],
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
    ROOT_URLCONF=__name__,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(folder, "db.sqlite3")}},
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}},
    INSTALLED_APPS=[
        "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "rest_framework", "rest_framework.authtoken",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    SESSION_ENGINE="django.contrib.sessions.backends." + os.environ["ENGINE"],
    SESSION_FILE_PATH=folder,
)
django.setup()

from django.contrib.auth import authenticate, login, logout, update_session_auth_hash  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponseForbidden, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402


@csrf_exempt
def log_in(request):
    user = authenticate(request, username=request.POST["username"], password=request.POST["password"])
    login(request, user)
    return JsonResponse({"token": Token.objects.get_or_create(user=user)[0].key})


@csrf_exempt
def log_out(request):
    logout(request)
    return JsonResponse({})


@csrf_exempt
def password(request):
    request.user.set_password(request.POST["password"])
    request.user.save()
    if request.POST.get("keep"):
        update_session_auth_hash(request, request.user)
    return JsonResponse({})


@csrf_exempt
def who(request):
    if not hmac.compare_digest(request.headers.get("X-Ficus-Key", ""), "the-key"):
        return HttpResponseForbidden()
    if request.method == "DELETE":
        logout(request)
    known = {"id": request.user.pk, "username": request.user.get_username()}
    return JsonResponse({"user": known if request.user.is_authenticated else None})


def me(request):
    return JsonResponse({"user": request.user.pk})


urlpatterns = [
    path("auth/login", log_in), path("auth/leave", log_out), path("auth/password", password), path("auth/me", me), path("ficus/who/", who),
]

call_command("migrate", verbosity=0)
User.objects.create_user("ada", password="pass-of-ada")


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", 0, get_wsgi_application(), Server, Quiet)
print(server.server_port, flush=True)
server.serve_forever()
