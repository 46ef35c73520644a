"""Hashes of passwords, as htpasswd and crypt(3) write them."""

from __future__ import annotations

import re
from typing import Final

import bcrypt

# Longer ones say nothing more to bcrypt, and newer versions of its library refuse them.
BCRYPT_LENGTH: Final = 72  # bytes
LONGEST: Final = 1024  # bytes; what SHA-crypt costs grows with them

_BCRYPT: Final = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_SHA_CRYPT: Final = re.compile(
    r"\$[56]\$(?:rounds=\d{4,9}\$)?[./A-Za-z0-9]{0,16}\$(?:[./A-Za-z0-9]{43}|[./A-Za-z0-9]{86})"
)


def is_known(hashed: str) -> bool:
    """Tell whether it can be verified."""
    return bool(_BCRYPT.fullmatch(hashed) or _SHA_CRYPT.fullmatch(hashed))


def verify(password: bytes, hashed: str) -> bool:
    """Compare a password with a hash; takes a tenth of a second, or whatever the hash says."""
    if len(password) > LONGEST:
        return False
    if hashed.startswith("$2"):
        return bcrypt.checkpw(password[:BCRYPT_LENGTH], hashed.encode())
    from passlib.hash import sha256_crypt, sha512_crypt  # noqa: PLC0415 - it takes long to load

    hasher = sha256_crypt if hashed.startswith("$5$") else sha512_crypt
    return bool(hasher.verify(password, hashed))
