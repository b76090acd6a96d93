"""What the CSRF middleware of Django 5.2 says to requests drawn at random: `python csrf.py 150 > csrf.json`."""

import json
import random
import sys

import django
from django.conf import settings

TRUSTED = ["https://app.test", "https://*.school.test", "http://*.plain.test:8000"]
settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], CSRF_TRUSTED_ORIGINS=TRUSTED, LOGGING_CONFIG=None)
django.setup()

from django.middleware import csrf  # noqa: E402
from django.test import RequestFactory  # noqa: E402

draw = random.Random(7)
ALPHABET = csrf.CSRF_ALLOWED_CHARS


def secret():
    return "".join(draw.choice(ALPHABET) for _ in range(32))


def masked(value):
    mask = secret()
    places = (ALPHABET.index(x) + ALPHABET.index(y) for x, y in zip(value, mask))
    return mask + "".join(ALPHABET[place % len(ALPHABET)] for place in places)


def request():
    own, other = secret(), secret()
    scheme, host = draw.choice(["http", "https"]), draw.choice(["here.test", "here.test:8443"])
    origins = [None] * 6 + [f"{scheme}://{host}"] * 5
    origins += ["null", "", "garbage", "https://app.test", "https://a.school.test", "https://school.test", "http://a.school.test"]
    origins += ["https://evilschool.test", "HTTPS://A.school.test", "https://a.school.test/", "http://b.plain.test", "http://b.plain.test:8000"]
    referers = [None] * 2 + [f"https://{host}/x?y#z"] * 5
    referers += [f"http://{host}/x", "https://app.test/", "https://b.school.test/p", "https://evil.test/", "https://here.test@evil.test/"]
    referers += ["https:///x", "//here.test/", "garbage", "HTTPS://here.test/", "https://HERE.test/", "https://app.test:8443/"]
    return {
        "scheme": scheme,
        "host": host,
        "cookie": draw.choice([own] * 5 + [masked(own)] * 2 + [None, own[1:], "!" * 32, ""]),
        "token": draw.choice([own] * 3 + [masked(own)] * 5 + [masked(other), other, None, own + "a", "?" * 64, ""]),
        "origin": draw.choice(origins),
        "referer": draw.choice(referers),
    }


def accepted(case):
    names = {"HTTP_ORIGIN": "origin", "HTTP_REFERER": "referer", "HTTP_X_CSRFTOKEN": "token"}
    headers = {name: case[key] for name, key in names.items() if case[key] is not None}
    asked = RequestFactory().put("/", secure=case["scheme"] == "https", HTTP_HOST=case["host"], **headers)
    if case["cookie"] is not None:
        asked.COOKIES["csrftoken"] = case["cookie"]
    middleware, refusals = csrf.CsrfViewMiddleware(lambda _: None), []
    middleware._reject = lambda _, reason: refusals.append(reason)
    middleware.process_request(asked)
    middleware.process_view(asked, lambda _: None, (), {})
    return not refusals


cases = [request() for _ in range(int(sys.argv[1]))]
recorded = {"trusted": TRUSTED, "cases": [case | {"accepted": accepted(case)} for case in cases]}
print(json.dumps(recorded, separators=(",", ":")).replace('{"scheme"', '\n{"scheme"'))
