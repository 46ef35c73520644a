"""
The admin API: one function from a request to its answer.

It knows no socket: `admin_service.py` serves it on a listener of its own, `handler.py` as the
service `api@internal`.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final
from urllib.parse import unquote

from attrs import frozen

from a3s_gateway.admin import shown
from a3s_gateway.admin.answers import JSON, PLAIN, Answer, Asked, Work, in_json, refusal
from a3s_gateway.admin.shown import Shown
from a3s_gateway.config.dump import dump_in_pieces
from a3s_gateway.config.faults import ConfigError, ReadingError
from a3s_gateway.config.schema import Json
from a3s_gateway.observability.metrics import CONTENT_TYPE
from a3s_gateway.protocol.forwarded import plain_address
from a3s_gateway.runtime.reload import in_slices
from a3s_gateway.service.backend import Backend

_READ: Final = ("GET", "HEAD")
_PROBES: Final = frozenset({"/livez", "/readyz"})
_IN_SERVICE: Final = "running"
_SLICE: Final = 0.002  # seconds that an answer may take from traffic at a time
_BULKY: Final = 1024 * 1024  # bytes; to send so many, copies and all, takes a while itself
_EVERY: Final = 20  # routers or services, between two places where others may have their turn


@frozen(eq=False)
class Api:
    """
    Answers what operators ask.

    Args:
        gateway: What is shown.
        rest: Waits until everybody else has had a turn: an answer may be megabytes.
        now: Monotonic time in seconds.
        reload: Reads the configuration's files again and puts it in force, or raises `ConfigError`
            or `ReadingError`.

    """

    gateway: Shown
    rest: Callable[[], Awaitable[None]]
    now: Callable[[], float]
    reload: Callable[[], Awaitable[object]]

    async def answer(self, asked: Asked) -> Answer:
        """Answer one request, or say why not."""
        refused = self._refuse(asked)
        if refused is not None:
            return refused
        path = self._below_prefix(asked.path)
        if path == "reload":
            return await self._reload(asked.method)
        work = self._find(path, asked.query)
        if work is None:
            return refusal(404, "Not found")
        if asked.method not in _READ:
            return _wrong_method(*_READ)
        answer = await self._in_slices(work())
        if len(answer.body) > _BULKY:
            await self.rest()
        return answer

    async def _in_slices(self, work: Work[Answer]) -> Answer:
        return await in_slices(work, self.rest, self.now, _SLICE)

    # -- who may ask

    def _refuse(self, asked: Asked) -> Answer | None:
        admin = self.gateway.config().admin
        if admin.allowed_ips and not _is_among(asked.client, admin.allowed_ips):
            return refusal(403)
        if not admin.token or (asked.path in _PROBES and "verbose" not in asked.query):
            return None
        scheme, _, given = (asked.authorization or "").partition(" ")
        is_bearer = scheme.lower() == "bearer"
        if is_bearer and hmac.compare_digest(given.strip().encode(), admin.token.encode()):
            return None
        return refusal(401, "", ("WWW-Authenticate", 'Bearer realm="a3s-gateway"'))

    # -- what there is

    def _below_prefix(self, path: str) -> str:
        """Return what follows the prefix, without slashes around it; else the path as it is."""
        prefix = self.gateway.config().admin.path_prefix.rstrip("/") + "/"
        return path[len(prefix) :].removesuffix("/") if path.startswith(prefix) else path

    def _find(self, path: str, query: str) -> Callable[[], Work[Answer]] | None:
        fixed: dict[str, Callable[[], Work[Answer]]] = {
            "/livez": lambda: _plain(200, "ok\n"),
            "/readyz": lambda: self._ready(is_verbose="verbose" in query),
            "/metrics": self._metrics,
            "metrics": self._metrics,
            "health": self._health,
            "config": self._config,
            "routes": self._routes,
            "services": self._services,
            "backends": self._backends,
            "channels": self._channels,
            "certificates": self._certificates,
            "circuits": self._circuits,
            "version": self._version,
        }
        kind, _, name = path.partition("/")
        named = {"routes": self._route, "services": self._service}
        if name and kind in named:
            return partial(named[kind], unquote(name))
        return fixed.get(path)

    def _ready(self, *, is_verbose: bool) -> Work[Answer]:
        """Answer 503 before the start is over, and from the moment a stop begins."""
        state = self.gateway.health().state
        status = 200 if state == _IN_SERVICE else 503
        lines = []
        if is_verbose:
            lines.append(f"[{'+' if status == 200 else '-'}] state: {state}")
            services = self._backends_by_service()
            for name, backends in services.items():
                healthy = sum(each.available for each in backends)
                mark = "+" if healthy else "!"
                lines.append(f"[{mark}] service {name}: {healthy} of {len(backends)} backends")
        lines.append("ready" if status == 200 else "not ready")
        return (yield from _plain(status, "\n".join([*lines, ""])))

    def _metrics(self) -> Work[Answer]:
        pieces = []
        for piece in self.gateway.metrics().text():
            pieces.append(piece)
            yield
        return Answer(200, CONTENT_TYPE, b"".join(pieces))

    def _health(self) -> Work[Answer]:
        health = self.gateway.health()
        value: dict[str, Json] = {
            "state": health.state.capitalize(),
            "uptime_secs": int(health.uptime_secs),
            "active_connections": health.active_connections,
            "total_requests": health.total_requests,
        }
        return (yield from in_json(value, 200 if health.state == _IN_SERVICE else 503))

    def _config(self) -> Work[Answer]:
        whole = yield from dump_in_pieces(self.gateway.config())
        return (yield from in_json(whole))

    def _routes(self) -> Work[Answer]:
        found: list[Json] = []
        snapshot = self.gateway.find_snapshot()
        if snapshot is not None:
            for described in shown.routes(self.gateway.config(), snapshot):
                found.append(described)
                if len(found) % _EVERY == 0:
                    yield
        return (yield from in_json(found))

    def _route(self, name: str) -> Work[Answer]:
        router = self.gateway.config().routers.get(name)
        if router is None or self.gateway.find_snapshot() is None:
            return refusal(404, "Route not found")
        return (yield from in_json(shown.route(router)))

    def _services(self) -> Work[Answer]:
        config = self.gateway.config()
        found: list[Json] = []
        for name, backends in self._backends_by_service().items():
            if name in config.services:
                found.append(shown.service(name, config, backends))
                yield
        return (yield from in_json(found))

    def _service(self, name: str) -> Work[Answer]:
        config, backends = self.gateway.config(), self._backends_by_service().get(name)
        if backends is None or name not in config.services:
            return refusal(404, "Service not found")
        return (yield from in_json(shown.service(name, config, backends)))

    def _backends(self) -> Work[Answer]:
        found: list[Json] = []
        for name, backends in self._backends_by_service().items():
            found += [{"service": name, **shown.backend(each)} for each in backends]
            yield
        return (yield from in_json(found))

    def _circuits(self) -> Work[Answer]:
        snapshot = self.gateway.find_snapshot()
        circuits = snapshot.circuits if snapshot is not None else {}
        return (yield from in_json(shown.circuits(circuits)))

    def _channels(self) -> Work[Answer]:
        snapshot = self.gateway.find_snapshot()
        mux = snapshot.mux if snapshot is not None else None
        if mux is None:
            return refusal(404, "No router leads to mux@internal")
        return (yield from in_json(shown.channels(mux.hub, mux.channels)))

    def _certificates(self) -> Work[Answer]:
        found: list[Json] = []
        for name, certificates in self.gateway.certificates().by_entrypoint.items():
            found += [shown.certificate(name, each) for each in certificates]
            yield
        return (yield from in_json(found))

    def _version(self) -> Work[Answer]:
        return (yield from in_json({"name": "a3s-gateway", "version": self.gateway.version}))

    def _backends_by_service(self) -> dict[str, tuple[Backend, ...]]:
        """Return a copy: while an answer rests, a reload may come."""
        snapshot = self.gateway.find_snapshot()
        return dict(snapshot.services) if snapshot is not None else {}

    # -- what can be done

    async def _reload(self, method: str) -> Answer:
        if method != "POST":
            return _wrong_method("POST")
        if self.gateway.config().span.path.startswith("<"):  # "<text>", or written by a program
            return refusal(501, "The configuration of this gateway was not read from a file")
        if self.gateway.health().state != _IN_SERVICE:
            return refusal(503, "The gateway is not in service")
        try:
            await self.reload()
        except ConfigError as error:
            faults: list[Json] = [
                {"place": str(each.span), "severity": each.severity, "message": each.message}
                for each in error.diagnostics
            ]
            refused: dict[str, Json] = {"error": "The configuration is at fault", "faults": faults}
            return await self._in_slices(in_json(refused, 422))
        except ReadingError:  # its words may have come from anywhere: they are for the log
            return refusal(503, "The configuration could not be read; the log says why")
        return Answer(200, JSON, b'{\n  "status": "reloaded"\n}\n')


def _plain(status: int, text: str) -> Work[Answer]:
    return Answer(status, PLAIN, text.encode())
    yield  # a piece of work like the others, done at once


def _wrong_method(*methods: str) -> Answer:
    return refusal(405, "", ("Allow", ", ".join(methods)))


def _is_among(client: str, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(plain_address(client))
    except ValueError:
        return False
    return any(address in network for network in networks)
