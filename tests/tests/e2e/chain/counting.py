"""Counts requests behind the gateway, as a WSGI and as an ASGI application.

A request for /count is answered with what was seen before: every request's id and address as the gateway told them.
"""

import json

SEEN = []


def answer(path, header):
    if path == "/count":
        return json.dumps(SEEN).encode()
    SEEN.append([header("x-request-id"), header("x-forwarded-for")])
    return b"ok"


def wsgi(environ, start_response):
    body = answer(environ["PATH_INFO"], lambda name: environ.get("HTTP_" + name.upper().replace("-", "_")))
    try:
        while environ["wsgi.input"].read(65536):
            pass
    except OSError:
        pass
    start_response("200 OK", [("Content-Length", str(len(body))), ("X-Counted", "1")])
    return [body]


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    headers = {}
    for name, value in scope["headers"]:
        name = name.decode("latin-1")
        headers[name] = f"{headers[name]}, {value.decode('latin-1')}" if name in headers else value.decode("latin-1")
    body = answer(scope["path"], headers.get)
    message = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
    start = {"type": "http.response.start", "status": 200}
    await send(start | {"headers": [(b"content-length", str(len(body)).encode()), (b"x-counted", b"1")]})
    await send({"type": "http.response.body", "body": body})
