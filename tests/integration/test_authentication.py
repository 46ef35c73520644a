"""Middlewares that ask who a client is, over real sockets."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from typing import Any

import bcrypt
import jwt as pyjwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tests.support import GET, OK, Answer, Backend, GatewayTestCase, eventually, gather

SECRET = "a secret of at least thirty-two bytes"


def get(*fields: str, target: str = "/") -> bytes:
    lines = "".join(f"{each}\r\n" for each in fields)
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()


class AuthenticationTests(GatewayTestCase):
    """Each before a backend that answers everybody."""

    async def guarded(self, kind: str, *lines: str, logged: bool = False) -> Backend:
        """Start a backend, and a gateway with one middleware before it."""
        backend = await self.backend(OK)
        await self.through(backend.url, f"{kind}:" + "\n".join(lines), logged=logged)
        return backend

    async def test_an_api_key(self) -> None:
        """Refusals carry a date and are logged by their code, the rest by the key's name."""
        backend = await self.guarded("api-key", 'keys = ["one"]', 'query = "key"', logged=True)
        refused = await self.exchange(GET)
        assert refused.status == 401
        assert refused.head.find("date")
        assert refused.head.find("x-gateway-error") == "INVALID_API_KEY"
        assert (await self.exchange(get("X-API-Key: one"))).status == 200
        assert (await self.exchange(get(target="/p?key=one&a=b"))).status == 200
        assert [each.first for each in backend.requests] == [
            "GET / HTTP/1.1",
            "GET /p?a=b HTTP/1.1",
        ]
        assert all(each.find("x-api-key") is None for each in backend.requests)
        lines = await self.logged()
        assert [(each["code"], each["user"]) for each in lines] == [
            ("INVALID_API_KEY", None),
            (None, "key-1"),
            (None, "key-1"),
        ]

    async def test_a_slow_password_holds_up_nobody(self) -> None:
        """It is verified in a thread; a client that goes meanwhile leaves nothing behind."""
        hashed = bcrypt.hashpw(b"geheim", bcrypt.gensalt(10)).decode()
        await self.guarded("basic-auth", f'users = ["alice:{hashed}"]', logged=True)
        field = f"Authorization: Basic {b64encode(b'alice:geheim').decode()}"
        client = await self.client()
        client.send(get(field))
        gone = await self.client()
        gone.send(get(field))
        await eventually(lambda: len(self.connections()) == 2)
        gone.reset()
        assert (await self.exchange(GET)).status == 401
        assert (await client.response()).status == 200
        lines = await self.logged()
        assert max(each["user"] or "" for each in lines) == "alice"

    async def test_a_token(self) -> None:
        """The backend learns of whom it is; lies do not get there."""
        backend = await self.guarded("jwt", f'value = "{SECRET}"')
        text = pyjwt.encode({"sub": "alice", "exp": time.time() + 60}, SECRET, "HS256")
        fields = (f"Authorization: Bearer {text}", "X-JWT-Subject: root", "x_jwt_subject: root")
        assert (await self.exchange(get(*fields))).status == 200
        assert backend.requests[0].all("x-jwt-subject") == ["alice"]
        assert backend.requests[0].find("x_jwt_subject") is None
        refused = await self.exchange(get("Authorization: Bearer x.y.z"))
        assert refused.status == 401
        assert 'error="invalid_token"' in (refused.head.find("www-authenticate") or "")

    async def test_keys_at_a_url(self) -> None:
        """All who come before the keys are there wait for one request, and a client that goes
        does not take it with it."""
        issuer = await self.backend()
        key = ec.generate_private_key(ec.SECP256R1())
        text = pyjwt.encode({"sub": "a", "exp": time.time() + 60}, key, "ES256", {"kid": "1"})
        await self.guarded("jwt", f'jwks_url = "{issuer.url}/keys"')
        first = await self.client()
        first.send(get(f"Authorization: Bearer {text}"))
        asked = await issuer.accept()
        assert (await asked.head()).first == "GET /keys HTTP/1.1"
        second = await self.client()
        second.send(get(f"Authorization: Bearer {text}"))
        first.reset()
        await eventually(lambda: len(self.connections()) == 1)
        jwk: dict[str, Any] = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        body = json.dumps({"keys": [{**jwk, "kid": "1"}]}).encode()
        asked.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        assert (await second.response()).status == 200
        assert (await self.exchange(get(f"Authorization: Bearer {text}"))).status == 200
        assert len(issuer.peers) == 1

    async def test_another_service_decides(self) -> None:
        """Its redirects reach the client; connections to it are kept."""
        auth = await self.backend()
        backend = await self.guarded(
            "forward-auth",
            f'forward_auth_url = "{auth.url}/verify?x=y"',
            'forward_auth_response_headers = ["X-User"]',
        )

        async def decide() -> Answer:
            asked = await auth.accept()
            head = await asked.head()
            assert head.first == "GET /verify?x=y HTTP/1.1"
            assert head.all("x-forwarded-uri") == ["/p?q"]
            assert head.all("x-forwarded-method") == ["GET"]
            assert head.all("x-forwarded-for") == ["127.0.0.1"]
            asked.send(b"HTTP/1.1 302 Found\r\nLocation: /login\r\nSet-Cookie: a=b\r\n"
                       b"Content-Length: 2\r\n\r\nno")  # fmt: skip
            await asked.head()
            asked.send(b"HTTP/1.1 200 OK\r\nX-User: alice\r\nContent-Length: 3\r\n\r\nyes")
            return Answer(head, b"")

        async def visit() -> Answer:
            client = await self.client()
            client.send(get("X-Forwarded-Uri: /lie", target="/p?q"))
            refused = await client.response()
            client.send(get("X-User: root"))
            assert (await client.response()).status == 200
            return refused

        refused, _ = await gather(visit(), decide())
        assert (refused.status, refused.body) == (302, b"no")
        assert refused.head.find("location") == "/login"
        assert refused.head.find("set-cookie") == "a=b"
        assert len(backend.requests) == 1
        assert backend.requests[0].all("x-user") == ["alice"]

    async def test_a_service_that_does_not_answer(self) -> None:
        """Nobody gets in, and nobody waits for ever."""
        auth = await self.backend()
        backend = await self.guarded(
            "forward-auth", f'forward_auth_url = "{auth.url}"', 'timeout = "50ms"'
        )
        refused = await self.exchange(GET)
        assert (refused.status, refused.error["code"]) == (502, "AUTH_UNAVAILABLE")
        assert refused.head.find("date")
        assert backend.requests == []

    async def test_a_client_that_goes_cancels_the_question(self) -> None:
        """The connection to the service is closed with it."""
        auth = await self.backend()
        await self.guarded("forward-auth", f'forward_auth_url = "{auth.url}"')
        client = await self.client()
        client.send(GET)
        asked = await auth.accept()
        await asked.head()
        client.reset()
        await asked.ended()


class AuthenticationOnTwistedsTransportsTests(AuthenticationTests):
    """The same on Twisted's own transports."""

    stock = True
