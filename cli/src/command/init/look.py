"""Run by `ficus init` with the project's own Python, in its folder: prints what a project consists of, as JSON.

Arguments: `django MANAGE.PY` or `flask MODULE:NAME`. Reads only; what the project itself prints goes to standard error.
"""

import importlib
import inspect
import json
import os
import re
import sys

OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
HERE = os.getcwd()


def is_own(module_name):
    """A module of the project, not of an installed package."""
    try:
        file = inspect.getsourcefile(importlib.import_module(module_name)) or ""
    except Exception:
        return False
    return file.startswith(HERE + os.sep) and "site-packages" not in file


def literal_prefix(expression):
    """What a regular expression begins with, up to the last whole segment that is plain."""
    text = expression.lstrip("^")
    if text.startswith("\\A"):
        text = text[2:]
    plain = re.match(r"(?:[A-Za-z0-9_/~-]|\\[.\-/])*", text).group(0).replace("\\", "")
    rest = text[len(re.match(r"(?:[A-Za-z0-9_/~-]|\\[.\-/])*", text).group(0)):]
    if rest in ("$", "\\Z", ""):
        return plain, True
    if rest in ("/?$", "/?\\Z"):
        return plain + "/", True
    return plain[: plain.rfind("/") + 1], False


def django_routes(patterns, prefix=""):
    """Every route as (path, whole, view): `{name}` stands for a segment; not whole: all that follows belongs to it."""
    from django.urls.resolvers import LocalePrefixPattern, RegexPattern, URLResolver

    for entry in patterns:
        pattern = entry.pattern
        if isinstance(pattern, LocalePrefixPattern):
            own, whole = ("{language}/" if pattern.prefix_default_language else ""), True
        elif isinstance(pattern, RegexPattern):
            own, whole = literal_prefix(pattern._regex)
        else:
            own, whole = str(pattern._route), True
        if isinstance(entry, URLResolver) and whole:
            yield from django_routes(entry.url_patterns, prefix + own)
        else:
            view = None if isinstance(entry, URLResolver) else entry.callback
            yield prefix + own, whole, view


def module_of(view):
    while hasattr(view, "__wrapped__"):
        view = view.__wrapped__
    view = getattr(view, "view_class", None) or getattr(view, "cls", None) or getattr(view, "func", view)
    return getattr(view, "__module__", "") or ""


def django(manage):
    import runpy

    from django.core import management

    sys.path.insert(0, HERE)
    sys.argv = [manage, "check"]
    # The project's own way to its settings, without its command.
    management.execute_from_command_line = lambda *_, **__: None
    runpy.run_path(manage, run_name="__main__")
    import django as package
    from django.apps import apps
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.urls import get_resolver

    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise SystemExit(f"{manage} names no settings: set DJANGO_SETTINGS_MODULE")
    package.setup()
    own = {config.name: config for config in apps.get_app_configs() if is_own(config.module.__name__)}

    def group(module):
        fitting = [name for name in own if module == name or module.startswith(name + ".")]
        return own[max(fitting, key=len)].label if fitting else None

    routes = [
        {"path": path, "whole": whole, "group": group(module_of(view)) if view else None}
        for path, whole, view in django_routes(get_resolver().url_patterns)
    ]
    tables = []
    for config in own.values():
        for model in config.get_models(include_auto_created=True):
            if not model._meta.managed or model._meta.proxy:
                continue
            keys = [
                {"column": field.column, "table": field.related_model._meta.db_table, "group": field.related_model._meta.app_label}
                for field in model._meta.local_concrete_fields
                if field.remote_field and getattr(field, "related_model", None) and not isinstance(field.related_model, str)
            ]
            tables.append({"name": model._meta.db_table, "group": config.label, "key": model._meta.pk.column, "keys": keys})
    admin = []
    if apps.is_installed("django.contrib.admin"):
        from django.contrib import admin as site
        from django.urls import NoReverseMatch, reverse

        try:
            root = reverse("admin:index")
            admin = sorted({(root, model._meta.app_label) for model in site.site._registry if model._meta.app_label in {c.label for c in own.values()}})
        except NoReverseMatch:
            pass
    base = settings.DATABASES.get("default", {})
    engine = str(base.get("ENGINE", "")).rsplit(".", 1)[-1]
    database = {
        "engine": {"postgresql": "postgres", "postgis": "postgres", "mysql": "mysql", "sqlite3": "sqlite", "spatialite": "sqlite"}.get(engine, engine),
        "name": os.path.abspath(str(base.get("NAME", ""))) if "lite" in engine else str(base.get("NAME", "")),
        "host": str(base.get("HOST") or "127.0.0.1"), "port": str(base.get("PORT") or ""), "user": str(base.get("USER") or ""),
        "password": bool(base.get("PASSWORD")),
    }
    session = None
    if apps.is_installed("django.contrib.sessions") and apps.is_installed("django.contrib.auth"):
        user = get_user_model()
        columns = {field.name: field.column for field in user._meta.concrete_fields}
        session = {
            "engine": settings.SESSION_ENGINE, "cookie": settings.SESSION_COOKIE_NAME, "csrf_cookie": settings.CSRF_COOKIE_NAME,
            "csrf_header": settings.CSRF_HEADER_NAME.removeprefix("HTTP_").replace("_", "-"),
            "user_table": user._meta.db_table, "id_column": user._meta.pk.column,
            "username_column": columns.get(user.USERNAME_FIELD, user.USERNAME_FIELD), "active_column": columns.get("is_active"),
            "trusted_origins": list(settings.CSRF_TRUSTED_ORIGINS),
        }
    return {"framework": "Django", "version": package.get_version(), "routes": routes, "tables": tables, "database": database, "session": session,
            "admin": [{"root": root, "group": label} for root, label in admin]}


def models(app):
    """SQLAlchemy's metadata, registries of models, and the address of the database: as Flask-SQLAlchemy has them, else as the project's own modules do."""
    found = app.extensions.get("sqlalchemy")
    if found is not None:
        registry = getattr(getattr(found, "Model", None), "registry", None)
        return [found.metadata], [registry] if registry is not None else [], found.engine.url
    if "sqlalchemy" not in sys.modules:
        return [], [], None
    from sqlalchemy import MetaData
    from sqlalchemy.engine import Engine
    from sqlalchemy.orm import registry as Registry

    values = [value for name, module in list(sys.modules.items()) if is_own(name) for value in vars(module).values()]
    of = lambda name, kind: [one for one in [*values, *(getattr(value, name, None) for value in values if isinstance(value, type))] if isinstance(one, kind)]
    # Each once, in the order in which they were found; of several engines nobody can tell which.
    once = lambda all: list({id(one): one for one in all}.values())
    registries = once(of("registry", Registry))
    engines = once([value for value in values if isinstance(value, Engine)])
    metadata = once([*of("metadata", MetaData), *(one.metadata for one in registries)])
    return metadata, registries, engines[0].url if len(engines) == 1 else None


def flask(named):
    sys.path.insert(0, HERE)
    import importlib.metadata

    from flask import Flask

    module, _, name = named.partition(":")
    try:
        module = importlib.import_module(module[:-3] if module.endswith(".py") else module)
    except ModuleNotFoundError as error:
        raise SystemExit(f"no module {error.name!r}: name the application like --flask package.module:app") from None
    app = getattr(module, name or "app", None)
    if app is None:
        raise SystemExit(f"{module.__name__} has no {name or 'app'!r}: name the application like --flask {module.__name__}:create_app")
    app = app if isinstance(app, Flask) else app()
    if not isinstance(app, Flask):
        raise SystemExit(f"{named} is no Flask application, and makes none")
    owners = {}
    for name, blueprint in app.blueprints.items():
        # Of several in one module nobody can tell whose the models are: the application's.
        owners[blueprint.import_name] = "app" if blueprint.import_name in owners else name.replace(".", "-")

    def group_of(module_name):
        """Its blueprint is in the same module, or the only one of the same package."""
        if module_name in owners:
            return owners[module_name]
        packages = [one.rpartition(".")[0] for one in owners]
        nearest = max((one for one in packages if one and module_name.startswith(one + ".")), key=len, default=None)
        beside = [one for one in owners if one.rpartition(".")[0] == nearest]
        return owners[beside[0]] if len(beside) == 1 else "app"

    routes = []
    for rule in app.url_map.iter_rules():
        group = rule.endpoint.rpartition(".")[0].replace(".", "-") or "app"
        routes.append({"path": rule.rule.lstrip("/"), "whole": True, "group": None if rule.endpoint == "static" else group})
    tables, database = [], {"engine": "", "name": "", "host": "", "port": "", "user": "", "password": False}
    with app.app_context():
        metadata, registries, url = models(app)
        mapped = {mapper.local_table.name: group_of(mapper.class_.__module__) for registry in registries for mapper in registry.mappers if mapper.local_table is not None}
        for table in (table for one in metadata for table in one.sorted_tables):
            keys = [{"column": key.parent.name, "table": key.column.table.name, "group": mapped.get(key.column.table.name, "app")} for key in table.foreign_keys]
            keys.sort(key=lambda key: (key["column"], key["table"]))
            primary = [column.name for column in table.primary_key]
            tables.append({"name": table.name, "group": mapped.get(table.name, "app"), "key": primary[0] if len(primary) == 1 else None, "keys": keys})
        if url is not None:
            database = {"engine": {"postgresql": "postgres", "mariadb": "mysql"}.get(url.get_backend_name(), url.get_backend_name()),
                        "name": os.path.abspath(url.database or "") if "lite" in url.get_backend_name() else url.database or "",
                        "host": url.host or "127.0.0.1", "port": str(url.port or ""), "user": url.username or "", "password": bool(url.password)}
    return {"framework": "Flask", "version": importlib.metadata.version("flask"), "routes": routes, "tables": tables, "database": database,
            "session": None, "admin": [], "cookie": app.config.get("SESSION_COOKIE_NAME", "session")}


def main():
    kind, what = sys.argv[1:3]
    try:
        found = {"django": django, "flask": flask}[kind](what)
    except ModuleNotFoundError as error:
        raise SystemExit(f"{sys.executable} has no module {error.name!r}: name the project's own Python with --python, like .venv/bin/python") from None
    json.dump(found, OUT)
    OUT.close()


main()
