"""What is wrong between blocks: references, addresses, files, cycles. Finds everything at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from attrs import frozen

from a3s_gateway.config.address import TLS_SCHEMES, Address, ServerUrl
from a3s_gateway.config.admin import AdminConfig
from a3s_gateway.config.balancing import LoadBalancerConfig
from a3s_gateway.config.cycles import cycles
from a3s_gateway.config.entrypoint import EntrypointConfig
from a3s_gateway.config.middleware import MiddlewareConfig, Settings
from a3s_gateway.config.orders import check_order
from a3s_gateway.config.provider import ProvidersConfig
from a3s_gateway.config.router import INTERNAL_SERVICES, RouterConfig
from a3s_gateway.config.rules import check_rule, protocol_of
from a3s_gateway.config.schema import Section
from a3s_gateway.config.service import ServiceConfig
from a3s_gateway.config.tcp import misplaced
from a3s_gateway.config.tls import ClientAuthConfig
from a3s_gateway.config.ws_mux import WsMuxConfig
from a3s_gateway.hcl.diagnostics import Diagnostic, Note, Span, suggest

_EVERYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104  # compared with, not bound
_PRIORITY = "give the one that should win a larger priority"
_SCHEMES = {
    "http": ("http", "https", "h2c", "ws", "wss", "unix"),
    "tcp": ("", "tcp", "tls", "unix"),
    "udp": ("", "udp"),
}


@frozen
class Facts:
    """
    What the blocks themselves do not tell.

    Attributes:
        declared: Every name that is declared, by kind: also of blocks that are at fault themselves.
        why_unreadable: Says why a file cannot be read; empty if it can.
        is_complete: No block was left out for a fault of its own, so what is missing is missing.

    """

    declared: Mapping[str, Mapping[str, Span]]
    why_unreadable: Callable[[str], str]
    is_complete: bool


class Model(Protocol):
    """The parts of a configuration that are compared with each other."""

    @property
    def span(self) -> Span:
        """Where the configuration begins."""
        ...

    @property
    def entrypoints(self) -> Mapping[str, EntrypointConfig]:
        """Listeners by name."""
        ...

    @property
    def routers(self) -> Mapping[str, RouterConfig]:
        """Routers by name."""
        ...

    @property
    def services(self) -> Mapping[str, ServiceConfig]:
        """Services by name."""
        ...

    @property
    def middlewares(self) -> Mapping[str, MiddlewareConfig]:
        """Middlewares by name."""
        ...

    @property
    def ws_mux(self) -> WsMuxConfig:
        """Channels over WebSockets."""
        ...

    @property
    def providers(self) -> ProvidersConfig:
        """Where further configuration comes from."""
        ...

    @property
    def admin(self) -> AdminConfig:
        """The dashboard API."""
        ...


def validate(model: Model, facts: Facts) -> Iterable[Diagnostic]:
    """Find every fault and warning between blocks, in no particular order."""
    yield from _addresses(model)
    yield from _files(model, facts)
    for router in model.routers.values():
        yield from _references(router, facts)
        yield from _router(router, model)
    for service in model.services.values():
        yield from _service(service, facts)
    yield from cycles(model.services)
    if facts.is_complete:
        yield from _idle(model)
        yield from _shadowed(model.routers)
        yield from _unreachable(model)


# -- listening


def _addresses(model: Model) -> Iterator[Diagnostic]:
    taken: list[tuple[Address, bool, Span, str]] = []
    for entrypoint in model.entrypoints.values():
        span = entrypoint.span_of("address")
        is_datagram = entrypoint.protocol == "udp"
        taken.append((entrypoint.address, is_datagram, span, f'entrypoint "{entrypoint.name}"'))
    if model.admin.enabled:
        span = model.admin.span_of("address")
        taken.append((model.admin.address, False, span, "the admin API"))
    for index, (address, kind, span, owner) in enumerate(taken):
        for other, other_kind, other_span, other_owner in taken[:index]:
            if kind == other_kind and _collide(address, other):
                yield _collision((address, span, owner), (other, other_span, other_owner))
                break


def _collision(later: tuple[Address, Span, str], first: tuple[Address, Span, str]) -> Diagnostic:
    (address, span, owner), (other, other_span, other_owner) = later, first
    message = f'{owner} listens on "{address}", as {other_owner} does'
    if span.line:
        return Diagnostic(span, message, notes=(Note(other_span, "first used here"),))
    # Nothing is written about the admin API: the place to change is the entrypoint's.
    message = f'{other_owner} listens on "{other}", as {owner} does on "{address}"'
    hint = f"choose another address, or move {owner}: admin {{ address = ... }}"
    return Diagnostic(other_span, message, hint)


def _collide(one: Address, other: Address) -> bool:
    if one.kind != "tcp" or other.kind != "tcp":
        return one == other
    if one.port != other.port or not one.port:
        return False
    hosts = {one.host.lower(), other.host.lower()}
    if len(hosts) == 1 or "" in hosts:
        return True
    is_v6 = {":" in host for host in hosts}
    return bool(hosts & _EVERYWHERE) and len(is_v6) == 1


def _files(model: Model, facts: Facts) -> Iterator[Diagnostic]:
    holders: list[Section] = []
    for tls in (e.tls for e in model.entrypoints.values() if e.tls):
        holders += [tls, *tls.certificates]
        if tls.client_auth is not None:
            yield from _authorities(tls.client_auth, facts)
    balancers = [service.load_balancer for service in model.services.values()]
    holders += [balancer.tls for balancer in balancers if balancer and balancer.tls]
    for holder in holders:
        for name in ("cert_file", "key_file", "ca_file"):
            path = getattr(holder, name, None)
            reason = facts.why_unreadable(path) if path else ""
            if reason:
                message = f'cannot read {name} "{path}": {reason}'
                yield Diagnostic(holder.span_of(name), message)


def _authorities(asked: ClientAuthConfig, facts: Facts) -> Iterator[Diagnostic]:
    for index, path in enumerate(asked.ca_files):
        reason = facts.why_unreadable(path)
        if reason:
            message = f'cannot read "{path}" of ca_files: {reason}'
            yield Diagnostic(asked.span_of("ca_files", index), message)


# -- routers


def _references(router: RouterConfig, facts: Facts) -> Iterator[Diagnostic]:
    owner = f'router "{router.name}"'
    if router.service.endswith("@internal"):
        if router.service not in INTERNAL_SERVICES:
            message = f'{owner}: there is no built-in service "{router.service}"'
            hint = suggest(router.service, INTERNAL_SERVICES, what="built in")
            yield Diagnostic(router.span_of("service"), message, hint)
    else:
        yield from _undeclared(router, "service", "services", router.service, facts, owner=owner)
    for kind in ("entrypoints", "middlewares"):
        for index, name in enumerate(getattr(router, kind)):
            yield from _undeclared(router, kind, kind, name, facts, owner=owner, item=index)


def _undeclared(
    section: Section,
    key: str,
    kind: str,
    name: str,
    facts: Facts,
    *,
    owner: str,
    own: str = "",
    item: int | None = None,
) -> Iterator[Diagnostic]:
    known = facts.declared.get(kind, {})
    if name in known:
        return
    known = {each: span for each, span in known.items() if each != own}
    noun = kind.removesuffix("s")
    hint = suggest(name, list(known), what="declared")
    hint = hint or f'declare it: {kind} "{name}" {{ ... }}'
    message = f'{owner} uses {noun} "{name}", which is not declared'
    yield Diagnostic(section.span_of(key, item), message, hint)


def _router(router: RouterConfig, model: Model) -> Iterator[Diagnostic]:
    known = [model.entrypoints[n] for n in router.entrypoints if n in model.entrypoints]
    if len({each.protocol for each in known}) > 1:
        odd = next(each for each in known if each.protocol != known[0].protocol)
        item = router.entrypoints.index(odd.name)
        message = (
            f'router "{router.name}" mixes protocols: "{known[0].name}" speaks'
            f' {known[0].protocol}, "{odd.name}" {odd.protocol}'
        )
        yield Diagnostic(router.span_of("entrypoints", item), message, "write one router for each")
        return
    protocol = protocol_of(router, model.entrypoints)
    fault = check_rule(router, protocol)
    if fault:
        yield fault
    if router.grpc_web and protocol != "http":
        message = f'router "{router.name}" speaks {protocol}, and grpc-web is for http'
        yield Diagnostic(router.span_of("grpc-web"), message, "leave it out")
    yield from misplaced(router, protocol, model.services.get(router.service))
    yield from _middlewares(router, protocol, model)
    yield from _servers(router, protocol, model)
    yield from _openness(router, protocol, model)


def _middlewares(router: RouterConfig, protocol: str, model: Model) -> Iterator[Diagnostic]:
    for index, name in enumerate(router.middlewares):
        middleware = model.middlewares.get(name)
        if middleware is None:
            continue
        config = middleware.config
        serves = config.protocol if isinstance(config, Settings) else "http"
        if serves != protocol:
            message = (
                f'router "{router.name}" speaks {protocol}, and middleware "{name}" of type'
                f' "{middleware.type}" is for {serves}'
            )
            yield Diagnostic(router.span_of("middlewares", index), message)
            return
    if all(name in model.middlewares for name in router.middlewares):
        yield from check_order(router, [model.middlewares[name] for name in router.middlewares])


def _servers(router: RouterConfig, protocol: str, model: Model) -> Iterator[Diagnostic]:
    if router.service in INTERNAL_SERVICES and protocol != "http":
        message = f'router "{router.name}" speaks {protocol}, and "{router.service}" is for http'
        yield Diagnostic(router.span_of("service"), message)
    service = model.services.get(router.service)
    if service is None:
        return
    servers = [server for revision in service.revisions for server in revision.servers]
    if service.load_balancer:
        servers += service.load_balancer.servers
    for server in servers:
        if server.url.scheme not in _SCHEMES[protocol]:
            yield _wrong_scheme(router, protocol, server.url, server.span_of("url"))


def _openness(router: RouterConfig, protocol: str, model: Model) -> Iterator[Diagnostic]:
    """Warn of a route on which everybody is an operator; a middleware may be what asks."""
    admin = model.admin
    if router.service != "api@internal" or admin.token or admin.allowed_ips or router.middlewares:
        return
    for entrypoint in model.entrypoints.values():
        serves = entrypoint.name in router.entrypoints or not router.entrypoints
        if serves and entrypoint.protocol == protocol and not entrypoint.address.is_loopback:
            message = (
                f'router "{router.name}" opens the admin API to all that reach "{entrypoint.name}"'
            )
            hint = 'ask for a token: admin { token = "${ADMIN_TOKEN}" }'
            yield Diagnostic(router.span_of("service"), message, hint, "warning")
            return


def _wrong_scheme(router: RouterConfig, protocol: str, url: ServerUrl, span: Span) -> Diagnostic:
    message = f'router "{router.name}" speaks {protocol}, which "{url}" does not'
    return Diagnostic(span, message, f'try "{protocol}://{url.authority}"')


def _idle(model: Model) -> Iterator[Diagnostic]:
    """Warn of listeners that no router serves, and of routers that no listener feeds."""
    if not model.entrypoints:
        hint = 'add entrypoints "web" { address = ":8080" }'
        yield Diagnostic(model.span, "the gateway listens nowhere", hint, "warning")
        return
    served: set[str] = set()
    for router in model.routers.values():
        protocol = protocol_of(router, model.entrypoints)
        names = router.entrypoints or [
            each.name for each in model.entrypoints.values() if each.protocol == protocol
        ]
        if not names:
            message = f'router "{router.name}" is never used: no entrypoint speaks {protocol}'
            yield Diagnostic(router.span, message, severity="warning")
        served.update(names)
    if model.providers.adds_routers:
        return
    for entrypoint in model.entrypoints.values():
        if entrypoint.name not in served:
            message = f'entrypoint "{entrypoint.name}" has no router'
            yield Diagnostic(entrypoint.span, message, severity="warning")


def _shadowed(routers: Mapping[str, RouterConfig]) -> Iterator[Diagnostic]:
    """Warn of routers that can never match: ties go by name, and the first one matches the same."""
    first: dict[tuple[str, int, frozenset[str]], RouterConfig] = {}
    for _, router in sorted(routers.items()):
        key = (router.rule.strip(), router.priority, frozenset(router.entrypoints))
        winner = first.setdefault(key, router)
        if winner is not router:
            message = f'router "{router.name}" is never used: "{winner.name}" has the same rule'
            note = Note(winner.span_of("rule"), "the rule that wins")
            yield Diagnostic(router.span_of("rule"), message, _PRIORITY, "warning", (note,))


def _unreachable(model: Model) -> Iterator[Diagnostic]:
    mux = model.ws_mux
    is_used = any(router.service == "mux@internal" for router in model.routers.values())
    if mux.span.line and not is_used and not model.providers.adds_routers:
        message = 'ws_mux is never used: no router leads to "mux@internal"'
        yield Diagnostic(mux.span, message, severity="warning")


# -- services


def _service(service: ServiceConfig, facts: Facts) -> Iterator[Diagnostic]:
    owner = f'service "{service.name}"'
    for section in (service.mirror, service.failover):
        if section is not None:
            yield from _undeclared(
                section,
                "service",
                "services",
                section.service,
                facts,
                owner=owner,
                own=service.name,
            )
    yield from _rollout(service)
    if service.load_balancer:
        yield from _load_balancer(service.load_balancer)


def _rollout(service: ServiceConfig) -> Iterator[Diagnostic]:
    names = [revision.name for revision in service.revisions]
    rollout = service.rollout
    if rollout is None or not names:
        return
    for key, name in (("from", rollout.from_), ("to", rollout.to)):
        if name not in names:
            message = f'service "{service.name}" has no revision "{name}"'
            hint = suggest(name, names, what="revisions")
            yield Diagnostic(rollout.span_of(key), message, hint)


def _load_balancer(balancer: LoadBalancerConfig) -> Iterator[Diagnostic]:
    tls = balancer.tls
    if tls and tls.insecure_skip_verify:
        yield Diagnostic(
            tls.span_of("insecure_skip_verify"),
            "certificates of the servers are not verified",
            'trust their authority instead: ca_file = "..."',
            severity="warning",
        )
    schemes = {server.url.scheme for server in balancer.servers}
    if tls and balancer.servers and schemes.isdisjoint(TLS_SCHEMES):
        hint = "give them URLs by https, wss or tls, or leave this block out"
        yield Diagnostic(tls.span, "none of the servers is spoken to by TLS", hint, "warning")
