"""Which tokens are valid, what backends are told of them, and where keys come from."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from a3s_gateway.config.address import ServerUrl
from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.errors import UpstreamError
from a3s_gateway.headers import Headers
from a3s_gateway.http import Response
from a3s_gateway.middleware._jwk import FLOOR
from a3s_gateway.middleware.jwt import PLUGIN, Jwt, JwtConfig
from a3s_gateway.testing import Answer, Clock, ask, effects, request, response

SECRET = "a secret of at least sixty-four bytes, which HS512 is said to need"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def pem(key: Any) -> str:
    data: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return data.decode()


def token(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    head = {"kid": claims.pop("kid")} if "kid" in claims else None
    whole = {"sub": "alice", "exp": time.time() + 60, **claims}
    given = {name: value for name, value in whole.items() if value is not None}
    return pyjwt.encode(given, key, algorithm, head)


class World:
    """Time, and a server of keys."""

    def __init__(self, **config: Any) -> None:
        self.clock = Clock()
        self.answers: list[Response | Exception] = []
        self.asked = 0
        self.is_closed = False
        world = effects(
            self.clock,
            client=lambda url, timeout: self,
            complain=lambda name, error: self.complaints.append((name, str(error))),
        )
        self.complaints: list[tuple[str, str]] = []
        build = PLUGIN.build
        assert build is not None
        self.jwt: Jwt = build(JwtConfig(**(config or {"value": SECRET})), world)

    async def ask(self, method: str, headers: Headers, *_: object) -> Response:
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.is_closed = True

    def get(
        self, text: str | None, *fields: tuple[str, str], name: str = "Authorization"
    ) -> Answer:
        value = [] if text is None else [(name, f"Bearer {text}" if name[0] == "A" else text)]
        return ask(self.jwt, request(fields=[*value, *fields]))

    def why(self, text: str | None) -> str:
        """What is said of a token that is refused."""
        refused = self.get(text)
        assert (refused.status, refused.code) == (401, "INVALID_TOKEN")
        assert refused.forwarded is None
        error: str = json.loads(refused.body)["error"]
        challenge = refused.headers.find("www-authenticate") or ""
        assert challenge.startswith('Bearer realm="a3s-gateway"')
        reason = error.removeprefix("JWT validation failed: ")
        if reason != error:
            assert f'error="invalid_token", error_description="{reason}"' in challenge
        return reason


def test_a_valid_token() -> None:
    """Its subject is told; limits get all of it, the log the subject."""
    for _ in range(2):
        got = World().get(token(tenant="acme")).forwarded
        assert got is not None
        assert got.headers.find("x-jwt-subject") == "alice"
        assert got.headers.find("authorization") is not None
        assert got.exchange.claims["tenant"] == "acme"
        assert got.exchange.user == "alice"


def test_no_token() -> None:
    """RFC 6750: without one, no error is told beside the challenge."""
    world = World()
    assert world.why(None) == "Missing authorization header"
    refused = ask(world.jwt, request(Authorization=f"Basic {token()}"))
    assert b"Invalid authorization header" in refused.body
    assert "error=" not in (refused.headers.find("www-authenticate") or "")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_has_no_case(scheme: str) -> None:
    """As RFC 9110 has it."""
    assert ask(World().jwt, request(Authorization=f"{scheme} {token()}")).status == 200


REFUSED = [
    (token(SECRET + "!"), "the signature is wrong"),
    (token() + "x", "the signature is wrong"),
    (token(exp=time.time() - 61), "the token has expired"),
    (token(nbf=time.time() + 3600, exp=time.time() + 7200), "the token is not valid yet"),
    (token(iat=time.time() + 3600, exp=time.time() + 7200), "the token is not valid yet"),
    (token(exp=None), "the claim exp is missing"),
    (token(algorithm="HS512"), "the algorithm is not allowed"),
    (token(None, "none"), "the algorithm is not allowed"),
    (token(RSA, "RS256"), "the algorithm is not allowed"),
    ("a.b", "the token is malformed"),
    ("a.b.c", "the token is malformed"),
    ("....", "the token is malformed"),
    ("é.b.c", "the token is malformed"),
    ("W10.W10.x", "the token is malformed"),  # lists in place of objects
    ("x" * 9000, "the token is too long"),
]


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_refused(text: str, reason: str) -> None:
    """The client is told why, as RFC 6750 has it."""
    assert World().why(text) == reason


@pytest.mark.parametrize("exp", ["soon", True, -1, 1e400, [1]])
def test_times_that_are_none(exp: Any) -> None:
    """They are not guessed at."""
    text = pyjwt.api_jws.encode(json.dumps({"exp": exp}).encode(), SECRET, "HS256")
    assert World().why(text) == "the claim exp is no time"


def test_a_token_is_verified_once_and_expires_all_the_same() -> None:
    """A signature that was right stays right; time is looked at on every request."""
    now = [time.time()]
    world = World(value=SECRET, leeway=0.0)
    world.jwt.now = lambda: now[0]
    text = token(exp=now[0] + 10)
    calls: list[str] = []
    verify = world.jwt.key
    assert verify is not None

    class Counting:
        algorithms = verify.algorithms

        def has_signed(self, *args: Any) -> bool:
            calls.append(args[0])
            return verify.has_signed(*args)

    world.jwt.key = Counting()  # type: ignore[assignment]
    assert [world.get(text).status for _ in range(3)] == [200] * 3
    assert calls == ["HS256"]
    now[0] += 10
    assert world.why(text) == "the token has expired"


def test_an_exotic_header_is_not_understood() -> None:
    """`crit` names extensions that have to be understood; RFC 7515 §4.1.11."""
    text = pyjwt.encode({"exp": time.time() + 9}, SECRET, "HS256", {"crit": ["b64"], "b64": True})
    assert World().why(text) == "the token's header is not understood"


def test_issuer_and_audience() -> None:
    """An audience may be one or several; of several asked for, one will do."""
    world = World(value=SECRET, issuer="https://id", audience=("a", "b"))
    assert world.get(token(iss="https://id", aud="a")).status == 200
    assert world.get(token(iss="https://id", aud=["x", "b"])).status == 200
    assert world.why(token(iss="https://other", aud="a")) == "the issuer is another"
    assert world.why(token(aud="a")) == "the issuer is another"
    for aud in ("x", [], [1], None, {"a": 1}):
        text = pyjwt.api_jws.encode(
            json.dumps({"exp": time.time() + 9, "iss": "https://id", "aud": aud}).encode(), SECRET
        )
        assert world.why(text) == "the audience is another"


def test_claims_that_have_to_be_there() -> None:
    """Their values may be whatever they like."""
    world = World(value=SECRET, required_claims=("tenant",))
    assert world.get(token(tenant=0)).status == 200
    assert world.why(token()) == "the claim tenant is missing"


def test_claims_become_fields_and_clients_cannot_set_them() -> None:
    """In no spelling, whether the token has the claim or not."""
    world = World(value=SECRET, claim_headers={"X-Tenant": "tenant", "X-Roles": "roles"})
    lies = [(n, "root") for n in ("X-Tenant", "x_tenant", "X-Roles", "X_Jwt-Subject")]
    got = world.get(token(tenant="Käse\r\nX: 1", sub=None), *lies).forwarded
    assert got is not None
    ours = {h.name: h.value for h in got.headers if h.name != "authorization"}
    assert ours == {"x-tenant": "K%C3%A4se%0D%0AX: 1"}
    got = world.get(token(roles=["a", "b"], tenant=7), *lies).forwarded
    assert got is not None
    assert got.headers.all("x-roles") == ["a,b"]
    assert got.headers.all("x-tenant") == ["7"]
    assert got.headers.all("x-jwt-subject") == ["alice"]


def test_another_field_and_no_forwarding() -> None:
    """The token stands there without a scheme, or with one."""
    world = World(value=SECRET, header="X-Token", forward=False)
    got = world.get(token(), name="X-Token").forwarded
    assert got is not None
    assert "x-token" not in got.headers


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "PS384"), (EC, "ES256"), (ED, "EdDSA")],
)
def test_public_keys(key: Any, algorithm: str) -> None:
    """Of every kind; and the key's own text is not taken for a secret."""
    world = World(public_key=pem(key))
    assert world.get(token(key, algorithm)).status == 200
    head, body, _ = token(key, algorithm).split(".")
    assert world.why(f"{head}.{body}.AAAA") == "the signature is wrong"
    assert world.why(token()) == "the algorithm is not allowed"


def test_algorithms_are_pinned() -> None:
    """What the key could do is not what a token may ask for."""
    world = World(public_key=pem(RSA), algorithms=("RS512",))
    assert world.get(token(RSA, "RS512")).status == 200
    assert world.why(token(RSA, "RS256")) == "the algorithm is not allowed"
    assert World(value=SECRET, algorithms=("HS384",)).get(token(algorithm="HS384")).status == 200


def jwk(key: Any, **more: Any) -> Mapping[str, Any]:
    kind = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), **more}


def keys(*found: Mapping[str, Any]) -> Response:
    return response(200, json.dumps({"keys": found}).encode())


def at_url(**config: Any) -> World:
    return World(jwks_url=ServerUrl.parse("https://id.example/keys"), **config)


def test_keys_at_a_url() -> None:
    """They are fetched once, and chosen by name and kind; others are passed over."""
    world = at_url()
    world.answers = [
        keys({"kty": "oct", "k": "AAAA"}, {"kty": "new"}, jwk(RSA, kid="r", use="enc"),
             jwk(EC, kid="e", alg="ES256"), jwk(RSA, kid="s"))
    ]  # fmt: skip
    assert world.get(token(EC, "ES256", kid="e")).status == 200
    assert world.get(token(RSA, "RS256", kid="s")).status == 200
    assert world.get(token(RSA, "RS256")).status == 200  # without a name: whatever fits
    assert world.why(token(EC, "ES256", kid="s")) == "the key is unknown"
    assert world.why(token(SECRET, "HS256", kid="s")) == "the algorithm is not allowed"
    assert world.asked == 1


def test_a_new_key_is_looked_for_and_a_lost_one_counts_no_more() -> None:
    """But made-up names do not make us ask again and again."""
    world = at_url()
    world.answers = [keys(jwk(EC, kid="old")), keys(jwk(RSA, kid="new"))]
    old = token(EC, "ES256", kid="old")
    assert world.get(old).status == 200
    assert world.why(token(RSA, "RS256", kid="new")) == "the key is unknown"
    world.clock.advance(FLOOR)
    assert world.get(token(RSA, "RS256", kid="new")).status == 200
    for n in range(5):
        assert world.why(token(RSA, "RS256", kid=f"no-{n}")) == "the key is unknown"
    assert world.asked == 2
    assert world.why(old) == "the key is unknown"


def test_old_keys_are_fetched_again_and_do_until_then() -> None:
    """A server of keys that is away does no harm."""
    world = at_url(jwks_lifetime=100.0)
    world.answers = [keys(jwk(EC)), UpstreamError("UPSTREAM_TIMEOUT"), keys(jwk(EC))]
    text = token(EC, "ES256", exp=time.time() + 1000)
    assert world.get(text).status == 200
    for asked in (2, 3):
        world.clock.advance(101)
        assert world.get(text).status == 200
        assert world.asked == asked


@pytest.mark.parametrize(
    "answer",
    [
        UpstreamError("UPSTREAM_TIMEOUT"),
        response(500, b"{}"),
        response(200, b"<html>"),
        response(200, b'{"keys": 1}'),
        response(200, b'{"keys": []}'),
        response(200, b" " * 300_000),
    ],
)
def test_keys_that_cannot_be_had(answer: Any) -> None:
    """That is no fault of the client's, and soon tried again."""
    world = at_url()
    world.answers = [answer, keys(jwk(EC))]
    text = token(EC, "ES256")
    refused = world.get(text)
    assert (refused.status, refused.code) == (502, "AUTH_UNAVAILABLE")
    assert b"Auth service unavailable" in refused.body
    ((name, _),) = world.complaints
    assert name == "tested"
    world.clock.advance(1)
    assert world.get(text).status == 200
    world.jwt.close()
    assert world.is_closed


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("", "requires one of 'value', 'public_key' and 'jwks_url'"),
        (f'value = "{SECRET}"\n  jwks_url = "https://a/"', "requires one of"),
        (f'value = "{SECRET}"\n  algorithms = ["RS256"]', '"RS256" does not go with "value"'),
        ('jwks_url = "https://a/"\n  algorithms = ["HS256"]', "does not go with"),
        ('public_key = "no key"', "it is no public key"),
    ],
)
def test_faults(config: str, fault: str) -> None:
    """Keys that are none, too many, or for other algorithms."""
    text = f'middlewares "door" {{\n  type = "jwt"\n  {config}\n}}'
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_text(text)
    assert fault in caught.value.render()
    assert SECRET not in caught.value.render()


def test_a_private_key_is_no_public_key() -> None:
    """Whoever puts it there is told, and it is not shown."""
    private = EC.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    faults = list(JwtConfig(public_key=private).mistakes())
    assert [each.message for each in faults] == [
        '"public_key" is of no use: it is no public key and no certificate in PEM format'
    ]
