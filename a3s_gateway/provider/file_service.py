"""Notices when the files of the configuration change: by inotify, and by looking now and then."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.filepath import FilePath

from a3s_gateway.config.fragments import texts_of
from a3s_gateway.config.model import GatewayConfig

from .files import ConfigFiles, Folder, Look, digest_of

try:
    from twisted.internet import inotify
except ImportError:  # not Linux
    inotify = None  # type: ignore[assignment]

QUIET: Final = 0.1  # seconds without a further event; editors and copies make several
AT_MOST: Final = 2.0  # seconds that events without end can put a look off
POLL: Final = 2.0  # seconds between two looks where there is no inotify
POLL_BESIDE: Final = 30.0  # seconds, where there is: network file systems report nothing

_log = Logger()


@define(eq=False, slots=False)
class FileProvider(Service):
    """
    Calls `changed` when the contents of the files are no longer those last seen.

    Folders are watched, not files: an editor, `mv` and a ConfigMap put another file in the
    place of the one there was, and a watch on that would go with it.

    Args:
        reactor: Where everything happens.
        changed: Called without more ado; what becomes of it is not our business.
        has_inotify: Whether to use it.

    """

    name = "providers"
    reactor: Any
    changed: Callable[[], object]
    has_inotify: bool = inotify is not None
    _files: ConfigFiles | None = field(default=None, init=False)
    _seen: bytes = field(default=b"", init=False)
    _unsettled: bytes = field(default=b"", init=False)  # seen once, where there is no inotify
    _look: Look | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _latest: float = field(default=0.0, init=False)  # when the look that is due is made
    _is_looking: bool = field(default=False, init=False)
    _must_read: bool = field(
        default=False, init=False
    )  # stamps are too coarse for two quick writes
    _has_warned: bool = field(default=False, init=False)
    _watching: Any = field(default=None, init=False)  # an INotify
    _watched: frozenset[Folder] = field(default=frozenset(), init=False)

    def watch(self, config: GatewayConfig, *, is_whole: bool = True) -> None:
        """
        Watch the files of `config`, which was put in force; none if it has none, or says so.

        Args:
            config: What it was read from is what was last seen.
            is_whole: It is as the files are, none was held back.

        """
        provider = config.providers.file
        is_on_disk = not config.span.path.startswith("<")  # "<text>", or written by a program
        if provider is None or not provider.watch or not is_on_disk:
            self._files = None
            self._rest()
            return
        self._files, self._look = ConfigFiles(config.span.path, provider.directory), None
        if is_whole:
            self._seen = digest_of(texts_of(config))
        self._soon()

    def stopService(self) -> None:
        """Watch no longer."""
        super().stopService()
        self._files = None
        self._rest()

    def _rest(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._unwatch()

    # -- when to look

    def _soon(self) -> None:
        """Look when nothing has happened for a moment."""
        now = self.reactor.seconds()
        if self._timer is None or self._timer.getTime() > now + AT_MOST:
            self._latest = now + AT_MOST
        self._at(min(now + QUIET, self._latest))

    def _at(self, moment: float) -> None:
        delay = max(0.0, moment - self.reactor.seconds())
        if self._timer is None:
            self._timer = self.reactor.callLater(delay, self._begin)
        else:
            self._timer.reset(delay)

    def _begin(self) -> None:
        self._timer = None
        if self._is_looking or self._files is None:
            return
        self._is_looking = True
        must_read, self._must_read = self._must_read, False
        work = partial(self._files.look, None if must_read else self._look)
        looking: Deferred[Look] = deferToThreadPool(
            self.reactor, self.reactor.getThreadPool(), work
        )
        looking.addCallbacks(self._has_looked, self._has_failed, callbackArgs=(self._files,))

    def _has_failed(self, failure: Failure) -> None:
        self._is_looking = False
        _log.failure("the files of the configuration could not be looked at", failure)
        if self._files is not None:
            self._at(self.reactor.seconds() + POLL)

    def _has_looked(self, look: Look, files: ConfigFiles) -> None:
        self._is_looking = False
        if files is not self._files:
            if self._files is not None:
                self._soon()
            return
        self._look = look
        if self._watch(look.folders):
            self._soon()  # what happened before the watch began was not reported
        elif self._timer is None:
            self._at(self.reactor.seconds() + (POLL_BESIDE if self._watching else POLL))
        if look.digest == self._seen:
            self._unsettled = b""
        elif not self._watching and look.digest != self._unsettled:
            # Nobody has told us that whoever writes is done: it must look the same again.
            self._unsettled, self._must_read = look.digest, True
            self._at(self.reactor.seconds() + QUIET)
        else:
            self._seen = look.digest
            _log.info("the configuration has changed on disk")
            self.changed()

    # -- inotify

    def _watch(self, folders: frozenset[Folder]) -> bool:
        """Watch these folders; tells whether that is new."""
        if not self.has_inotify or (self._watching is not None and folders == self._watched):
            return False
        self._unwatch()
        mask = (
            inotify.IN_CREATE
            | inotify.IN_CLOSE_WRITE
            | inotify.IN_MOVED_FROM
            | inotify.IN_MOVED_TO
            | inotify.IN_DELETE
            | inotify.IN_DELETE_SELF
            | inotify.IN_MOVE_SELF
        )
        try:
            self._watching = watching = inotify.INotify(self.reactor)
            watching.startReading()
            for folder in folders:
                watching.watch(FilePath(folder.path), mask, callbacks=[self._happened])
        except (OSError, inotify.INotifyError) as error:
            if not self._has_warned:
                _log.warn("changes of files are noticed later than usual: {error}", error=error)
            self._has_warned = True
            self._unwatch()
            return False
        self._watched, self._has_warned = folders, False
        return True

    def _happened(self, _watch: object, _path: FilePath[bytes], events: int) -> None:
        if self._files is None:
            return
        if events & (inotify.IN_DELETE_SELF | inotify.IN_MOVE_SELF):
            # Twisted's INotify closes after the first; a folder of that name may be there again.
            self._unwatch()
        self._must_read = True
        self._soon()

    def _unwatch(self) -> None:
        watching, self._watching = self._watching, None
        self._watched = frozenset()
        if watching is not None:
            watching.loseConnection()
