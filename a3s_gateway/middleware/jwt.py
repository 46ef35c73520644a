"""`type = "jwt"`: answer only requests with a valid token (RFC 7519)."""

# ruff: noqa: RUF009  # key() and its like declare a field, as attrs.field() does

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from hashlib import sha256
from time import time
from typing import Any, Final
from urllib.parse import quote

from attrs import define, field, frozen

from a3s_gateway.config.address import HTTP_URL, ServerUrl
from a3s_gateway.config.kinds import FLAG, HEADER_NAME, TEXT, WORD, choice, duration
from a3s_gateway.config.middleware import Settings
from a3s_gateway.config.schema import Mistake, key, keys, mapping
from a3s_gateway.effects import Effects
from a3s_gateway.errors import refuse
from a3s_gateway.headers import Header, Headers, folded
from a3s_gateway.http import Handler, Request, Response
from a3s_gateway.middleware._jwk import (
    ASYMMETRIC,
    SYMMETRIC,
    KeySet,
    UnfitKeyError,
    VerifyingKey,
    public_key,
    secret_key,
)
from a3s_gateway.plugin import Plugin
from a3s_gateway.protocol.cache import TwoGenerations

SHORTEST_SECRET = 32  # bytes; RFC 7518 §3.2 for HS256
REMEMBERED: Final = 2000  # tokens whose signature was right; twice as many at most
LONGEST: Final = 8192  # bytes of a token
SUBJECT: Final = "X-JWT-Subject"


@frozen(kw_only=True)
class JwtConfig(Settings):
    """Verifies JSON web tokens."""

    value: str | None = key(
        WORD,
        "The secret that tokens are signed with, by HS256 unless `algorithms` says otherwise.",
        default=None,
        secret=True,
        example='"${JWT_SECRET}"',
    )
    public_key: str | None = key(
        TEXT,
        "Or the key that they are verified with: a public key or a certificate, PEM.",
        default=None,
    )
    jwks_url: ServerUrl | None = key(
        HTTP_URL,
        "Or where the keys of their issuer are: a JWK set.",
        default=None,
    )
    jwks_lifetime: float = key(
        duration(1.0),
        "How long those keys are used before they are fetched again. A key that is not among "
        "them is looked for at once, every 30 seconds at most.",
        default=3600.0,
    )
    jwks_timeout: float = key(duration(0.001), "Until their server has answered.", default=5.0)
    algorithms: tuple[str, ...] = keys(
        choice(*SYMMETRIC, *ASYMMETRIC),
        "What tokens may be signed with. Empty: HS256 for `value`, else whatever fits the key.",
        example='["HS256"]',
    )
    header: str = key(HEADER_NAME, "Field that carries the token.", default="Authorization")
    issuer: str | None = key(WORD, "What `iss` has to be.", default=None)
    audience: tuple[str, ...] = keys(
        WORD, "Of which one has to be in `aud`; empty: it is not looked at."
    )
    leeway: float = key(
        duration(), "How far clocks may differ: for `exp`, `nbf` and `iat`.", default=60.0
    )
    required_claims: tuple[str, ...] = keys(
        WORD, "Claims that a token has to have, besides `exp`.", example='["sub"]'
    )
    claim_headers: Mapping[str, str] = mapping(
        HEADER_NAME,
        WORD,
        "Fields for the backend, each with the claim that it says. `X-JWT-Subject` says `sub` "
        "in any case. Clients cannot set them.",
        example='{ X-Tenant = "tenant" }',
    )
    forward: bool = key(FLAG, "Leave the token in the request to the backend.", default=True)

    def mistakes(self) -> Iterator[Mistake]:
        """Refuse keys that are none or too many, and algorithms that do not fit them."""
        given = [n for n in ("value", "public_key", "jwks_url") if getattr(self, n) is not None]
        if len(given) != 1:
            message = "jwt middleware requires one of 'value', 'public_key' and 'jwks_url'"
            hint = "" if given else 'write value = "${JWT_SECRET}"'
            yield Mistake(given[1] if given else "", message, hint)
            return
        fitting = SYMMETRIC if self.value is not None else ASYMMETRIC
        for index, name in enumerate(self.algorithms):
            if name not in fitting:
                message = f'"{name}" does not go with "{given[0]}"'
                yield Mistake("algorithms", message, f"there are {', '.join(fitting)}", item=index)
        if self.value is not None and len(self.value.encode()) < SHORTEST_SECRET:
            message = f"the secret is shorter than {SHORTEST_SECRET} bytes and could be guessed"
            hint = "make one with: openssl rand -base64 32"
            yield Mistake("value", message, hint, severity="warning")
        if self.public_key is not None:
            try:
                public_key(self.public_key, self.algorithms)
            except UnfitKeyError as error:
                yield Mistake("public_key", f'"public_key" is of no use: {error}')


class InvalidTokenError(Exception):
    """A token is refused; the text is for the client."""


@frozen(eq=False)
class Token:
    """
    What a token with a right signature says.

    Attributes:
        claims: All of it.
        subject: Whom it is about; empty if it does not say.
        fields: What backends are told of it.
        not_before: In seconds since 1970, leeway included; nobody has to look at more later on.
        expires: Likewise.

    """

    claims: Mapping[str, Any]
    subject: str
    fields: tuple[Header, ...]
    not_before: float
    expires: float

    def check(self, now: float) -> None:
        """Raise `InvalidTokenError` for one whose time is not now."""
        if now >= self.expires:
            raise InvalidTokenError("the token has expired")
        if now < self.not_before:
            raise InvalidTokenError("the token is not valid yet")


@define(eq=False)
class Jwt:
    """
    Refuse requests without a valid token.

    What a signature proves once it proves always, so it is verified once for each token;
    `exp` and `nbf` are looked at every time.
    """

    config: JwtConfig
    now: Callable[[], float]  # seconds since 1970
    key: VerifyingKey | None
    key_set: KeySet | None
    _known: TwoGenerations[bytes, Token] = field(
        factory=lambda: TwoGenerations[bytes, Token](REMEMBERED), init=False
    )  # by the hash of the token, which is a credential
    _field: str = field(init=False)
    _claims: tuple[tuple[str, str], ...] = field(init=False)  # names of fields, and their claims
    _removed: frozenset[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._field = self.config.header.lower()
        self._claims = tuple({SUBJECT: "sub", **self.config.claim_headers}.items())
        ours = {folded(name.lower()) for name, _ in self._claims}
        self._removed = frozenset(ours if self.config.forward else {*ours, folded(self._field)})

    async def __call__(self, request: Request, next: Handler) -> Response:
        """Pass the request on with what its token says, or refuse it."""
        given = request.headers.find(self._field)
        if given is None:
            return self._ask(request, "Missing authorization header")
        text = given[7:].strip() if given[:7].lower() == "bearer " else given
        if self._field == "authorization" and text is given:
            return self._ask(request, "Invalid authorization header")
        digest = sha256(text.encode("latin-1", "replace")).digest()
        token = self._known.get(digest)
        try:
            if token is None or self.key_set is not None:
                token = await self._verified(text, token)
                self._known.put(digest, token)
            token.check(self.now())
        except InvalidTokenError as error:
            return self._refuse(request, str(error))
        except UnfitKeyError:
            return refuse(request, "AUTH_UNAVAILABLE")
        exchange = request.exchange
        exchange.claims, exchange.user = token.claims, token.subject
        kept = [each for each in request.headers if folded(each.name) not in self._removed]
        return await next(request.with_headers(Headers((*kept, *token.fields))))

    def _ask(self, request: Request, message: str) -> Response:
        challenge = ("WWW-Authenticate", 'Bearer realm="a3s-gateway"')  # RFC 6750 §3.1
        return refuse(request, "INVALID_TOKEN", challenge, message=message)

    def _refuse(self, request: Request, reason: str) -> Response:
        value = f'Bearer realm="a3s-gateway", error="invalid_token", error_description="{reason}"'
        message = f"JWT validation failed: {reason}"
        return refuse(request, "INVALID_TOKEN", ("WWW-Authenticate", value), message=message)

    async def _verified(self, text: str, known: Token | None) -> Token:
        """Verify the signature, and all that does not change with time."""
        if len(text) > LONGEST:
            raise InvalidTokenError("the token is too long")
        parts = text.split(".")
        if len(parts) != 3:
            raise InvalidTokenError("the token is malformed")
        head = _json(parts[0])
        algorithm, kid = head.get("alg"), head.get("kid")
        if not isinstance(algorithm, str) or "crit" in head:
            raise InvalidTokenError("the token's header is not understood")
        candidates = await self._keys(kid if isinstance(kid, str) else None, algorithm)
        if known is not None and candidates:
            return known  # its key is still there
        message = f"{parts[0]}.{parts[1]}".encode("ascii", "replace")
        signature = _bytes(parts[2])
        if not any(each.has_signed(algorithm, message, signature) for each in candidates):
            raise InvalidTokenError("the signature is wrong")
        return self._token(_json(parts[1]))

    async def _keys(self, kid: str | None, algorithm: str) -> list[VerifyingKey]:
        if self.key is not None:
            if algorithm not in self.key.algorithms:
                raise InvalidTokenError("the algorithm is not allowed")
            return [self.key]
        assert self.key_set is not None
        if algorithm not in (self.config.algorithms or ASYMMETRIC):
            raise InvalidTokenError("the algorithm is not allowed")
        found = await self.key_set.find(kid, algorithm)
        if not found:
            raise InvalidTokenError("the key is unknown")
        return found

    def _token(self, claims: Mapping[str, Any]) -> Token:
        config = self.config
        for name in ("exp", *config.required_claims):
            if claims.get(name) is None:
                raise InvalidTokenError(f"the claim {_shown(name)} is missing")
        if config.issuer is not None and claims.get("iss") != config.issuer:
            raise InvalidTokenError("the issuer is another")
        if config.audience:
            audience = claims.get("aud")
            listed = audience if isinstance(audience, list) else [audience]
            if not any(each in config.audience for each in listed if isinstance(each, str)):
                raise InvalidTokenError("the audience is another")
        begins = [_moment(claims, name) for name in ("nbf", "iat") if claims.get(name) is not None]
        fields = [_field(name, claims.get(claim)) for name, claim in self._claims]
        subject = claims.get("sub")
        return Token(
            claims,
            subject if isinstance(subject, str) else "",
            tuple(each for each in fields if each is not None),
            max(begins, default=0.0) - config.leeway,
            _moment(claims, "exp") + config.leeway,
        )

    def close(self) -> None:
        """Ask for keys no more."""
        if self.key_set is not None:
            self.key_set.close()


def _bytes(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise InvalidTokenError("the token is malformed") from None


def _json(part: str) -> dict[str, Any]:
    try:
        value = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidTokenError("the token is malformed")
    return value


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise InvalidTokenError(f"the claim {name} is no time")
    return float(value)


def _field(name: str, value: Any) -> Header | None:
    """Say a claim in a header field: text as it is, but for what a field cannot have."""
    if value is None or value == "":
        return None
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        value = ",".join(value)
    text = value if isinstance(value, str) else json.dumps(value)
    safe = quote(text, safe=" !\"#$&'()*+,/:;<=>?@[\\]^_`{|}~").strip()
    return Header.of(name, safe) if safe else None


def _shown(name: str) -> str:
    return quote(name, safe=" :/")


def _build(config: JwtConfig, effects: Effects) -> Jwt:
    if config.value is not None:
        return Jwt(config, time, secret_key(config.value, config.algorithms or ("HS256",)), None)
    if config.public_key is not None:
        return Jwt(config, time, public_key(config.public_key, config.algorithms), None)
    assert config.jwks_url is not None
    client = effects.client(config.jwks_url.text, config.jwks_timeout)
    complain = partial(effects.complain, effects.name)
    key_set = KeySet(client, config.algorithms, config.jwks_lifetime, effects.now, complain)
    return Jwt(config, time, None, key_set)


PLUGIN = Plugin("middleware", "jwt", JwtConfig, _build)
