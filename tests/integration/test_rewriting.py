"""Middlewares that change requests and answers, or refuse them, over real sockets."""

from __future__ import annotations

from tests.support import GET, OK, OPENING, SWITCHED, GatewayTestCase

ORIGIN = b"Origin: https://app.test\r\n"
PREFLIGHT = (
    b"OPTIONS / HTTP/1.1\r\nHost: a\r\n" + ORIGIN + b"Access-Control-Request-Method: PUT\r\n\r\n"
)


def get(path: str, fields: bytes = b"") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\n".encode() + fields + b"\r\n"


class RewritingTests(GatewayTestCase):
    """One gateway each, with these in the order written."""

    async def test_cors_around_a_refusal(self) -> None:
        """The page can read why it is refused; the preflight reaches nobody, and has a date."""
        backend = await self.backend(OK)
        await self.through(
            backend.url,
            'cors: allowed_origins = ["https://first.test", "https://app.test"]',
            'ip-allow: denied_ips = ["127.0.0.1"]',
            logged=True,
        )
        refused = await self.exchange(get("/", ORIGIN))
        assert (refused.status, refused.error["code"]) == (403, "FORBIDDEN")
        assert refused.head.find("access-control-allow-origin") == "https://app.test"
        assert refused.head.find("vary") == "Origin"
        assert refused.head.find("date") is not None
        preflight = await self.exchange(PREFLIGHT)
        assert (preflight.status, preflight.body) == (204, b"")
        assert preflight.head.find("access-control-allow-origin") == "https://app.test"
        assert preflight.head.find("date") is not None
        stranger = await self.exchange(PREFLIGHT.replace(b"app", b"evil"))
        assert (stranger.status, stranger.error["error"]) == (403, "Origin not allowed")
        assert backend.requests == []
        codes = [line["code"] for line in await self.logged()]
        assert codes == ["FORBIDDEN", None, "ORIGIN_NOT_ALLOWED"]

    async def test_cors_when_the_backend_fails(self) -> None:
        """The 502 can be read as well."""
        await self.through("http://127.0.0.1:1", "cors:")
        failed = await self.exchange(get("/", ORIGIN))
        assert failed.status == 502
        assert failed.head.find("access-control-allow-origin") == "*"

    async def test_paths_and_fields(self) -> None:
        """The backend sees what was made of the request, and the client of the answer."""
        backend = await self.backend(OK)
        await self.through(
            backend.url,
            'strip-prefix: prefixes = ["/api"]',
            'add-prefix: prefix = "/v2"',
            'headers: request_headers = { X-Who = "{client_ip}", Host = "internal.test" }\n'
            'response_headers = { X-Id = "{request_id}" }\nsecurity = true',
        )
        answer = await self.exchange(get("/api/users?a=1"))
        (seen,) = backend.requests
        assert seen.first == "GET /v2/users?a=1 HTTP/1.1"
        assert seen.all("x-forwarded-prefix") == ["/api"]
        assert (seen.all("x-who"), seen.all("host")) == (["127.0.0.1"], ["internal.test"])
        assert answer.head.find("x-id") == answer.head.find("x-request-id") is not None
        assert answer.head.find("x-frame-options") == "DENY"

    async def test_a_websocket_below_a_prefix(self) -> None:
        """Its opening is a request like others; `body-limit` is not for what follows."""
        backend = await self.backend()
        await self.through(
            backend.url,
            'strip-prefix: prefixes = ["/chat"]',
            'headers: request_headers = { X-Who = "{client_ip}" }',
            "body-limit: max_body_bytes = 1",
        )
        client = await self.client()
        client.send(OPENING)
        there = await backend.accept()
        head = await there.head()
        assert head.first == "GET /?room=1 HTTP/1.1"
        assert (head.find("x-forwarded-prefix"), head.find("x-who")) == ("/chat", "127.0.0.1")
        there.send(SWITCHED)
        assert (await client.head()).status == 101
        client.send(b"more than one byte")
        assert await there.bytes(18) == b"more than one byte"

    async def test_a_redirect(self) -> None:
        """The connection goes on after it."""
        backend = await self.backend(OK)
        await self.through(backend.url, 'redirect: scheme = "https"\npermanent = true')
        client = await self.client()
        for _ in range(2):
            client.send(get("/a?b"))
            answer = await client.response()
            assert (answer.status, answer.body) == (301, b"")
            assert answer.head.find("location") == "https://a/a?b"
            assert answer.head.find("date") is not None
        assert backend.requests == []

    # -- bodies

    async def test_a_body_whose_length_is_too_large(self) -> None:
        """Is refused before it is sent, and the backend never hears of it."""
        backend = await self.backend(OK)
        await self.through(backend.url, "body-limit: max_body_bytes = 4")
        head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        refused = await self.exchange(head)
        assert (refused.status, refused.error["error"]) == (413, "Request body too large")
        assert backend.requests == []

    async def test_a_chunked_body_that_turns_out_too_large(self) -> None:
        """What fits has been streamed; the rest is not, and the answer is 413."""
        backend = await self.backend()
        await self.through(backend.url, "body-limit: max_body_bytes = 4", logged=True)
        client = await self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(b"3\r\nabc\r\n")
        there = await backend.accept()
        await there.head()
        assert await there.bytes(8) == b"3\r\nabc\r\n"
        client.send(b"2\r\nde\r\n0\r\n\r\n")
        refused = await client.response(method="POST")
        assert (refused.status, refused.error["code"]) == (413, "BODY_TOO_LARGE")
        assert await there.ended()
        assert there.received == b""
        assert self.in_flight() == [0]
        (line,) = await self.logged()
        assert (line["status"], line["code"]) == (413, "BODY_TOO_LARGE")

    async def test_a_chunked_body_that_is_too_large_while_it_is_answered(self) -> None:
        """The answer is cut off: it would look complete."""
        backend = await self.backend()
        await self.through(backend.url, "body-limit: max_body_bytes = 4")
        client = await self.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        there = await backend.accept()
        await there.head()
        there.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert (await client.head()).status == 200
        assert await client.bytes(5) == b"hello"
        client.send(b"2\r\nde\r\n")
        assert await client.ended()
        assert client.received == b""
        assert self.in_flight() == [0]

    async def test_a_body_that_fits(self) -> None:
        """Arrives as it was sent."""
        backend = await self.backend()
        await self.through(backend.url, "body-limit: max_body_bytes = 5")
        client = await self.client()
        client.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n"
        )
        there = await backend.accept()
        assert (await there.head()).find("transfer-encoding") == "chunked"
        body, trailers = await there.chunked()
        assert (body, trailers) == (b"abcde", [("X-Sum", "1")])
        there.send(OK)
        assert (await client.response()).status == 200
        client.send(GET)
        assert (await there.head()).first == "GET / HTTP/1.1"
