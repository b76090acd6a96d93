"""A gRPC server and client without generated code: messages are bytes.

    echo.py serve HOST:PORT
    echo.py call HOST:PORT [CA.pem NAME]
"""

import sys
import threading
import time

import grpc

SERVICE = "school.Echo"


def unary(request, context):
    context.set_trailing_metadata((("x-seen", dict(context.invocation_metadata()).get("x-from", "nobody")),))
    return b"you said " + request


def downwards(request, context):
    for number in range(5):
        yield request + str(number).encode()


def upwards(requests, context):
    return b"".join(requests)


def both(requests, context):
    for request in requests:
        yield request[::-1]


def missing(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "there is no such thing")


def serve(address):
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Downwards": grpc.unary_stream_rpc_method_handler(downwards),
        "Upwards": grpc.stream_unary_rpc_method_handler(upwards),
        "Both": grpc.stream_stream_rpc_method_handler(both),
        "Missing": grpc.unary_unary_rpc_method_handler(missing),
    }
    from concurrent.futures import ThreadPoolExecutor

    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_insecure_port(address)
    server.start()
    print("serving", flush=True)
    server.wait_for_termination()


def call(address, authority=None, name=None):
    if authority:
        with open(authority, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(address, credentials, (("grpc.ssl_target_name_override", name),))
    else:
        channel = grpc.insecure_channel(address)
    path = f"/{SERVICE}/"
    answer, told = channel.unary_unary(path + "Unary").with_call(b"hello", metadata=(("x-from", "test"),), timeout=20)
    assert answer == b"you said hello", answer
    assert dict(told.trailing_metadata())["x-seen"] == "test", told.trailing_metadata()
    large = b"x" * 3_000_000
    assert channel.unary_unary(path + "Unary")(large, timeout=20) == b"you said " + large
    assert list(channel.unary_stream(path + "Downwards")(b"n", timeout=20)) == [b"n0", b"n1", b"n2", b"n3", b"n4"]
    assert channel.stream_unary(path + "Upwards")(iter([b"a", b"b", b"c"]), timeout=20) == b"abc"

    # Each answer must arrive before the next question is asked.
    answered = threading.Semaphore(1)

    def questions():
        for word in (b"abc", b"def", b"ghi"):
            answered.acquire(timeout=10)
            yield word

    answers = []
    for answer in channel.stream_stream(path + "Both")(questions(), timeout=20):
        answers.append(answer)
        answered.release()
    assert answers == [b"cba", b"fed", b"ihg"], answers

    # Who talks may think, before the first answer and after it, whatever else the channel carries.
    def slowly(*words):
        for word in words:
            time.sleep(2.5)
            yield word

    both = channel.stream_stream(path + "Both")(slowly(b"abc", b"def"), timeout=20)
    upwards = channel.stream_unary(path + "Upwards").future(slowly(b"a", b"b"), timeout=20)
    assert channel.unary_unary(path + "Unary")(b"meanwhile", timeout=20) == b"you said meanwhile"
    assert list(both) == [b"cba", b"fed"]
    assert upwards.result() == b"ab"
    try:
        channel.unary_unary(path + "Missing")(b"", timeout=20)
        raise AssertionError("it is there")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND and error.details() == "there is no such thing", error
    print("all well")


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "serve" else call(*sys.argv[2:])
