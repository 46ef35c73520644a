"""Keys that tokens are signed with: which algorithms each is good for, and sets of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import define, field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.algorithms import Algorithm, get_default_algorithms
from jwt.exceptions import PyJWTError

from a3s_gateway.body import BodyTooLargeError
from a3s_gateway.effects import AwayError, Client
from a3s_gateway.errors import UpstreamError
from a3s_gateway.headers import Headers
from a3s_gateway.task import Task, Waiter

SYMMETRIC: Final = ("HS256", "HS384", "HS512")
RSA: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ASYMMETRIC: Final = (*RSA, *CURVES.values(), "EdDSA")
ALGORITHMS: Final[dict[str, Algorithm]] = get_default_algorithms()

MAX_SET: Final = 256 * 1024  # bytes of a set of keys
MAX_KEYS: Final = 200
FLOOR: Final = 30.0  # seconds between two looks for a key that is not in the set
FLOOR_WITHOUT: Final = 1.0  # seconds, while there are none at all
_ACCEPT: Final = Headers.of(("Accept", "application/json"), ("User-Agent", "a3s-gateway"))


@frozen(eq=False)
class VerifyingKey:
    """
    One key.

    Attributes:
        key: As PyJWT's algorithms want it.
        algorithms: What it may have signed with: no token can choose another.
        kid: What tokens call it; None if it has no name.

    """

    key: Any
    algorithms: frozenset[str]
    kid: str | None = None

    def has_signed(self, algorithm: str, message: bytes, signature: bytes) -> bool:
        """Verify a signature by one of the algorithms."""
        return ALGORITHMS[algorithm].verify(message, self.key, signature)


class UnfitKeyError(ValueError):
    """Something is no key that signatures can be verified with."""


def secret_key(secret: str, algorithms: Iterable[str]) -> VerifyingKey:
    """Make the key of HMAC."""
    return VerifyingKey(secret.encode(), frozenset(algorithms))


def public_key(pem: str, algorithms: Sequence[str]) -> VerifyingKey:
    """Read a public key or a certificate; none of `algorithms` means whatever fits the key."""
    data = pem.encode()
    try:
        if "BEGIN CERTIFICATE" in pem:
            key: Any = load_pem_x509_certificate(data).public_key()
        else:
            key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise UnfitKeyError("it is no public key and no certificate in PEM format") from None
    return VerifyingKey(key, _fitting(key, algorithms))


def _fitting(key: Any, algorithms: Sequence[str]) -> frozenset[str]:
    if isinstance(key, RSAPublicKey):
        fits: tuple[str, ...] = RSA
    elif isinstance(key, EllipticCurvePublicKey):
        fits = tuple(name for curve, name in CURVES.items() if curve == key.curve.name)
    elif isinstance(key, Ed25519PublicKey | Ed448PublicKey):
        fits = ("EdDSA",)
    else:
        fits = ()
    allowed = frozenset(fits) & frozenset(algorithms or ASYMMETRIC)
    if not allowed:
        raise UnfitKeyError(f"its kind is none of {', '.join(algorithms or ASYMMETRIC)}")
    return allowed


def read_set(data: bytes, algorithms: Sequence[str]) -> list[VerifyingKey]:
    """Read a JWK set (RFC 7517 §5); keys for other purposes, and of other kinds, are left out."""
    try:
        found = json.loads(data)["keys"]
        entries = [each for each in found if isinstance(each, dict)]
    except (ValueError, KeyError, TypeError):
        raise UnfitKeyError("it is no JWK set") from None
    keys = []
    for each in entries[:MAX_KEYS]:
        try:
            keys.append(_from_jwk(each, algorithms))
        except (UnfitKeyError, PyJWTError, ValueError, KeyError, TypeError):
            continue
    if not keys:
        raise UnfitKeyError("none of its keys is of use")
    return keys


def _from_jwk(jwk: dict[str, Any], algorithms: Sequence[str]) -> VerifyingKey:
    if jwk.get("use", "sig") != "sig" or jwk.get("kty") not in {"RSA", "EC", "OKP"}:
        raise UnfitKeyError("it is for something else")
    public = {name: value for name, value in jwk.items() if name != "d"}
    by = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}[jwk["kty"]]
    key = ALGORITHMS[by].from_jwk(public)
    allowed = _fitting(key, algorithms)
    if "alg" in jwk:
        allowed &= {jwk["alg"]}
    kid = jwk.get("kid")
    return VerifyingKey(key, allowed, kid if isinstance(kid, str) else None)


@define(eq=False)
class KeySet:
    """
    Keys at a URL.

    They are fetched when they are needed first, when they are old, and when a token names one
    that is not there, but not more often than every `FLOOR` seconds. All who wait share one
    request. If it fails, the keys there are go on being used.

    Args:
        client: Asks for them.
        algorithms: That tokens may be signed with.
        lifetime: Seconds after which they are fetched again.
        now: Monotonic time in seconds.
        complain: Hears why they could not be fetched.

    """

    client: Client
    algorithms: tuple[str, ...]
    lifetime: float
    now: Callable[[], float]
    complain: Callable[[Exception], None]
    keys: list[VerifyingKey] = field(factory=list, init=False)
    _fetched_at: float = field(default=0.0, init=False)
    _tried_at: float | None = field(default=None, init=False)
    _task: Task[list[VerifyingKey]] | None = field(default=None, init=False)
    _waiting: list[Waiter[None]] = field(factory=list, init=False)

    async def find(self, kid: str | None, algorithm: str) -> list[VerifyingKey]:
        """Return who may have signed a token; raises `UnfitKeyError` if there are no keys."""
        if not self.keys:
            await self._refresh()
            if not self.keys:
                raise UnfitKeyError("the keys cannot be had")
        elif self.now() - self._fetched_at > self.lifetime:
            self._begin()  # those there are do meanwhile
        found = self._matching(kid, algorithm)
        if not found and kid is not None:
            await self._refresh()
            found = self._matching(kid, algorithm)
        return found

    def _matching(self, kid: str | None, algorithm: str) -> list[VerifyingKey]:
        return [
            each
            for each in self.keys
            if algorithm in each.algorithms and (kid is None or each.kid in (kid, None))
        ]

    async def _refresh(self) -> None:
        self._begin()
        if self._task is None:
            return
        waiter: Waiter[None] = Waiter()
        self._waiting.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _begin(self) -> None:
        floor = FLOOR if self.keys else FLOOR_WITHOUT
        is_too_soon = self._tried_at is not None and self.now() - self._tried_at < floor
        if self._task is not None or is_too_soon:
            return
        self._tried_at = self.now()
        self._task = task = Task(self._fetch(), self._came, self._failed)
        task.start()

    async def _fetch(self) -> list[VerifyingKey]:
        response = await self.client.ask("GET", _ACCEPT)
        try:
            if response.status != 200:
                raise UnfitKeyError(f"the server of the keys answers with status {response.status}")
            return read_set(await response.body.read(MAX_SET), self.algorithms)
        finally:
            response.body.close()

    def _came(self, keys: list[VerifyingKey]) -> None:
        self.keys, self._fetched_at = keys, self.now()
        self._over()

    def _failed(self, error: BaseException) -> None:
        self._over()
        if not isinstance(error, UnfitKeyError | UpstreamError | BodyTooLargeError):
            raise error
        self.complain(AwayError(str(error) or "the answer is too long"))

    def _over(self) -> None:
        self._task = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.resolve(None)

    def close(self) -> None:
        """Ask no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        self._over()
        self.client.close()
