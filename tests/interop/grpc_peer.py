"""gRPC by grpcio, whose core is in C++ and shares nothing with npm's grpc-js: a server, and a client that checks.

    grpc_peer.py serve [CERT KEY]       serves echo.proto on a free port of loopback, which it prints
    grpc_peer.py call TARGET CA         calls it; READER and WRITER in the environment are tokens
"""

import os
import sys
import threading
import time
import unittest
from concurrent import futures

import grpc

LARGE = 64 << 20
OPTIONS = [("grpc.max_receive_message_length", LARGE), ("grpc.max_send_message_length", LARGE)]
WORDS = "nicht gefunden – 100 % größer\nals gedacht"
DETAILS = bytes([0, 255, 8, 5, 18, 4, 1, 2, 3])


def packed(body):
    """`message Note { bytes body = 1; }` as protobuf writes it."""
    length, size = bytearray(), len(body)
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return b"\x0a" + bytes(length) + bytes([size]) + body if body else b""


def unpacked(message):
    if not message:
        return b""
    end = 1
    while message[end] & 128:
        end += 1
    return message[end + 1:]


CODEC = {"request_serializer": packed, "response_deserializer": unpacked}

# The server.


def unary(body, context):
    own = [entry for entry in context.invocation_metadata() if entry[0].startswith("x-own")]
    context.send_initial_metadata(own)
    context.set_trailing_metadata([("x-trailer", "the end")])
    return body


def count(body, context):
    for n in range(int(body)):
        yield b"%d" % n
    context.set_trailing_metadata([("x-count", body.decode())])


def total(notes, _context):
    sizes = [len(note) for note in notes]
    return b"%d notes, %d bytes" % (len(sizes), sum(sizes))


def chat(notes, context):
    yield from notes
    context.set_trailing_metadata([("x-trailer", "bye")])


def hang(_body, context):
    ended = threading.Event()
    context.add_callback(ended.set)
    ended.wait(30)
    return b""


def fail(body, context):
    code, _, after = body.decode().partition(" after ")
    for n in range(int(after or 0)):
        yield b"%d" % n
    context.set_trailing_metadata([("grpc-status-details-bin", DETAILS)])
    known = {status.value[0]: status for status in grpc.StatusCode}
    context.abort(known[int(code)], f"status {code}: {WORDS}")


def fail_at_once(body, context):
    return next(fail(body, context))


def serve(files):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=150), options=OPTIONS)
    codec = {"request_deserializer": unpacked, "response_serializer": packed}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("interop.Echo", {
        "Unary": grpc.unary_unary_rpc_method_handler(unary, **codec),
        "Count": grpc.unary_stream_rpc_method_handler(count, **codec),
        "Sum": grpc.stream_unary_rpc_method_handler(total, **codec),
        "Chat": grpc.stream_stream_rpc_method_handler(chat, **codec),
        "Hang": grpc.unary_unary_rpc_method_handler(hang, **codec),
        "Fail": grpc.unary_stream_rpc_method_handler(fail, **codec),
        "FailAtOnce": grpc.unary_unary_rpc_method_handler(fail_at_once, **codec),
    })])
    if files:
        cert, key = (open(file, "rb").read() for file in files)
        port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, cert)]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    # Whoever started it closes its end.
    sys.stdin.read()
    server.stop(0).wait()


# The client.


class Calls(unittest.TestCase):
    target = ca = None

    def setUp(self):
        self.channel = self.connect()

    def tearDown(self):
        self.channel.close()

    def connect(self, **options):
        named = OPTIONS + list(options.items())
        credentials = grpc.ssl_channel_credentials(self.ca)
        return grpc.secure_channel(self.target, credentials, options=named)

    def method(self, name, kind="unary_unary", service="Echo"):
        return getattr(self.channel, kind)(f"/interop.{service}/{name}", **CODEC)

    def allowed(self, *entries):
        return [("authorization", f"Bearer {os.environ['READER']}"), *entries]

    def refused(self, expected, call):
        with self.assertRaises(grpc.RpcError) as raised:
            list(call()) if call.__name__ == "stream" else call()
        self.assertEqual(raised.exception.code(), expected, raised.exception.details())
        return raised.exception

    def test_refusals(self):
        def with_token(token, name="Unary", service="Echo"):
            metadata = [("authorization", f"Bearer {token}")] if token else []
            return lambda: self.method(name, service=service)(b"x", metadata=metadata, timeout=10)
        code, reader = grpc.StatusCode, os.environ["READER"]
        error = self.refused(code.UNAUTHENTICATED, with_token(None))
        self.assertIn("www-authenticate", dict(error.trailing_metadata()))
        self.refused(code.UNAUTHENTICATED, with_token("nonsense"))
        self.refused(code.PERMISSION_DENIED, with_token(os.environ["WRITER"]))
        self.refused(code.PERMISSION_DENIED, with_token(reader, "Write"))
        self.refused(code.UNIMPLEMENTED, with_token(reader, service="Nowhere"))
        self.refused(code.UNIMPLEMENTED, with_token(reader, "Absent"))
        self.refused(code.UNAVAILABLE, with_token(reader, service="Down"))

        def stream():
            return self.method("Count", "unary_stream")(b"3", timeout=10)
        self.refused(code.UNAUTHENTICATED, stream)

    def test_unary_with_metadata(self):
        own = [("x-own", "one"), ("x-own-bin", b"\0\xff\r\n")]
        answer, call = self.method("Unary").with_call(b"hello", metadata=self.allowed(*own), timeout=10)
        self.assertEqual(answer, b"hello")
        head = dict(call.initial_metadata())
        self.assertEqual((head["x-own"], head["x-own-bin"]), ("one", b"\0\xff\r\n"))
        self.assertEqual(dict(call.trailing_metadata())["x-trailer"], "the end")

    def test_streams(self):
        counted = self.method("Count", "unary_stream")(b"1000", metadata=self.allowed(), timeout=20)
        self.assertEqual(list(counted), [b"%d" % n for n in range(1000)])
        self.assertEqual(dict(counted.trailing_metadata())["x-count"], "1000")
        notes = iter([bytes(1000)] * 1000)
        self.assertEqual(self.method("Sum", "stream_unary")(notes, metadata=self.allowed(), timeout=20),
                         b"1000 notes, 1000000 bytes")

    def test_rounds(self):
        """The next note is sent when the last has come back."""
        turn = threading.Semaphore()

        def notes():
            for n in range(100):
                turn.acquire()
                yield b"round %d" % n
        call = self.method("Chat", "stream_stream")(notes(), metadata=self.allowed(), timeout=20)
        for n, note in enumerate(call):
            self.assertEqual(note, b"round %d" % n)
            turn.release()
        self.assertEqual(n, 99)
        self.assertEqual(dict(call.trailing_metadata())["x-trailer"], "bye")

    def test_failures(self):
        for code in [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.DATA_LOSS]:
            number = b"%d" % code.value[0]

            def once():
                self.method("FailAtOnce")(number, metadata=self.allowed(), timeout=10)

            def stream():
                return self.method("Fail", "unary_stream")(number + b" after 3", metadata=self.allowed(), timeout=10)
            for call in [once, stream]:
                error = self.refused(code, call)
                self.assertEqual(error.details(), f"status {code.value[0]}: {WORDS}")
                self.assertEqual(dict(error.trailing_metadata())["grpc-status-details-bin"], DETAILS)

    def test_deadline(self):
        start = time.monotonic()
        self.refused(grpc.StatusCode.DEADLINE_EXCEEDED,
                     lambda: self.method("Hang")(b"x", metadata=self.allowed(), timeout=0.3))
        self.assertLess(time.monotonic() - start, 3)

    def test_cancel(self):
        hold = threading.Event()

        def notes():
            yield b"x"
            hold.wait(20)
        call = self.method("Chat", "stream_stream")(notes(), metadata=self.allowed(), timeout=20)
        self.assertEqual(next(call), b"x")
        call.cancel()
        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)
        hold.set()

    def test_large(self):
        """Its core pings to find out how much may be under way."""
        for size in [65_535, 1 << 20, 8 << 20, 8 << 20, 8 << 20]:
            body = os.urandom(size)
            self.assertEqual(self.method("Unary")(body, metadata=self.allowed(), timeout=30), body)
        self.refused(grpc.StatusCode.RESOURCE_EXHAUSTED,
                     lambda: self.method("Unary")(bytes(11 << 20), metadata=self.allowed(), timeout=30))
        self.assertEqual(self.method("Unary")(b"x", metadata=self.allowed(), timeout=10), b"x")

    def test_compressed(self):
        answer = self.method("Unary")(b"x" * 100_000, metadata=self.allowed(), timeout=10, compression=grpc.Compression.Gzip)
        self.assertEqual(len(answer), 100_000)

    def test_many_at_once(self):
        calls = [self.method("Unary").future(b"%d" % n, metadata=self.allowed(), timeout=20) for n in range(500)]
        self.assertEqual([call.result() for call in calls], [b"%d" % n for n in range(500)])

    def test_keepalive(self):
        """A connection that is pinged often, with and without calls, stays."""
        self.channel.close()
        self.channel = self.connect(**{"grpc.keepalive_time_ms": 300, "grpc.keepalive_timeout_ms": 2000,
                                       "grpc.keepalive_permit_without_calls": 1, "grpc.http2.max_pings_without_data": 0})
        states = []
        self.method("Unary")(b"x", metadata=self.allowed(), timeout=10)
        self.channel.subscribe(states.append)
        self.refused(grpc.StatusCode.DEADLINE_EXCEEDED,
                     lambda: self.method("Hang")(b"x", metadata=self.allowed(), timeout=2))
        self.method("Unary")(b"x", metadata=self.allowed(), timeout=10)
        self.assertLessEqual(set(states), {grpc.ChannelConnectivity.READY})


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2:])
    else:
        _, _, Calls.target, ca = sys.argv
        with open(ca, "rb") as file:
            Calls.ca = file.read()
        unittest.main(argv=sys.argv[:1], verbosity=2)
