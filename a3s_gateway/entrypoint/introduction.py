"""How a client is introduced to backends: worked out once, while it repeats itself."""

from __future__ import annotations

from a3s_gateway.headers import EMPTY_HEADERS, Headers
from a3s_gateway.protocol.codec import Head
from a3s_gateway.protocol.forwarded import Forwarded, Trust, forwarded
from a3s_gateway.protocol.http1.request_head import REMEMBERED


class Introduction:
    """
    What one connection's requests say of their client, instead of what the client says.

    Attributes:
        fields: The fields it was last worked out for; None where that may not be relied on.
        authority: The authority it was last worked out for.
        headers: `fields`, and what we know of the client.
        who: The client and its scheme.
        certificate: What is said of the client's certificate; None until that is known.

    """

    __slots__ = ("_is_large", "authority", "certificate", "fields", "headers", "who")

    def __init__(self) -> None:
        self.fields: Headers | None = None
        self.authority: str | None = None
        self.headers = EMPTY_HEADERS
        self.who = Forwarded(EMPTY_HEADERS, "", "")
        self.certificate: Headers | None = None
        self._is_large = False

    def learn(self, head: Head, peer: str, scheme: str, is_trusted: Trust) -> None:
        """Work it out for a request; see `forwarded` for the arguments."""
        # What a proxy says differs by client; what we say of a peer, only by authority.
        if head.forwarded or head.authority != self.authority:
            self.who = forwarded(peer, scheme, head.authority, head.forwarded, is_trusted)
        self.headers = head.headers.joined(self.who.headers)
        if self.certificate:
            self.headers = self.headers.joined(self.certificate)
        self.fields = head.headers
        self.authority = None if head.forwarded else head.authority
        self._is_large = len(self.headers.wire) > REMEMBERED

    def forget(self) -> None:
        """Rely on nothing of it: whom the entrypoint trusts has changed, for one."""
        self.fields = self.authority = None

    def shrink(self) -> None:
        """Forget what is too large to be kept while nothing happens."""
        if self._is_large:
            self.fields = None
            self.headers = EMPTY_HEADERS
