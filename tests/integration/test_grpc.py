"""
gRPC through the gateway: real clients and servers, the interop cases that gRPC publishes.

The names are those of `interop-test-descriptions.md`; messages are bytes, so nothing is generated.
"""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
from twisted.internet.threads import deferToThread

from a3s_gateway.protocol.grpc_web import Base64Decoder
from tests.http2 import Http2TestCase
from tests.support import Answer, eventually

SERVICE = "/grpc.testing.TestService/"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
INITIAL = ("x-grpc-test-echo-initial", "test_initial_metadata_value")
TRAILING = ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab")


class Server:
    """Echoes what it gets, and does as the metadata say."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.cancelled = threading.Event()
        self.began = threading.Event()
        self.server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        self.server.add_generic_rpc_handlers((self._handlers(),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def _handlers(self) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(
            SERVICE.strip("/"),
            {
                "UnaryCall": grpc.unary_unary_rpc_method_handler(self.unary),
                "StreamingInputCall": grpc.stream_unary_rpc_method_handler(self.gather),
                "StreamingOutputCall": grpc.unary_stream_rpc_method_handler(self.scatter),
                "FullDuplexCall": grpc.stream_stream_rpc_method_handler(self.echo),
            },
        )

    def _note(self, context: grpc.ServicerContext) -> None:
        metadata = dict(context.invocation_metadata())
        self.seen.append({**metadata, ":left": context.time_remaining()})
        context.add_callback(self.cancelled.set)  # which one that is cancelled takes no more
        self.began.set()
        if INITIAL[0] in metadata:
            context.send_initial_metadata(((INITIAL[0], metadata[INITIAL[0]]),))
        if TRAILING[0] in metadata:
            context.set_trailing_metadata(((TRAILING[0], metadata[TRAILING[0]]),))
        if "fail" in metadata:
            context.abort(grpc.StatusCode(_code(int(metadata["fail"]))), SPECIAL)
        if "sleep" in metadata:
            self.cancelled.wait(float(metadata["sleep"]))

    def unary(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self._note(context)
        return request

    def gather(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        self._note(context)
        return str(sum(len(each) for each in requests)).encode()

    def scatter(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._note(context)
        for size in request.split():
            yield bytes(int(size))

    def echo(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._note(context)
        yield from requests


def _code(number: int) -> tuple[int, str]:
    return next(each.value for each in grpc.StatusCode if each.value[0] == number)


class GrpcTestCase(Http2TestCase):
    """Has a server, and a channel to the gateway before it."""

    async def start(self, balancing: str = "", **options: Any) -> Server:
        server = Server()
        self.addCleanup(lambda: deferToThread(server.server.stop(0).wait))
        await self.gateway(f"h2c://127.0.0.1:{server.port}", balancing=balancing, **options)
        return server

    async def call(self, case: Callable[[grpc.Channel], Any]) -> Any:
        """Run a case in a thread: gRPC blocks."""
        address = self.gateways[-1].addresses()["web"]

        def run() -> Any:
            with grpc.insecure_channel(f"127.0.0.1:{address.port}") as channel:
                return case(channel)

        return await deferToThread(run)


def unary(channel: grpc.Channel, data: bytes = b"", *metadata: Any, **options: Any) -> Any:
    """Call UnaryCall; returns the response and the call."""
    method = options.pop("method", "UnaryCall")
    options.setdefault("timeout", 10)
    return channel.unary_unary(SERVICE + method).with_call(data, metadata=metadata, **options)


def failure(case: Callable[[], Any]) -> grpc.RpcError:
    try:
        case()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call has not failed")


class InteropTests(GrpcTestCase):
    """The published cases."""

    async def test_empty_unary(self) -> None:
        """A message without a byte."""
        server = await self.start()
        response, _ = await self.call(unary)
        assert response == b""
        assert server.seen[0]["user-agent"].startswith("grpc-python")

    async def test_large_unary(self) -> None:
        """More than every window."""
        await self.start()
        data = bytes(3_000_000)
        response, _ = await self.call(partial(unary, data=data))
        assert response == data

    async def test_compressed_unary(self) -> None:
        """The flag of a message and its bytes are not ours to touch."""
        await self.start()
        data = bytes(100_000)
        response, _ = await self.call(partial(unary, data=data, compression=grpc.Compression.Gzip))
        assert response == data

    async def test_client_streaming(self) -> None:
        """Four messages, one answer."""
        await self.start()
        sizes = (27182, 8, 1828, 45904)

        def case(channel: grpc.Channel) -> Any:
            call = channel.stream_unary(SERVICE + "StreamingInputCall")
            return call((bytes(size) for size in sizes), timeout=10)

        assert await self.call(case) == b"74922"

    async def test_server_streaming(self) -> None:
        """One message, four answers."""
        await self.start()

        def case(channel: grpc.Channel) -> Any:
            call = channel.unary_stream(SERVICE + "StreamingOutputCall")
            return [len(each) for each in call(b"31415 9 2653 58979", timeout=10)]

        assert await self.call(case) == [31415, 9, 2653, 58979]

    async def test_ping_pong(self) -> None:
        """Each message is answered before the next is sent."""
        await self.start()
        sizes = [27182, 8, 1828, 45904]

        def case(channel: grpc.Channel) -> list[int]:
            answered = threading.Semaphore(1)

            def requests() -> Iterator[bytes]:
                for size in sizes:
                    assert answered.acquire(timeout=10)
                    yield bytes(size)

            got = []
            call = channel.stream_stream(SERVICE + "FullDuplexCall")
            for response in call(requests(), timeout=10):
                got.append(len(response))
                answered.release()
            return got

        assert await self.call(case) == sizes

    async def test_empty_stream(self) -> None:
        """No message either way."""
        await self.start()

        def case(channel: grpc.Channel) -> list[bytes]:
            return list(channel.stream_stream(SERVICE + "FullDuplexCall")(iter(()), timeout=10))

        assert await self.call(case) == []

    async def test_cancel_after_begin(self) -> None:
        """The server hears of it."""
        server = await self.start()

        def case(channel: grpc.Channel) -> Any:
            stop = threading.Event()

            def requests() -> Iterator[bytes]:
                stop.wait(10)
                yield b""

            call = channel.stream_unary(SERVICE + "StreamingInputCall").future(requests())
            assert server.began.wait(10)
            call.cancel()
            stop.set()
            return call.code()

        assert await self.call(case) == grpc.StatusCode.CANCELLED
        await eventually(server.cancelled.is_set, "the server is told")
        await self.all_quiet()

    async def test_cancel_after_first_response(self) -> None:
        """In the middle of a stream, too."""
        server = await self.start()

        def case(channel: grpc.Channel) -> Any:
            stop = threading.Event()

            def requests() -> Iterator[bytes]:
                yield b"x"
                stop.wait(10)

            call = channel.stream_stream(SERVICE + "FullDuplexCall")(requests())
            assert next(call) == b"x"
            call.cancel()
            stop.set()
            return call.code()

        assert await self.call(case) == grpc.StatusCode.CANCELLED
        await eventually(server.cancelled.is_set, "the server is told")
        await self.all_quiet()

    async def test_timeout_on_sleeping_server(self) -> None:
        """The client's deadline ends it everywhere."""
        server = await self.start()
        error = await self.call(
            lambda channel: failure(lambda: unary(channel, b"", ("sleep", "10"), timeout=0.3))
        )
        assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(server.cancelled.is_set, "the server is told")
        assert 0 < server.seen[0][":left"] < 1
        await self.all_quiet()

    async def test_custom_metadata(self) -> None:
        """Text and binary, with the first head and with the trailers."""
        await self.start()

        def case(channel: grpc.Channel) -> Any:
            _, call = unary(channel, b"a", INITIAL, TRAILING)
            stream = channel.stream_stream(SERVICE + "FullDuplexCall")
            duplex = stream(iter((b"b",)), metadata=(INITIAL, TRAILING), timeout=10)
            assert list(duplex) == [b"b"]
            return [
                (dict(each.initial_metadata()), dict(each.trailing_metadata()))
                for each in (call, duplex)
            ]

        for initial, trailing in await self.call(case):
            assert initial[INITIAL[0]] == INITIAL[1]
            assert trailing[TRAILING[0]] == TRAILING[1]

    async def test_status_code_and_message(self) -> None:
        """Of unary calls and of streams; the message is any text (special_status_message)."""
        await self.start()

        def case(channel: grpc.Channel) -> list[grpc.RpcError]:
            stream = channel.stream_stream(SERVICE + "FullDuplexCall")
            metadata = (("fail", "2"),)
            return [
                failure(lambda: unary(channel, b"", *metadata)),
                failure(lambda: list(stream(iter((b"",)), metadata=metadata, timeout=10))),
            ]

        for error in await self.call(case):
            assert (error.code(), error.details()) == (grpc.StatusCode.UNKNOWN, SPECIAL)

    async def test_unimplemented_method(self) -> None:
        """A trailers-only answer of the server."""
        await self.start()
        case = partial(unary, method="NoSuchMethod")
        error = await self.call(lambda channel: failure(lambda: case(channel)))
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED

    async def test_concurrent_large_unary(self) -> None:
        """Many at once on one connection."""
        server = await self.start()

        def case(channel: grpc.Channel) -> set[int]:
            method = channel.unary_unary(SERVICE + "UnaryCall")
            calls = [method.future(bytes(100_000), timeout=20) for _ in range(50)]
            return {len(call.result()) for call in calls}

        assert await self.call(case) == {100_000}
        assert len(server.seen) == 50
        assert self.pools()[0].open == 1
        await self.all_quiet()


class FaultTests(GrpcTestCase):
    """What the gateway itself answers, in gRPC's words."""

    async def fault(self, **options: Any) -> grpc.RpcError:
        return await self.call(lambda channel: failure(lambda: unary(channel, **options)))

    async def test_no_route(self) -> None:
        """UNIMPLEMENTED."""
        await self.start(rule="Path(`/other`)")
        error = await self.fault()
        assert error.code() == grpc.StatusCode.UNIMPLEMENTED
        assert error.details() == "No route matched"
        assert dict(error.trailing_metadata())["x-gateway-error"] == "NO_ROUTE"

    async def test_no_server(self) -> None:
        """UNAVAILABLE."""
        server = await self.start()
        await deferToThread(server.server.stop(0).wait)
        assert (await self.fault()).code() == grpc.StatusCode.UNAVAILABLE

    async def test_a_server_that_takes_too_long(self) -> None:
        """DEADLINE_EXCEEDED, whoever's limit it is."""
        server = await self.start('request_timeout = "200ms"')
        error = await self.call(
            lambda channel: failure(lambda: unary(channel, b"", ("sleep", "10")))
        )
        assert (error.code(), error.details()) == (
            grpc.StatusCode.DEADLINE_EXCEEDED, "Upstream timed out",
        )  # fmt: skip
        await eventually(server.cancelled.is_set, "the server is told")

    async def test_a_client_that_forgets_its_deadline(self) -> None:
        """`grpc-timeout` bounds our wait, also where the client does not mind it."""
        backend = await self.h2_backend(answers=False)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc\r\n"
            b"grpc-timeout: 100m\r\nContent-Length: 0\r\n\r\n"
        )
        peer = await backend.accept()
        request = await peer.request()
        assert request.find("grpc-timeout") == "100m"
        answer = await client.response()
        assert (answer.status, answer.head.find("grpc-status")) == (200, "4")
        await peer.until(lambda: request.reset == 8, "the stream is reset")


class WebTests(GrpcTestCase):
    """gRPC-Web, as browsers send it."""

    async def post(self, method: str, kind: str, body: bytes, *fields: str) -> Answer:
        head = (
            f"POST {SERVICE}{method} HTTP/1.1\r\nHost: a\r\nContent-Type: application/{kind}\r\n"
            f"Content-Length: {len(body)}\r\n" + "".join(f"{each}\r\n" for each in fields)
        )
        return await self.exchange(head.encode() + b"\r\n", body)

    async def start_for_web(self) -> Server:
        return await self.start(rule='PathPrefix(`/`)"\n grpc-web = true # "')

    async def test_a_call_in_bytes(self) -> None:
        """The trailers are the last frame of the body."""
        server = await self.start_for_web()
        answer = await self.post("UnaryCall", "grpc-web+proto", b"\0\0\0\0\5hello", "x-a: b")
        assert answer.head.find("content-type") == "application/grpc-web"
        assert answer.body.startswith(b"\0\0\0\0\5hello\x80")
        assert b"grpc-status: 0\r\n" in answer.body[15:]
        assert int.from_bytes(answer.body[11:15]) == len(answer.body) - 15
        assert server.seen[0]["x-a"] == "b"
        await eventually(lambda: self.in_flight() == [0], "leases back")

    async def test_a_call_in_base64(self) -> None:
        """Each piece padded for itself, as browsers may send and must take them."""
        await self.start_for_web()
        body = b64encode(b"\0\0\0\0\5he") + b64encode(b"llo")
        answer = await self.post("UnaryCall", "grpc-web-text", body)
        assert answer.head.find("content-type") == "application/grpc-web-text"
        plain = Base64Decoder().feed(answer.body)
        assert plain.startswith(b"\0\0\0\0\5hello\x80")
        assert b"grpc-status: 0\r\n" in plain

    async def test_a_stream_and_a_failure(self) -> None:
        """Messages as they come; a status without a message stays in the head."""
        await self.start_for_web()
        answer = await self.post("StreamingOutputCall", "grpc-web", b"\0\0\0\0\x033 4")
        assert answer.body.startswith(b"\0\0\0\0\3\0\0\0\0\0\0\0\4\0\0\0\0\x80")
        answer = await self.post("NoSuchMethod", "grpc-web", b"\0\0\0\0\0")
        assert (answer.status, answer.head.find("grpc-status"), answer.body) == (200, "12", b"")

    async def test_what_is_not_base64(self) -> None:
        """It ends the call, and leaves nothing behind."""
        await self.start_for_web()
        answer = await self.post("UnaryCall", "grpc-web-text", b"****")
        assert answer.status >= 400 or answer.head.find("grpc-status") not in (None, "0")
        await eventually(lambda: self.in_flight() == [0], "leases back")

    async def test_without_the_key_it_passes_as_it_is(self) -> None:
        """Some servers speak it themselves."""
        backend = await self.h2_backend()
        await self.gateway(backend.url)
        answer = await self.post("UnaryCall", "grpc-web", b"\0\0\0\0\5hello")
        assert answer.body == b"ok"
        request = backend.requests_seen[0]
        assert request.find("content-type") == "application/grpc-web"
        assert request.body == b"\0\0\0\0\5hello"


class StockInteropTests(InteropTests):
    stock = True
