"""Notices when the files of certificates change, and puts them in force under connections."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Final

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from a3s_gateway.config.entrypoint import TlsConfig
from a3s_gateway.runtime.reload import in_slices
from a3s_gateway.transport.tls_files import Stamp, TlsConfigurationError, stamp_of
from a3s_gateway.transport.tls_server import ServerTls

from .tls import load_entrypoint_tls

POLL: Final = 2.0  # seconds between two looks; it must look the same twice before it is read

_log = Logger()


@frozen(eq=False)
class Served:
    """One entrypoint with TLS, as it is in force."""

    entrypoint: str
    config: TlsConfig
    alpn: tuple[bytes, ...]
    tls: ServerTls


@define(eq=False, slots=False)
class CertificateWatch(Service):
    """
    Looks at the files now and then: a renewed certificate needs no reload.

    What cannot be used leaves in force what was; a certificate and its key are not written at
    the same moment, so files are read when nothing has changed for one look.

    Args:
        reactor: Where everything happens.
        served: Tells what is in force.

    """

    name = "certificates"
    reactor: Any
    served: Callable[[], Iterable[Served]]
    renewed: int = field(default=0, init=False)
    failed: int = field(default=0, init=False)
    _seen: Mapping[str, Stamp] = field(factory=dict, init=False)  # at the last look
    _refused: dict[str, Mapping[str, Stamp]] = field(factory=dict, init=False)  # by entrypoint
    _timer: IDelayedCall | None = field(default=None, init=False)

    def startService(self) -> None:
        """Look every now and then from here on."""
        super().startService()
        self._again()

    def stopService(self) -> None:
        """Look no longer."""
        super().stopService()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _again(self) -> None:
        if self.running:
            self._timer = self.reactor.callLater(POLL, self._due)

    def _due(self) -> None:
        self._timer = None
        looking = Deferred.fromCoroutine(self.look())
        looking.addErrback(_failed).addBoth(lambda _: self._again())

    async def look(self) -> None:
        """Look once, and load what has changed and changes no more."""
        files = {file for each in self.served() for file in each.tls.certificates.stamps}
        if not files:
            return
        pool = self.reactor.getThreadPool()
        seen = await deferToThreadPool(self.reactor, pool, partial(_stamps, files))
        before, self._seen = self._seen, seen
        for each in self.served():
            now = {file: seen.get(file, (0, 0, 0)) for file in each.tls.certificates.stamps}
            has_settled = all(before.get(file) == stamp for file, stamp in now.items())
            is_known = now in (each.tls.certificates.stamps, self._refused.get(each.entrypoint))
            if has_settled and not is_known:
                await self._load(each, now)

    async def _load(self, served: Served, stamps: Mapping[str, Stamp]) -> None:
        work = load_entrypoint_tls(served.config, served.alpn)
        try:
            loaded = await in_slices(work, lambda: deferLater(self.reactor, 0), monotonic)
        except TlsConfigurationError as error:
            self.failed += 1
            self._refused[served.entrypoint] = stamps
            _log.warn(
                "the certificates of entrypoint {name} stay as they are: {fault}",
                name=served.entrypoint, fault=error,
            )  # fmt: skip
            return
        if any(each.config is served.config for each in self.served()):
            self.renewed += 1
            self._refused.pop(served.entrypoint, None)
            served.tls.become(loaded)
            _log.info("entrypoint {name} has new certificates", name=served.entrypoint)


def _stamps(files: Iterable[str]) -> dict[str, Stamp]:
    return {file: stamp_of(file) for file in files}


def _failed(failure: Failure) -> None:
    _log.failure("the files of certificates could not be looked at", failure)
