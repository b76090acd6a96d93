"""An application that counts for itself, for WSGI and for ASGI: every request that reaches it is a line in the file that COUNTED names.

The counting stands round the application. A line is written when the body was read to its end, before the answer begins: the id
that the gateway gave, what was asked, how many bytes came, and whether that was all of them.
"""

import json
import os

FILE = os.open(os.environ["COUNTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def count(header, method, path, length, whole):
    line = {"id": header("x-request-id"), "from": header("x-forwarded-for"), "method": method, "path": path, "bytes": length, "whole": whole}
    os.write(FILE, json.dumps(line).encode() + b"\n")


def counted_wsgi(application):
    def counting(environ, start_response):
        length, whole = 0, True
        try:
            while piece := environ["wsgi.input"].read(65536):
                length += len(piece)
            # A body that ended early reads like one that was shorter.
            whole = int(environ.get("CONTENT_LENGTH") or length) == length
        except OSError:
            whole = False
        count(lambda name: environ.get("HTTP_" + name.upper().replace("-", "_")), environ["REQUEST_METHOD"], environ["RAW_URI"], length, whole)
        return application(environ, start_response)

    return counting


def counted_asgi(application):
    async def counting(scope, receive, send):
        if scope["type"] != "http":
            return
        headers = {}
        for name, value in scope["headers"]:
            name, value = name.decode("latin-1"), value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        length, message = 0, {"more_body": True}
        while message.get("more_body"):
            message = await receive()
            length += len(message.get("body", b""))
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        count(headers.get, scope["method"], target.decode("latin-1"), length, message["type"] == "http.request")
        await application(scope, receive, send)

    return counting


@counted_wsgi
def wsgi(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]


@counted_asgi
async def asgi(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
