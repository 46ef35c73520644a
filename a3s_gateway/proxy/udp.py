"""One server as something that datagrams go to."""

from __future__ import annotations

import errno
from typing import Final

from attrs import define
from twisted.internet.error import DNSLookupError

from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.transport.datagram import DatagramLink, Talker
from a3s_gateway.transport.names import Names
from a3s_gateway.transport.watch import Watch

# Why no socket could be had: it is this machine that is short of something, not the server.
_OURS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EADDRNOTAVAIL}
)


@define(eq=False)
class UdpOrigin:
    """Opens talks with one server."""

    watch: Watch
    names: Names
    host: str
    port: int

    async def open(self, talker: Talker) -> DatagramLink:
        """
        Begin a talk; nothing is sent yet, so that the server need not be there.

        Raises:
            UpstreamConnectError: Its name has no address, or there is no way to it.

        """
        try:
            family, raw = (await self.names.targets(self.host, self.port))[0]
        except DNSLookupError as error:
            raise UpstreamConnectError("UPSTREAM_CONNECT", str(error)) from error
        try:
            return DatagramLink.open(self.watch, family, raw, talker)
        except OSError as error:
            code = "UPSTREAM_BUSY" if error.errno in _OURS else "UPSTREAM_CONNECT"
            raise UpstreamConnectError(code, error.strerror or str(error)) from error

    def close(self) -> None:
        """Do nothing: the links are those of whoever talks."""
