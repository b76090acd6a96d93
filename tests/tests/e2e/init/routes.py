"""Every path that a project answers, by the framework's own word and not by ours: `django SETTINGS` walks Django's resolver,
`flask MODULE:FACTORY` reads Flask's `url_map`. Prints one path a line, each one with something for its variables that
its converters take. Of Django only what `resolve()` finds by the pattern that it was made of.
"""

import importlib
import itertools
import os
import re
import sys

sys.path.insert(0, os.getcwd())
FILLED = {"int": "1", "str": "a", "slug": "a-b", "uuid": "6fa459ea-ee8a-3ca4-894e-db77e160355e", "path": "a/b", "float": "1.5"}


def of_django(settings):
    import django
    from django.urls import Resolver404, converters, get_resolver, resolve
    from django.urls.resolvers import LocalePrefixPattern, RegexPattern, URLPattern
    from django.utils import translation
    from django.utils.regex_helper import normalize

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    django.setup()
    names = {type(converter): name for name, converter in converters.get_converters().items()}

    def filled(pattern):
        """What the pattern takes, one way or another: of an expression, all words in it are tried."""
        if isinstance(pattern, LocalePrefixPattern):
            return [translation.get_language() + "/"]
        if isinstance(pattern, RegexPattern):
            text, parameters = normalize(pattern._regex)[0]
            words = dict.fromkeys(["1", "a-b", *re.findall(r"\w+", pattern._regex)])
            ways = itertools.product(words, repeat=len(parameters))
            return [text % dict(zip(parameters, way)) for way in itertools.islice(ways, 10_000)]
        text = str(pattern)
        for name, converter in pattern.converters.items():
            kind = names[type(converter)]
            for written in (f"<{kind}:{name}>", f"<{name}>"):
                text = text.replace(written, FILLED[kind])
        return [text]

    def found(path):
        try:
            return resolve("/" + path)
        except Resolver404:
            return None

    def walk(patterns, starts):
        for entry in patterns:
            ways = [start + way for start in starts for way in filled(entry.pattern)]
            if isinstance(entry, URLPattern):
                path = next((path for path in ways if found(path)), None)
                assert path is not None, f"nothing was made that {entry.pattern} takes"
                yield "/" + path
            else:
                yield from walk(entry.url_patterns, ways)

    return walk(get_resolver().url_patterns, [""])


def of_flask(named):
    module, _, factory = named.partition(":")
    app = getattr(importlib.import_module(module), factory)()
    adapter = app.url_map.bind("localhost")
    for rule in app.url_map.iter_rules():
        kinds = {name: type(converter).__name__ for name, converter in rule._converters.items()}
        values = {name: {"IntegerConverter": 1, "PathConverter": "a/b"}.get(kind, "a") for name, kind in kinds.items()}
        method = next(iter(rule.methods - {"HEAD", "OPTIONS"}))
        path = adapter.build(rule.endpoint, values, method=method)
        assert adapter.match(path, method=method)[0] == rule.endpoint, path
        yield path


if __name__ == "__main__":
    paths = {"django": of_django, "flask": of_flask}[sys.argv[1]](sys.argv[2])
    sys.stderr.flush()
    print("\n".join(f"route {path}" for path in dict.fromkeys(paths)))
