"""What is refused at the edge, byte for byte, over real sockets."""

from __future__ import annotations

from attrs import frozen

from tests.integration.test_tls import TlsTestCase
from tests.support import GET, OK, GatewayTestCase, Peer, gather, passed, pipelined, reactor

HOST = b"Host: a\r\n"
START = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
BODY = b"\r\nhello"
NO_HTTP = b"INVALID CONNECTION PREFACE\r\n\r\n"


@frozen
class Refused:
    """Bytes that no backend may see, and the answer to them."""

    wire: bytes
    status: int = 400
    code: str = "BAD_REQUEST"


def line(line: bytes) -> Refused:
    """Refuse a request for one line of its header."""
    return Refused(b"GET / HTTP/1.1\r\nHost: a\r\n" + line + b"\r\n\r\n")


def target(target: bytes) -> Refused:
    """Refuse a request for its target."""
    return Refused(b"GET " + target + b" HTTP/1.1\r\nHost: a\r\n\r\n")


def large(wire: bytes) -> Refused:
    """Refuse a request for the size of its head."""
    return Refused(wire, 431, "HEADERS_TOO_LARGE")


REQUEST_LINES = {
    "no version": Refused(b"GET /\r\nHost: a\r\n\r\n"),
    "an empty method": Refused(b" / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a method that is no token": Refused(b"G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a control byte in the method": Refused(b"GE\x01T / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "two spaces": Refused(b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a tab for a space": Refused(b"GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"),
    "a space behind the version": Refused(b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
    "a space before the method": Refused(b" GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a space in the target": target(b"/a b"),
    "a version in lower case": Refused(b"GET / http/1.1\r\nHost: a\r\n\r\n"),
    "a version of two digits": Refused(b"GET / HTTP/1.10\r\nHost: a\r\n\r\n"),
    "a version without a minor": Refused(b"GET / HTTP/1\r\nHost: a\r\n\r\n"),
    "no HTTP at all": Refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    "HTTP/1.2": Refused(b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505, "VERSION_NOT_SUPPORTED"),
    "HTTP/0.9": Refused(b"GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505, "VERSION_NOT_SUPPORTED"),
    "HTTP/3.0": Refused(b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "VERSION_NOT_SUPPORTED"),
    "HTTP/2.0": Refused(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "VERSION_NOT_SUPPORTED"),
    "blank lines without end": Refused(b"\r\n" * 5 + GET),
    "a bare LF as a blank line": Refused(b"\n" + GET),
}
LINE_ENDS = {
    "bare LF throughout": Refused(b"GET / HTTP/1.1\nHost: a\n\n"),
    "bare LF behind the request line": Refused(b"GET / HTTP/1.1\nHost: a\r\n\r\n"),
    "bare LF behind a field": Refused(b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n"),
    "bare LF before a request id": Refused(b"GET / HTTP/1.1\r\nHost: ab\nX-Request-Id: q\r\n\r\n"),
    "bare LF before a request id and other fields": Refused(
        b"GET / HTTP/1.1\r\nHost: ab\r\nX: y\nX-Request-Id: q\r\nX: y\r\n\r\n"
    ),
    "bare LF behind a request id": Refused(
        b"GET / HTTP/1.1\r\nHost: ab\r\nX-Request-Id: q\nX: y\r\n\r\n"
    ),
    "bare CR behind the request line": Refused(b"GET / HTTP/1.1\rHost: a\r\n\r\n"),
    "bare CR in a value": line(b"X: a\rb"),
    "bare CR before the line's end": line(b"X: a\r"),
    "an obsolete fold": line(b"X: a\r\n b"),
    "an obsolete fold with a tab": line(b"X: a\r\n\tb"),
    "a fold behind the request line": Refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
}
NAMES_AND_VALUES = {
    "a space before the colon": line(b"X : a"),
    "a tab before the colon": line(b"X\t: a"),
    "an empty name": line(b": a"),
    "no colon": line(b"X"),
    "a space in a name": line(b"X Y: a"),
    "a control byte in a name": line(b"X\x01: a"),
    "a NUL in a name": line(b"X\x00: a"),
    "a byte above 127 in a name": line(b"X\xe9: a"),
    "a separator in a name": line(b"X(): a"),
    "a NUL in a value": line(b"X: a\x00b"),
    "a control byte in a value": line(b"X: a\x07b"),
    "a DEL in a value": line(b"X: a\x7fb"),
    "a vertical tab in a value": line(b"X: \x0ba"),
}
HOSTS = {
    "Host missing": Refused(b"GET / HTTP/1.1\r\n\r\n"),
    "Host twice": line(b"Host: b"),
    "the same Host twice": line(b"Host: a"),
    "Host empty": Refused(b"GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    "Host with user information": Refused(b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    "Host with a path": Refused(b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    "Host as a list": Refused(b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    "Host with a space": Refused(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    "Host with a port that is no number": Refused(b"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    "Host with a port too large": Refused(b"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    "Host with an open bracket": Refused(b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    "Host with a byte above 127": Refused(b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n"),
    "Host with a space before the colon": Refused(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    "Host twice, once in another case": line(b"hOsT: b"),
    "Host missing beside an absolute target": Refused(b"GET http://a/ HTTP/1.1\r\n\r\n"),
    "Host malformed beside an absolute target": Refused(
        b"GET http://a/ HTTP/1.1\r\nHost: a@b\r\n\r\n"
    ),
    "an absolute target without a host": target(b"http:///x"),
    "an absolute target with user information": target(b"http://u:p@a/"),
    "HTTP/1.0 with two Hosts": Refused(b"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
}
TARGETS = {
    "CONNECT": Refused(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"),
    "CONNECT with a path": Refused(b"CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "an empty target": Refused(b"GET  HTTP/1.1\r\nHost: a\r\n\r\n"),
    "a target without a slash": target(b"a"),
    "an asterisk without OPTIONS": target(b"*"),
    "another scheme": target(b"ftp://a/"),
    "a fragment": target(b"/a#b"),
    "a NUL": target(b"/a\x00b"),
    "a control byte": target(b"/a\x1fb"),
    "a DEL": target(b"/a\x7f"),
    "a backslash": target(b"/a\\..\\b"),
    "a NUL, encoded": target(b"/a%00b"),
    "a broken escape": target(b"/a%2"),
    "an escape that is not hexadecimal": target(b"/a%zz"),
    "a control byte in the query": target(b"/?a\x01b"),
    "a fragment in the query": target(b"/?a#b"),
}
FRAMING = {
    "Content-Length beside Transfer-Encoding": Refused(
        START + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "Transfer-Encoding beside Content-Length": Refused(
        START + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    ),
    "CL.TE": Refused(
        START + b"Content-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n"
    ),
    "TE.CL": Refused(
        START + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1c\r\nGET /admin HTTP/1.1\r\nX: \r\n\r\n0\r\n\r\n"
    ),
    "Transfer-Encoding repeated": Refused(
        START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "Transfer-Encoding repeated, the second unknown": Refused(
        START + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n"
    ),
    "chunked twice": Refused(START + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    "gzip before chunked": Refused(START + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    "chunked before identity": Refused(
        START + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"
    ),
    "chunked in quotes": Refused(START + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n'),
    "chunked with a parameter": Refused(START + b"Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n"),
    "chunked with a comma": Refused(START + b"Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    "xchunked": Refused(START + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    "chunked behind a vertical tab": Refused(
        START + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n"
    ),
    "chunked behind a form feed": Refused(
        START + b"Transfer-Encoding: \x0cchunked\r\n\r\n0\r\n\r\n"
    ),
    "chunked on a fold": Refused(START + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    "Transfer-Encoding behind a bare LF": Refused(
        START + b"X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a space before Transfer-Encoding's colon": Refused(
        START + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"
    ),
    "a NUL in Transfer-Encoding": Refused(
        START + b"Transfer-Encoding: chunked\x00\r\n\r\n0\r\n\r\n"
    ),
    "an unknown coding": Refused(
        START + b"Transfer-Encoding: gzip\r\n\r\n", 501, "NOT_IMPLEMENTED"
    ),
    "the identity coding": Refused(
        START + b"Transfer-Encoding: identity\r\nX: y\r\n\r\n", 501, "NOT_IMPLEMENTED"
    ),
    "an empty coding": Refused(START + b"Transfer-Encoding:\r\n\r\n", 501, "NOT_IMPLEMENTED"),
    "Transfer-Encoding in HTTP/1.0": Refused(
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "Content-Length repeated": Refused(
        START + b"Content-Length: 5\r\nContent-Length: 6\r\n" + BODY
    ),
    "the same Content-Length repeated": Refused(
        START + b"Content-Length: 5\r\nContent-Length: 5\r\n" + BODY
    ),
    "Content-Length as a list": Refused(START + b"Content-Length: 5,5\r\n" + BODY),
    "Content-Length with a sign": Refused(START + b"Content-Length: +5\r\n" + BODY),
    "Content-Length negative": Refused(START + b"Content-Length: -5\r\n" + BODY),
    "Content-Length hexadecimal": Refused(START + b"Content-Length: 0x5\r\n" + BODY),
    "Content-Length with an underscore": Refused(START + b"Content-Length: 1_0\r\n" + BODY),
    "Content-Length with a space inside": Refused(START + b"Content-Length: 1 0\r\n" + BODY),
    "Content-Length with a point": Refused(START + b"Content-Length: 5.0\r\n" + BODY),
    "Content-Length empty": Refused(START + b"Content-Length:\r\n" + BODY),
    "Content-Length in another alphabet": Refused(START + b"Content-Length: \xb2\r\n" + BODY),
    "Content-Length of 19 digits": Refused(START + b"Content-Length: " + b"1" * 19 + b"\r\n\r\n"),
    "a space before Content-Length's colon": Refused(START + b"Content-Length : 5\r\n" + BODY),
    "Content-Length behind a NUL": Refused(START + b"\x00Content-Length: 5\r\n" + BODY),
    "Connection nominates Content-Length": Refused(
        START + b"Connection: content-length\r\nContent-Length: 5\r\n" + BODY
    ),
    "Connection nominates Transfer-Encoding": Refused(
        START + b"Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n"
    ),
    "Connection nominates Host": line(b"Connection: keep-alive,host"),
    "Connection nominates Expect": line(b"Connection: expect"),
    "a second Connection nominates Host": line(b"Connection: close\r\nConnection: Host"),
}
CHUNKS = {
    "a size that is not hexadecimal": Refused(CHUNKED + b"g\r\n"),
    "no size": Refused(CHUNKED + b"\r\nhello"),
    "a size with a prefix": Refused(CHUNKED + b"0x5\r\nhello\r\n0\r\n\r\n"),
    "a size with a sign": Refused(CHUNKED + b"+5\r\nhello\r\n0\r\n\r\n"),
    "a negative size": Refused(CHUNKED + b"-5\r\nhello\r\n0\r\n\r\n"),
    "a size with an underscore": Refused(CHUNKED + b"1_0\r\nhello\r\n0\r\n\r\n"),
    "a size of 16 digits": Refused(CHUNKED + b"0000000000000005\r\nhello\r\n0\r\n\r\n"),
    "a size that overflows": Refused(CHUNKED + b"ffffffffffffffff0\r\n"),
    "a space before the size": Refused(CHUNKED + b" 5\r\nhello\r\n0\r\n\r\n"),
    "a space behind the size": Refused(CHUNKED + b"5 \r\nhello\r\n0\r\n\r\n"),
    "a size line that ends in LF": Refused(CHUNKED + b"5\nhello\r\n0\r\n\r\n"),
    "a size line that ends in CR": Refused(CHUNKED + b"5\rhello\r\n0\r\n\r\n"),
    "a NUL in a size line": Refused(CHUNKED + b"5\x00\r\nhello\r\n0\r\n\r\n"),
    "data longer than the size": Refused(CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n"),
    "data without CRLF": Refused(CHUNKED + b"5\r\nhello0\r\n\r\n"),
    "data that ends in LF": Refused(CHUNKED + b"5\r\nhello\n0\r\n\r\n"),
    "an extension without a name": Refused(CHUNKED + b"5;\r\nhello\r\n0\r\n\r\n"),
    "an extension with a bare LF": Refused(CHUNKED + b"5;a=b\nc\r\nhello\r\n0\r\n\r\n"),
    "an extension with an open quote": Refused(CHUNKED + b'5;a="b\r\nhello\r\n0\r\n\r\n'),
    "an extension with a control byte": Refused(CHUNKED + b'5;a="\x01"\r\nhello\r\n0\r\n\r\n'),
    "an extension too long": Refused(CHUNKED + b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n0\r\n\r\n"),
    "extensions without end": Refused(CHUNKED + (b"1;" + b"a" * 1000 + b"\r\n-\r\n") * 20),
    "a trailer without a colon": Refused(CHUNKED + b"0\r\nx\r\n\r\n"),
    "a trailer with a space before the colon": Refused(CHUNKED + b"0\r\nX : y\r\n\r\n"),
    "a trailer with a NUL": Refused(CHUNKED + b"0\r\nX: \x00\r\n\r\n"),
    "a trailer on a fold": Refused(CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n"),
    "a trailer that ends in LF": Refused(CHUNKED + b"0\r\nX: y\n\r\n"),
    "a last chunk that ends in LF": Refused(CHUNKED + b"0\n\r\n"),
}
SIZES = {
    "a head too large": large(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1100 + b"\r\n\r\n"),
    "a head too large and not complete": large(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 1100),
    "too many lines": large(GET[:-2] + b"X: y\r\n" * 8 + b"\r\n"),
    "trailers too large": large(CHUNKED + b"0\r\nX: " + b"a" * 250 + b"\r\n\r\n"),
    "trailers too large and not complete": large(CHUNKED + b"0\r\nX: " + b"a" * 300),
    "a target too long": Refused(
        b"GET /" + b"a" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "URI_TOO_LONG"
    ),
    "a target too long and not complete": Refused(b"GET /" + b"a" * 300, 414, "URI_TOO_LONG"),
    "a query too long": Refused(
        b"GET /?" + b"a" * 200 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "URI_TOO_LONG"
    ),
    "a method without end": Refused(
        b"A" * 300 + b" / HTTP/1.1\r\nHost: a\r\n\r\n", 414, "URI_TOO_LONG"
    ),
}
OTHERS = {
    "an expectation that nobody has": Refused(
        START + b"Expect: 200-ok\r\nContent-Length: 5\r\n\r\n", 417, "EXPECTATION_FAILED"
    ),
}


class RefusalTests(GatewayTestCase):
    """Every refusal: its answer, the end of the connection, and nothing for the backend."""

    async def refuse(self, cases: dict[str, Refused], *, limits: str = "") -> None:
        backend = await self.backend(OK)
        await self.gateway(backend.url, entrypoint=limits, logged=True)
        said = await gather(*(self.outcome(case) for case in cases.values()))
        for name, case, outcome in zip(cases, cases.values(), said, strict=True):
            self.assertEqual((name, *outcome), (name, *expected(case)))
        codes = [(line["status"], line["code"]) for line in await self.logged()]
        self.assertEqual(sorted(codes), sorted((case.status, case.code) for case in cases.values()))
        saw = [bytes(peer.received) for peer in backend.peers] + [r.wire for r in backend.requests]
        self.assertEqual([wire for wire in saw if b"hello" in wire or b"GET" in wire], [])

    async def outcome(self, case: Refused) -> tuple[object, ...]:
        client = await self.client()
        client.send(case.wire)
        return await what_it_says(client)

    async def test_malformed_request_lines(self) -> None:
        """A request line that is not exactly one is answered with 400, another version with 505."""
        await self.refuse(REQUEST_LINES)

    async def test_another_protocol_gets_no_answer_but_only_at_the_start(self) -> None:
        """Three words without HTTP in them are none of ours, unless HTTP was spoken before."""
        await self.gateway()
        client = await self.client()
        client.send(NO_HTTP)
        self.assertEqual((await client.ended(), bytes(client.received)), ("closed", b""))
        client = await self.client()
        client.send(GET)
        self.assertEqual((await client.response()).status, 200)
        client.send(NO_HTTP)
        self.assertEqual(await what_it_says(client), expected(Refused(b"")))

    async def test_line_ends_that_servers_disagree_on(self) -> None:
        """Only CRLF ends a line, and no line goes on in the next."""
        await self.refuse(LINE_ENDS)

    async def test_names_and_values_with_bytes_that_may_not_be_there(self) -> None:
        """What another server might read differently goes no further."""
        await self.refuse(NAMES_AND_VALUES)

    async def test_hosts_that_are_missing_repeated_or_malformed(self) -> None:
        """A request says once, and properly, whom it is for."""
        await self.refuse(HOSTS)

    async def test_targets_that_have_no_canonical_form(self) -> None:
        """A target that rules and backends could read differently is refused."""
        await self.refuse(TARGETS)

    async def test_ambiguous_framing(self) -> None:
        """No request ends at two places."""
        await self.refuse(FRAMING)

    async def test_malformed_chunks_and_trailers(self) -> None:
        """A chunked body that is not well-formed is refused where it breaks."""
        await self.refuse(CHUNKS)

    async def test_sizes_above_the_limits(self) -> None:
        """Each limit of the entrypoint has its answer."""
        await self.refuse(
            SIZES,
            limits="limits { max_head_bytes = 1024\n max_header_lines = 8\n"
            "max_target_bytes = 128\n max_trailer_bytes = 200 }",
        )

    async def test_the_default_limits(self) -> None:
        """32 KB of head, 128 lines, 16 KB of target, 8 KB of trailers."""
        lines = b"X: y\r\n"
        await self.refuse(
            {
                "head": large(GET[:-2] + (b"X: " + b"a" * 995 + b"\r\n") * 33 + b"\r\n"),
                "lines": large(GET[:-2] + lines * 128 + b"\r\n"),
                "target": Refused(
                    b"GET /" + b"a" * 16384 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "URI_TOO_LONG"
                ),
                "trailers": large(CHUNKED + b"0\r\nX: " + b"a" * 8200 + b"\r\n\r\n"),
            }
        )

    async def test_just_below_the_default_limits(self) -> None:
        """What the limits allow is served."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        answers = await gather(
            self.exchange(GET[:-2], (b"X: " + b"a" * 995 + b"\r\n") * 32, b"\r\n"),
            self.exchange(GET[:-2], b"X: y\r\n" * 127, b"\r\n"),
            self.exchange(b"GET /", b"a" * 16383, b" HTTP/1.1\r\nHost: a\r\n\r\n"),
            self.exchange(CHUNKED, b"0\r\nX: ", b"a" * 8100, b"\r\n\r\n"),
        )
        self.assertEqual([answer.status for answer in answers], [200, 200, 200, 200])

    async def test_other_refusals(self) -> None:
        """An unknown expectation is 417."""
        await self.refuse(OTHERS)

    async def test_a_head_that_does_not_come_to_its_end(self) -> None:
        """A client that drips its head is answered with 408 in time, however busy it is."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, entrypoint='timeouts { request_head = "100ms" }')
        client = await self.client()
        client.send(b"GET / HTTP/1.1\r\nHost: ")
        while not client.received:
            client.send(b"a")
            await passed(0.01)
        self.assertEqual(await what_it_says(client), expected(Refused(b"", 408, "REQUEST_TIMEOUT")))

    async def test_a_second_head_that_does_not_come_to_its_end(self) -> None:
        """The time for a head counts again from the first byte of each request."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, entrypoint='timeouts { request_head = "100ms" }')
        client = await self.client()
        client.send(GET, b"GET / HT")
        self.assertEqual((await client.response()).status, 200)
        self.assertEqual(await what_it_says(client), expected(Refused(b"", 408, "REQUEST_TIMEOUT")))

    async def test_a_client_that_never_says_anything(self) -> None:
        """Nobody asked for anything, so nothing is said: the connection is closed."""
        await self.gateway(entrypoint='timeouts { request_head = "100ms" }')
        client = await self.client()
        self.assertEqual((await client.ended(), bytes(client.received)), ("closed", b""))

    async def test_a_body_that_does_not_come(self) -> None:
        """A client that stops within a body is answered with 408."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint='timeouts { request_body_idle = "100ms" }')
        client = await self.client()
        client.send(START, b"Content-Length: 5\r\n\r\nhel")
        self.assertEqual(await what_it_says(client), expected(Refused(b"", 408, "REQUEST_TIMEOUT")))
        await (await backend.accept()).ended()

    async def test_what_is_pipelined_behind_a_good_request(self) -> None:
        """The good one is served first, then the other one refused."""
        backend = await self.backend(OK)
        await self.gateway(backend.url)
        client = await self.client()
        client.send(GET, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", GET)
        self.assertEqual((await client.response()).body, b"ok")
        self.assertEqual(await what_it_says(client), expected(Refused(b"")))
        self.assertEqual(len(backend.requests), 1)

    async def test_pipelined_bytes_are_bounded(self) -> None:
        """A client that goes on sending while its requests are answered has to wait."""
        backend = await self.backend()
        await self.gateway(backend.url, entrypoint="limits { max_pipelined_bytes = 1024 }")
        client = await self.client()
        client.send(GET)
        peer = await backend.accept()
        await peer.head()
        client.send(GET * 40_000)
        for _ in range(20):
            peer.send(OK)
            await peer.head()
            # The limit, and the one read each that came before and after it was noticed.
            self.assertLess(pipelined(self.connections()[0]), 1024 + 2 * 256 * 1024)


class RefusalsOnTwistedsTransportsTests(RefusalTests):
    """The same on Twisted's own transports."""

    stock = True


class RefusalsOverTlsTests(TlsTestCase):
    """What is special about TLS is how a connection ends."""

    async def test_a_refusal_over_tls_ends_in_good_order(self) -> None:
        """The client reads its answer and a proper end (close_notify), and need not wait for it."""
        await self.gateway(entrypoint=self.tls_block())
        client = await self.tls_client()
        since = reactor.seconds()
        client.send(b"G@T / HTTP/1.1\r\n\r\n")
        self.assertEqual(await what_it_says(client), expected(Refused(b"")))
        self.assertLess(reactor.seconds() - since, 1.5)

    async def test_within_tls_every_refusal_is_answered(self) -> None:
        """Who agreed on HTTP/1.1, or on nothing, reads what was wrong."""
        await self.gateway(entrypoint=self.tls_block())
        client = await self.tls_client()
        client.send(NO_HTTP)
        self.assertEqual(await what_it_says(client), expected(Refused(b"")))


class RefusalsOverTlsOnTwistedsTransportsTests(RefusalsOverTlsTests):
    """The same on Twisted's own transports."""

    stock = True


def expected(case: Refused) -> tuple[object, ...]:
    return (case.status, case.code, case.code, True, "application/json", "close", "closed")


async def what_it_says(client: Peer) -> tuple[object, ...]:
    """Everything of a refusal that a client can notice; the way `expected` says it."""
    answer = await client.response()
    error, head = answer.error, answer.head
    has_text = bool(error["error"]) and error["request_id"] == head.find("x-request-id") != ""
    end = await client.ended()
    if client.received:
        raise AssertionError(f"more came: {bytes(client.received)!r}")
    return (
        answer.status, head.find("x-gateway-error"), error["code"], has_text,
        head.find("content-type"), head.find("connection"), end,
    )  # fmt: skip
