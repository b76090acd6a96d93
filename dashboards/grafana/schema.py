"""Checks dashboards against Grafana's published schema: `python schema.py FILE…` (needs requirements.txt).

The schema comes as classes that Grafana generates from it. A file is read into them and written again: a key that the
schema does not know is lost on the way, and found missing. Then every value is held against the type of its field, down
to panel options, field options and queries. What the schema leaves open (a datasource's own fields) is listed in OPEN.
"""

import enum
import json
import sys
import types
import typing

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

# Of annotations by Prometheus: its plugin's own fields, which the schema of annotations does not list.
OPEN = ("/annotations/list/*/step", "/annotations/list/*/titleFormat")


def lost(given, kept, path=""):
    """Places of `given` that `kept` does not have, or has otherwise."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            place = f"{path}/{key}"
            if key in kept:
                yield from lost(value, kept[key], place)
            elif value is not None and not is_open(place):
                yield f"{place} is not in the schema"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, (one, other) in enumerate(zip(given, kept)):
            yield from lost(one, other, f"{path}/{index}")
    elif given != kept:
        yield f"{path} is {given!r}, read as {kept!r}"


def is_open(place):
    parts = place.split("/")
    return any(len(parts) == len(one.split("/")) and all(a in ("*", b) for a, b in zip(one.split("/"), parts)) for one in OPEN)


def mistyped(value, kind, path=""):
    """Places below `value` that are not of their declared type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (typing.Any, object):
        if hasattr(value, "to_json"):
            yield from mistyped(value, type(value), path)
    elif origin in (typing.Union, types.UnionType):
        found = [list(mistyped(value, one, path)) for one in arguments]
        if all(found):
            # What is wrong furthest inside belongs to the kind that was meant.
            yield from max(found, key=lambda wrong: len(wrong[0].split(" ")[0]))
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{path} is {value!r}, not one of {arguments}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{path} is {value!r}, not a list"
            return
        for index, one in enumerate(value):
            yield from mistyped(one, arguments[0], f"{path}/{index}")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{path} is {value!r}, not an object"
            return
        for key, one in value.items():
            yield from mistyped(one, arguments[1], f"{path}/{key}")
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in {member.value for member in kind}:
            yield f"{path} is {value!r}, not one of {[member.value for member in kind]}"
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{path} is {value!r}, not a number"
    elif kind in (int, str, bool, type(None)):
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            yield f"{path} is {value!r}, not of {kind.__name__}"
    elif hasattr(value, "to_json"):
        for name, declared in typing.get_type_hints(type(value)).items():
            yield from mistyped(getattr(value, name), declared, f"{path}/{name}")
    elif isinstance(value, dict) and hasattr(kind, "from_json"):
        # Some lists of objects are left as they are by the reading.
        read = kind.from_json(value)
        yield from lost(value, plain(read), path)
        yield from mistyped(read, kind, path)
    else:
        yield f"{path} is {value!r}, not a {getattr(kind, '__name__', kind)}"


def plain(value):
    return json.loads(json.dumps(value, cls=JSONEncoder))


def complaints(given):
    try:
        read = Dashboard.from_json(given)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"it cannot be read: {error!r}"]
    return [*lost(given, plain(read)), *mistyped(read, Dashboard)]


def main():
    plugins.register_default_plugins()
    found = 0
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            for complaint in complaints(json.load(file)):
                print(f"{name}: {complaint}")
                found += 1
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
