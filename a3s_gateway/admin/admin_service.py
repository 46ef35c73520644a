"""The admin API on a listener of its own, by twisted.web: nothing of it is on the data path."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, evolve, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import Request as WebRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from a3s_gateway.admin.answers import Answer, Asked, refusal
from a3s_gateway.admin.resources import Api
from a3s_gateway.config.admin import AdminConfig
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.entrypoint.entrypoints_service import (
    CANNOT_LISTEN,
    BindError,
    cannot_listen,
)
from a3s_gateway.entrypoint.stream_service import literal_host
from a3s_gateway.hcl.diagnostics import Diagnostic
from a3s_gateway.transport.endpoints import (
    server_endpoint,
    systemd_server_endpoint,
    unix_server_endpoint,
)

_log = Logger()

MAX_BODY: Final = 64 * 1024  # bytes; no request has one that means anything
MAX_CONNECTIONS: Final = 256  # at a time: operators, a scraper, probes
IDLE_AFTER: Final = 30  # seconds without a byte; twisted.web's own limit is 60
SOCKET_MODE: Final = 0o600  # of a Unix socket: where there is no token, the file's owner asks


class _Request(Request):
    """A request whose body is dropped, and bounded: twisted.web would write it to a file."""

    _received = 0

    def gotLength(self, length: int | None) -> None:  # noqa: ARG002
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MAX_BODY:
            self.channel.forceAbortClient()


@define(eq=False, slots=False)
class _Tree(Resource):
    """Every path there is; twisted.web looks for no child of a leaf."""

    api: Api

    isLeaf = True

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def render(self, request: Any) -> int:
        """Answer later, unless the client goes away before."""
        asked = _asked(request)
        answering = Deferred.fromCoroutine(self._answer(asked, request))
        request.notifyFinish().addErrback(lambda _: answering.cancel())
        answering.addErrback(_has_failed, asked, request)
        return NOT_DONE_YET

    async def _answer(self, asked: Asked, request: Any) -> None:
        answer = await self.api.answer(asked)
        _log.debug(
            "admin: {method} {path} from {client}: {status}",
            method=asked.method,
            path=asked.path,
            client=asked.client,
            status=answer.status,
        )
        _send(request, answer)


def _has_failed(failure: Failure, asked: Asked, request: Any) -> None:
    if failure.check(CancelledError):
        return
    _log.failure("the admin API failed at {path}", failure, path=asked.path)
    if not request.startedWriting:
        _send(request, refusal(500))


def _asked(request: WebRequest) -> Asked:
    path, _, query = request.uri.decode("latin-1").partition("?")
    credentials = request.requestHeaders.getRawHeaders("authorization", [])
    return Asked(
        request.method.decode("latin-1"),
        path,
        query,
        getattr(request.getClientAddress(), "host", ""),
        credentials[0] if len(credentials) == 1 else None,
    )


def _send(request: WebRequest, answer: Answer) -> None:
    request.setResponseCode(answer.status)
    request.responseHeaders.removeHeader("server")
    headers = (
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        *answer.headers,
    )
    for name, value in headers:
        request.setHeader(name, value)
    request.write(answer.body)
    request.finish()


class _Site(Site):
    """twisted.web's protocol, without its log of requests."""

    noisy = False

    def log(self, request: WebRequest) -> None:  # noqa: ARG002
        return


class _Connections(WrappingFactory):
    """Counts the connections, and refuses more than `MAX_CONNECTIONS`."""

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if len(self.protocols) >= MAX_CONNECTIONS:
            return None
        return super().buildProtocol(addr)

    def abort(self) -> None:
        for connection in tuple(self.protocols):
            connection.transport.abortConnection()


@frozen(eq=False)
class _Listener:
    """One socket, and the connections that came by it."""

    admin: AdminConfig
    port: IListeningPort
    connections: _Connections

    async def close(self) -> None:
        await maybeDeferred(self.port.stopListening)
        self.connections.abort()


@define(eq=False, slots=False)
class AdminService(Service):
    """
    Listens for operators.

    What a reload changes of token, prefix and `allowed_ips` holds from the next request on;
    only another address needs another socket, which `prepare` opens.
    """

    reactor: Any
    api: Api
    _listener: _Listener | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.setName("admin")

    @property
    def address(self) -> IAddress | None:
        """Where it really listens: port 0 has become a number. None if it does not."""
        return self._listener.port.getHost() if self._listener is not None else None

    async def open(self, config: GatewayConfig) -> None:
        """
        Listen, if the configuration wants it.

        Raises:
            BindError: The address cannot be had, and the configuration names it. If it is the
                default that nobody wrote, a warning is logged, and the API is not there.

        """
        (await self.prepare(config)).commit()
        if self.address is not None:
            address = evolve(config.admin.address, port=getattr(self.address, "port", 0))
            _log.info(
                "the admin API answers at {address}{prefix}",
                address=address,
                prefix=config.admin.path_prefix,
            )

    async def prepare(self, config: GatewayConfig) -> AdminChange:
        """Open what another configuration needs; raises what `open` does."""
        admin, current = config.admin, self._listener
        if not admin.enabled:
            return AdminChange(self, None)
        if current is not None and current.admin.address == admin.address:
            return AdminChange(self, current)
        try:
            return AdminChange(self, await self._bind(admin))
        except CANNOT_LISTEN as error:
            fault = cannot_listen("the admin API", admin.address, admin.span_of("address"), error)
            if _is_asked_for(admin):
                raise BindError([fault], config.sources) from error
            _warn(fault)
            return AdminChange(self, None)

    async def _bind(self, admin: AdminConfig) -> _Listener:
        site = _Site(
            _Tree(self.api), requestFactory=_Request, timeout=IDLE_AFTER, reactor=self.reactor
        )
        site.displayTracebacks = False
        connections = _Connections(site)
        port = await _endpoint(self.reactor, admin).listen(connections)
        return _Listener(admin, port, connections)

    def stopService(self) -> Deferred[None]:
        """Close the socket and all connections; fires when that is done."""
        super().stopService()
        return Deferred.fromCoroutine(self._replace(None))

    async def _replace(self, listener: _Listener | None) -> None:
        old, self._listener = self._listener, listener
        if old is not None and old is not listener:
            await old.close()


@frozen(eq=False)
class AdminChange:
    """A listener that is ready: part of a reload, which takes place as a whole or not at all."""

    service: AdminService
    listener: _Listener | None

    def commit(self) -> None:
        """Put it in the place of the one there was."""
        Deferred.fromCoroutine(self.service._replace(self.listener))

    def undo(self) -> None:
        """Close what was opened for it."""
        if self.listener is not None and self.listener is not self.service._listener:  # noqa: SLF001
            Deferred.fromCoroutine(self.listener.close())


def _endpoint(reactor: Any, admin: AdminConfig) -> IStreamServerEndpoint:
    """Use Twisted's own transports: twisted.web knows them best."""
    address = admin.address
    if address.kind == "unix":
        return unix_server_endpoint(reactor, address.path, mode=SOCKET_MODE, stock=True)
    if address.kind == "systemd":
        return systemd_server_endpoint(reactor, address.name, stock=True)
    return server_endpoint(reactor, literal_host(address), address.port, stock=True)


def _is_asked_for(admin: AdminConfig) -> bool:
    """Tell whether somebody wrote the block, or a program set something of it."""
    return bool(admin.span.line) or admin != AdminConfig()


def _warn(fault: Diagnostic) -> None:
    _log.warn(
        "there is no admin API: {fault}; choose its address with admin {{ address = ... }}, or turn"
        " it off with admin {{ enabled = false }}",
        fault=fault.message,
    )
