"""Settings of the school administration. Everything that differs between machines comes from the environment:

SCHOOL_DEBUG            1 for development; anything else, or nothing, is off
SCHOOL_SECRET_KEY       required unless SCHOOL_DEBUG=1
SCHOOL_DB               path of the SQLite file, or postgres://user:password@host:port/name
SCHOOL_MEDIA            folder of the documents that students hand in
SCHOOL_ALLOWED_HOSTS    comma-separated host names
SCHOOL_TRUSTED_ORIGINS  comma-separated origins (`https://school.example.test`) whose forms are accepted
SCHOOL_FAST_PASSWORDS   1 for cheap password hashes, for load tests only

The scheme of a request behind a proxy is gunicorn's business (X-Forwarded-Proto from a trusted peer).
"""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name):
    return os.environ.get(name, "0") == "1"


def _names(name, default=""):
    return [part.strip() for part in os.environ.get(name, default).split(",") if part.strip()]


DEBUG = _flag("SCHOOL_DEBUG")

SECRET_KEY = os.environ.get("SCHOOL_SECRET_KEY", "")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured("SCHOOL_SECRET_KEY is not set (SCHOOL_DEBUG=1 brings a key for development)")
    SECRET_KEY = "development-only-key-of-the-school-administration-never-deployed"

ALLOWED_HOSTS = _names("SCHOOL_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = _names("SCHOOL_TRUSTED_ORIGINS")
CSRF_FAILURE_VIEW = "school.errors.csrf_failure"

INSTALLED_APPS = [
    "school",
    "accounts",
    "academics",
    "attendance",
    "leave",
    "feedback",
    "notifications",
    "assessment",
    "finance",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "school.urls"
WSGI_APPLICATION = "school.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]



def _sqlite(path):
    # IMMEDIATE: a transaction that will write takes the write lock when it begins, where waiting is possible;
    # a deferred one that upgrades later fails at once with "database is locked".
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": path,
        "CONN_MAX_AGE": None,
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA busy_timeout=20000; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def _postgres(url):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(url.path.lstrip("/")),
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port,
        "CONN_MAX_AGE": None,
    }


def _database(name):
    url = urlsplit(str(name))
    return _postgres(url) if url.scheme == "postgres" else _sqlite(name)


DATABASES = {"default": _database(os.environ.get("SCHOOL_DB", BASE_DIR / "school.sqlite3"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "accounts.CustomUser"
LOGIN_URL = "/accounts/login/"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/accounts/login/"
PASSWORD_HASHERS = [
    "accounts.hashers.FastPBKDF2PasswordHasher"
    if _flag("SCHOOL_FAST_PASSWORDS")
    else "accounts.hashers.SteadyPBKDF2PasswordHasher",
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # the only static files are the admin's: served from its package, without collectstatic

MEDIA_ROOT = os.environ.get("SCHOOL_MEDIA", BASE_DIR / "media")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    # A 4xx is the caller's affair; a 5xx is ours and comes with its traceback.
    "loggers": {"django.request": {"level": "ERROR"}},
}
