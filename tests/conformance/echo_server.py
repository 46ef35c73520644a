"""
A WebSocket server that sends everything back, with compression: `echo_server.py PORT`.

It answers each message before it looks at the next byte, so that what a client sees does not
depend on how its bytes are cut.
"""

from __future__ import annotations

import asyncio
import sys

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate
from wsproto.utilities import RemoteProtocolError


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.wire = WSConnection(ConnectionType.SERVER)
        self.parts: list[str | bytes | bytearray] = []

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        try:
            self.wire.receive_data(data)
            for event in self.wire.events():
                self.answer(event)
        except RemoteProtocolError as error:
            if error.event_hint is not None:
                self.send(error.event_hint)
            self.transport.close()

    def answer(self, event: Event) -> None:
        match event:
            case Request():
                self.send(AcceptConnection(extensions=[PerMessageDeflate()]))
            case Message():
                self.parts.append(event.data)
                if event.message_finished:
                    self.send(self.whole(event))
            case Ping():
                self.send(event.response())
            case CloseConnection():
                self.send(event.response())
                self.transport.close()

    def whole(self, last: Event) -> Event:
        parts, self.parts = self.parts, []
        if isinstance(last, TextMessage):
            return TextMessage("".join(str(part) for part in parts))
        return BytesMessage(b"".join(bytes(part) for part in parts if not isinstance(part, str)))

    def send(self, event: Event) -> None:
        self.transport.write(self.wire.send(event))


async def main(port: int) -> None:
    """Serve until killed."""
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Echo, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
