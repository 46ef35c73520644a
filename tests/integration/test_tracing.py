"""Traces over real sockets: what backends get, and what a collector gets."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.logger import capturedLogs, formatEvent

from a3s_gateway import GatewayConfig
from tests.support import GET, OK, Answering, Backend, GatewayTestCase, Peer, eventually, reactor

TRACE, SPAN = "1" * 32, "2" * 16
W3C = f"traceparent: 00-{TRACE}-{SPAN}-01\r\n".encode()
TAKEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n"


def get(*lines: bytes, path: bytes = b"/") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: a.example:80\r\n" + b"".join(lines) + b"\r\n"


class Posts(Answering):
    """The collector's end of a connection: it reads whole posts, and answers each in turn."""

    _backend: OtlpCollector

    def dataReceived(self, data: bytes) -> None:
        Peer.dataReceived(self, data)
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.received[:end]).lower()
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(self.received) < end + 4 + length:
                return
            taken = self._take(end + 4 + length)
            answer = self._backend.answers.pop(0) if self._backend.answers else TAKEN
            self._backend.posts.append((taken[:end].decode(), json.loads(taken[end + 4 :])))
            if answer:
                self.send(answer)


class OtlpCollector(Backend):
    """
    A collector of OpenTelemetry; it checks the shape of what it gets.

    Attributes:
        answers: To the next posts; an empty one is none at all.

    """

    def __init__(self) -> None:
        super().__init__()
        self.posts: list[tuple[str, dict[str, Any]]] = []
        self.answers: list[bytes] = []

    def buildProtocol(self, addr: object) -> Peer:
        peer = Posts(self)
        self.peers.append(peer)
        return peer

    @property
    def spans(self) -> list[dict[str, Any]]:
        """All spans of all posts."""
        found: list[dict[str, Any]] = []
        for _, body in self.posts:
            (resource,) = body["resourceSpans"]
            assert attributes(resource["resource"])["service.name"] == "a3s-gateway"
            (scope,) = resource["scopeSpans"]
            assert scope["scope"]["name"] == "a3s_gateway"
            found += scope["spans"]
        return found


def attributes(of: dict[str, Any]) -> dict[str, Any]:
    """Attributes by name; no name stands there twice."""
    values = {each["key"]: next(iter(each["value"].values())) for each in of["attributes"]}
    assert len(values) == len(of["attributes"])
    return values


class TracingCase(GatewayTestCase):
    async def collector(self) -> OtlpCollector:
        collector = OtlpCollector()
        endpoint = TCP4ServerEndpoint(reactor, 0, 50, "127.0.0.1")
        collector.port = await endpoint.listen(collector)
        self.ports.append(collector.port)
        self.backends.append(collector)
        return collector

    async def traced(self, *, ratio: str = "1", rule: str = "PathPrefix(`/`)") -> OtlpCollector:
        """Start a collector, a backend and a gateway between them."""
        collector = await self.collector()
        self.target = await self.backend(OK)
        more = tracing(collector, ratio)
        self.it = await self.gateway(self.target.url, more=more, rule=rule, logged=True)
        return collector


def tracing(collector: OtlpCollector, ratio: str = "1") -> str:
    where = f"{collector.url}/v1/traces?key=hidden"
    return f'tracing {{ endpoint = "{where}"\n sample_ratio = {ratio} }}'


class ContextTests(TracingCase):
    """What backends are told."""

    async def test_without_a_collector_headers_pass_untouched(self) -> None:
        """Valid or not; and the log has the trace of the valid one."""
        backend = await self.backend(OK)
        await self.gateway(backend.url, logged=True)
        await self.exchange(get(W3C, b"tracestate: foo=1 , =\r\n", b"b3: 0\r\n"))
        await self.exchange(get(b"traceparent: ?\r\n", b"tracestate: foo=1\r\n"))
        first, second = backend.requests
        self.assertEqual(first.find("traceparent"), f"00-{TRACE}-{SPAN}-01")
        self.assertEqual(first.find("tracestate"), "foo=1 , =")
        self.assertEqual(first.find("b3"), "0")
        self.assertEqual(second.find("traceparent"), "?")
        self.assertEqual(second.find("tracestate"), "foo=1")
        self.assertEqual([line["trace_id"] for line in await self.logged()], [TRACE, None])

    async def test_the_backend_is_told_of_a_span_that_the_collector_gets(self) -> None:
        """The caller's span is its parent, and it is the parent of what the backend does."""
        collector = await self.traced()
        await self.exchange(get(W3C, b"tracestate: foo=1\r\n", b"tracestate: bar=2\r\n"))
        (line,) = await self.logged()
        (span,) = collector.spans
        (request,) = self.target.requests
        self.assertEqual(request.all("traceparent"), [f"00-{TRACE}-{span['spanId']}-01"])
        self.assertEqual(request.all("tracestate"), ["foo=1,bar=2"])
        self.assertEqual((span["traceId"], span["parentSpanId"]), (TRACE, SPAN))
        self.assertEqual(span["traceState"], "foo=1,bar=2")
        self.assertEqual(line["trace_id"], TRACE)

    async def test_a_new_trace_begins_where_there_is_none(self) -> None:
        """Its span has no parent, and its id is in the log."""
        collector = await self.traced()
        await self.exchange(GET)
        (line,) = await self.logged()
        (span,) = collector.spans
        self.assertNotIn("parentSpanId", span)
        self.assertEqual(line["trace_id"], span["traceId"])
        told = self.target.requests[0].find("traceparent")
        self.assertEqual(told, f"00-{span['traceId']}-{span['spanId']}-01")

    async def test_who_is_not_sampled_stays_the_parent(self) -> None:
        """No span is recorded, so none is told of; and what says `b3: 0` is left as it is."""
        collector = await self.traced()
        await self.exchange(get(W3C.replace(b"-01", b"-00"), b"tracestate: a=1,,b=2\r\n"))
        await self.exchange(get(b"b3: 0\r\n"))
        await self.logged()
        first, second = self.target.requests
        self.assertEqual(first.find("traceparent"), f"00-{TRACE}-{SPAN}-00")
        self.assertEqual(first.find("tracestate"), "a=1,b=2")
        self.assertEqual((second.find("b3"), second.find("traceparent")), ("0", None))
        self.assertEqual(collector.posts, [])

    async def test_a_trace_that_is_not_chosen_is_so_for_everybody(self) -> None:
        """The backend does not decide anew; a caller's decision goes before the ratio."""
        collector = await self.traced(ratio="0")
        await self.exchange(GET)
        await self.exchange(get(b"b3: " + f"{TRACE}-{SPAN}".encode() + b"\r\n"))
        await self.exchange(get(W3C))
        await self.logged()
        told = [request.find("traceparent") for request in self.target.requests]
        self.assertEqual(str(told[0])[-3:], "-00")
        self.assertEqual(self.target.requests[1].find("b3"), f"{TRACE}-{SPAN}-0")
        self.assertEqual([span["parentSpanId"] for span in collector.spans], [SPAN])

    async def test_b3_is_answered_by_b3(self) -> None:
        """In one line or in several, and with W3C where both came in."""
        collector = await self.traced()
        await self.exchange(get(f"b3: {TRACE}-{SPAN}-d\r\n".encode()))
        await self.exchange(get(f"X-B3-TraceId: {TRACE}\r\nX-B3-SpanId: {SPAN}\r\n".encode()))
        await self.exchange(get(W3C, f"b3: {'3' * 16}-{SPAN}-1\r\n".encode()))
        await self.logged()
        ids = [span["spanId"] for span in collector.spans]
        one, several, both = self.target.requests
        self.assertEqual(one.find("b3"), f"{TRACE}-{ids[0]}-d-{SPAN}")
        self.assertEqual(several.find("x-b3-spanid"), ids[1])
        self.assertEqual(several.find("x-b3-parentspanid"), SPAN)
        self.assertEqual(several.find("x-b3-sampled"), "1")
        self.assertEqual((one.find("traceparent"), several.find("traceparent")), (None, None))
        self.assertEqual(both.find("traceparent"), f"00-{TRACE}-{ids[2]}-01")
        self.assertEqual(both.find("b3"), f"{TRACE}-{ids[2]}-1-{SPAN}")


class SpanTests(TracingCase):
    """What the collector gets."""

    async def test_a_span_describes_its_exchange(self) -> None:
        """By OpenTelemetry's conventions, without headers and without the query."""
        collector = await self.traced()
        secret = b"Authorization: hidden\r\n"
        await self.exchange(get(secret, W3C, path=b"/v1/users?token=hidden"))
        (line,) = await self.logged()
        (span,) = collector.spans
        self.assertEqual((span["name"], span["kind"], span["status"]), ("GET all", 2, {}))
        known = attributes(span)
        self.assertEqual(known.pop("a3s.request_id"), line["request_id"])
        self.assertEqual(
            known,
            {
                "http.request.method": "GET",
                "url.path": "/v1/users",
                "url.scheme": "http",
                "http.response.status_code": "200",
                "http.route": "all",
                "server.address": "a.example",
                "client.address": "127.0.0.1",
                "network.peer.address": "127.0.0.1",
                "network.protocol.version": "1.1",
                "a3s.entrypoint": "web",
                "a3s.service": "backend",
                "a3s.backend": self.target.url,
            },
        )
        lasted = int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])
        self.assertLess(abs(lasted / 1e6 - line["duration_ms"]), 20)
        head, body = collector.posts[0]
        self.assertTrue(head.startswith("POST /v1/traces?key=hidden HTTP/1.1\r\n"), head)
        self.assertIn("content-type: application/json", head.lower())
        self.assertNotIn("hidden", json.dumps(body))

    async def test_what_goes_wrong_is_told(self) -> None:
        """No route is the client's fault; no backend is an error, with its code."""
        collector = await self.traced(rule="Path(`/there`)")
        await self.target.port.stopListening()
        self.ports.remove(self.target.port)
        await self.exchange(get(path=b"/elsewhere"))
        await self.exchange(get(path=b"/there"))
        await self.logged()
        lost, broken = collector.spans
        self.assertEqual((lost["name"], lost["status"]), ("GET", {}))
        self.assertEqual(attributes(lost)["http.response.status_code"], "404")
        self.assertNotIn("error.type", attributes(lost))
        self.assertEqual(broken["status"], {"code": 2})
        self.assertEqual(attributes(broken)["error.type"], "UPSTREAM_CONNECT")
        self.assertEqual(attributes(broken)["http.response.status_code"], "502")

    async def test_spans_come_without_a_stop(self) -> None:
        """After a moment, several in one post, over one connection."""
        collector = await self.traced()
        client = await self.client()
        for _ in range(3):
            client.send(GET)
            await client.response()
        await eventually(lambda: collector.posts, "a post")
        self.assertEqual((len(collector.posts), len(collector.spans)), (1, 3))

    async def test_a_collector_that_is_busy_is_asked_again(self) -> None:
        """The same spans come once more."""
        collector = await self.traced()
        collector.answers.append(BUSY)
        await self.exchange(GET)
        await eventually(lambda: len(collector.posts) == 2, "another attempt")
        first, second = collector.spans
        self.assertEqual(first, second)

    async def test_a_collector_that_is_away_costs_no_request(self) -> None:
        """Requests are answered as ever, and the log says how many spans were lost."""
        collector = await self.traced()
        await collector.port.stopListening()
        self.ports.remove(collector.port)
        with capturedLogs() as events:
            self.assertEqual([(await self.exchange(GET)).status for _ in range(3)], [200] * 3)
            await self.logged()
        said = [formatEvent(event) for event in events]
        (lost,) = [text for text in said if text.startswith("lost ")]
        self.assertIn("lost 3 spans for 127.0.0.1:", lost)
        self.assertNotIn("hidden", "".join(said))

    async def test_lost_spans_are_counted_beyond_their_collector(self) -> None:
        """The metric does not go back when a reload names another collector, or none."""
        collector = await self.traced()
        await collector.port.stopListening()
        self.ports.remove(collector.port)
        await self.exchange(GET)
        self.assertEqual(self.it.facts().lost_spans, 0)
        text = f"""
            entrypoints "web" {{ address = "127.0.0.1:0" }}
            admin {{ enabled = false }}
            access_log {{ enabled = false }}
            shutdown_timeout_secs = 0
            {tracing(await self.collector())}
            """
        await self.it.reload(GatewayConfig.from_text(text))
        await eventually(lambda: self.it.facts().lost_spans == 1, "the span to be given up")

    async def test_a_reload_changes_the_collector(self) -> None:
        """What was recorded before goes where it was to go; what comes after, to the new one."""
        one, two = await self.traced(), await self.collector()
        await self.exchange(get(path=b"/1"))
        changed = GatewayConfig.from_text(
            f"""
            entrypoints "web" {{ address = "127.0.0.1:0" }}
            routers "all" {{ rule = "PathPrefix(`/`)"
              service = "whoami@internal" }}
            admin {{ enabled = false }}
            access_log {{ enabled = false }}
            shutdown_timeout_secs = 0
            {tracing(two)}
            """
        )
        await self.it.reload(changed)
        await self.exchange(get(path=b"/2"))
        await eventually(lambda: one.posts, "the spans of before")
        await self.it.shutdown()
        paths = [[attributes(s)["url.path"] for s in each.spans] for each in (one, two)]
        self.assertEqual(paths, [["/1"], ["/2"]])


class StockContextTests(ContextTests):
    stock: ClassVar[bool] = True
