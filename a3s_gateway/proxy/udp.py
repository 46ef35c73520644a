"""One server as something that datagrams go to."""

from __future__ import annotations

import errno
from typing import Final

from attrs import define

from a3s_gateway.errors import UpstreamConnectError
from a3s_gateway.transport.datagram import DatagramLink, Talker
from a3s_gateway.transport.watch import Watch

from .names import ServerAddresses

# Why no socket could be had: it is this machine that is short of something, not the server.
_OURS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EADDRNOTAVAIL}
)


@define(eq=False)
class UdpOrigin:
    """Opens talks with one server."""

    watch: Watch
    addresses: ServerAddresses

    async def open(self, talker: Talker) -> DatagramLink:
        """
        Begin a talk; nothing is sent yet, so that the server need not be there.

        Raises:
            UpstreamConnectError: Its name has no address, or there is no way to it.

        """
        family, raw = await self.addresses.next()
        assert isinstance(raw, tuple)  # not the path of a Unix socket
        try:
            return DatagramLink.open(self.watch, family, raw, talker)
        except OSError as error:
            code = "UPSTREAM_BUSY" if error.errno in _OURS else "UPSTREAM_CONNECT"
            raise UpstreamConnectError(code, error.strerror or str(error)) from error

    def close(self) -> None:
        """Ask for no name any more."""
        self.addresses.close()
