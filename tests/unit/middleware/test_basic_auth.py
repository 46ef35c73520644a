"""Who knows a password gets in; verifying it holds up nobody."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from typing import Any

import bcrypt
import pytest
from passlib.hash import sha256_crypt, sha512_crypt

from a3s_gateway.config.faults import ConfigError
from a3s_gateway.config.model import GatewayConfig
from a3s_gateway.http import Request, Response
from a3s_gateway.middleware.basic_auth import AT_ONCE, BasicAuth, BasicAuthConfig
from a3s_gateway.task import Task, Waiter
from a3s_gateway.testing import Answer, ask, effects, request, response

SLOW = bcrypt.hashpw(b"geheim", bcrypt.gensalt(4)).decode()


class Threads:
    """Runs what takes long at once, and counts it."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, work: Callable[[], Any]) -> Waiter[Any]:
        self.count += 1
        waiter: Waiter[Any] = Waiter()
        waiter.resolve(work())
        return waiter


def door(threads: Any = None, **config: Any) -> BasicAuth:
    return BasicAuth(BasicAuthConfig(**config), effects(in_thread=threads or Threads()))


def knock(middleware: BasicAuth, pair: str | bytes | None, scheme: str = "Basic") -> Answer:
    if pair is None:
        return ask(middleware, request())
    data = pair.encode() if isinstance(pair, str) else pair
    return ask(middleware, request(Authorization=f"{scheme} {b64encode(data).decode()}"))


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_the_user(scheme: str) -> None:
    """The scheme's case does not matter; the backend does not get the password."""
    got = knock(door(username="admin", password="pass:wörd"), "admin:pass:wörd", scheme).forwarded
    assert got is not None
    assert "authorization" not in got.headers
    assert got.exchange.user == "admin"


@pytest.mark.parametrize("pair", ["admin:", "admin:passw", "root:pass", "admin", ":", b"\xff:pass"])
def test_others(pair: str | bytes) -> None:
    """A browser is told to ask, in UTF-8."""
    refused = knock(door(username="admin", password="pass", realm="Office"), pair)
    assert (refused.status, refused.code) == (401, "INVALID_CREDENTIALS")
    assert b'"Invalid credentials"' in refused.body
    assert refused.headers.find("www-authenticate") == 'Basic realm="Office", charset="UTF-8"'
    assert refused.forwarded is None


@pytest.mark.parametrize(
    "value", [None, "Bearer abc", "Basic", "Basic ***", "Basic YWRtaW46cGFzcw=!"]
)
def test_what_is_no_password(value: str | None) -> None:
    """Another scheme, and base64 that is none: nothing is guessed."""
    fields = [] if value is None else [("Authorization", value)]
    refused = ask(door(username="admin", password="pass"), request(fields=fields))
    assert refused.status == 401
    missing = b"Missing Authorization header" in refused.body
    assert missing is (value is None or not value.startswith("Basic"))


@pytest.mark.parametrize(
    "hashed",
    [
        SLOW,
        SLOW.replace("$2b$", "$2y$"),
        sha256_crypt.using(rounds=1000).hash("geheim"),
        sha512_crypt.using(rounds=5000).hash("geheim"),
    ],
    ids=["2b", "2y", "sha256", "sha512"],
)
def test_lines_of_htpasswd(hashed: str) -> None:
    """Each kind is verified in a thread, once for a pair that is right."""
    threads = Threads()
    middleware = door(threads, users=(f"alice:{hashed}",))
    for _ in range(3):
        got = knock(middleware, "alice:geheim").forwarded
        assert got is not None
        assert got.exchange.user == "alice"
    assert threads.count == 1
    for wrong in ("alice:Geheim", "alice:", "bob:geheim", "alice:" + "x" * 2000):
        assert knock(middleware, wrong).status == 401
    assert threads.count == 5  # also for the user who does not exist: it takes as long


def test_a_long_password_is_no_fault_of_bcrypts() -> None:
    """It looks at 72 bytes; its library refuses more."""
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert knock(door(users=(f"alice:{hashed}",)), "alice:" + "x" * 100).status == 200


def test_the_user_and_others_side_by_side() -> None:
    """The one whose password is here costs no thread."""
    threads = Threads()
    middleware = door(threads, username="admin", password="pass", users=(f"alice:{SLOW}",))
    assert knock(middleware, "admin:pass").status == 200
    assert threads.count == 0
    assert knock(middleware, "alice:geheim").status == 200


def test_only_so_many_at_a_time() -> None:
    """Who guesses many at once does not keep all cores busy for ever; counts come back."""
    waiters: list[Waiter[bool]] = []

    def later(_: Callable[[], bool]) -> Waiter[bool]:
        waiters.append(Waiter())
        return waiters[-1]

    middleware = door(later, users=(f"alice:{SLOW}",))

    async def backend(_: Request) -> Response:
        return response()

    pair = b64encode(b"alice:geheim").decode()
    answers: list[Response] = []
    tasks = []
    for _ in range(AT_ONCE):
        work = middleware(request(Authorization=f"Basic {pair}"), backend)
        tasks.append(Task(work, answers.append, lambda _: None))
        tasks[-1].start()
    refused = knock(middleware, "alice:geheim")
    assert (refused.status, refused.code) == (503, "AUTH_BUSY")
    assert refused.headers.find("retry-after") == "1"
    tasks.pop().cancel()
    for waiter in waiters[:-1]:
        waiter.resolve(True)  # noqa: FBT003
    assert [each.status for each in answers] == [200] * (AT_ONCE - 1)
    assert middleware._verifying == 0  # noqa: SLF001


def test_it_may_be_forwarded() -> None:
    """For backends that know the same users."""
    got = knock(door(username="a", password="b", forward=True), "a:b").forwarded
    assert got is not None
    assert "authorization" in got.headers


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ("", "basic-auth middleware requires 'username' and 'password'"),
        ('username = "a"', '"username" needs "password"'),
        ('username = "a:b"\n password = "c"', "must not contain a colon"),
        ('users = ["alice:secret"]', "a bcrypt or SHA-crypt"),
        ('users = ["alice"]', "a bcrypt or SHA-crypt"),
        ('username = "a"\n password = "c"\n realm = "x\\"y"', "without quotes"),
    ],
)
def test_faults(config: str, fault: str) -> None:
    """Users that nobody can be; what is wrong with a password is said without it."""
    text = f'middlewares "door" {{\n  type = "basic-auth"\n  {config}\n}}'
    with pytest.raises(ConfigError) as caught:
        GatewayConfig.from_text(text)
    assert fault in caught.value.render()
    assert "secret" not in caught.value.render()
