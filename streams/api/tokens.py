"""Who may ask for what, and until when: a file of tokens, each with a purpose and its scopes. Of a token itself only a
hash is kept.

A line of the file is a token's entry as JSON. Tokens are 32 random bytes, so a plain SHA-256 can't be turned back.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from schemas.access import scopes_for
from schemas.policy import Purpose
from streams.core.times import milliseconds, rfc3339
from streams.errors import ThrongError

NAME_LENGTH: Final = 64


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One consumer's. `sha256`: of the token, hexadecimal; `name`: what logs and the list call it.

    `expires`: from when on it is refused, RFC 3339; empty in a file from before tokens expired: never.
    """

    name: str
    purpose: Purpose
    sha256: str
    expires: str = ""

    def __post_init__(self) -> None:
        if self.expires:
            milliseconds(self.expires)

    @property
    def scopes(self) -> tuple[str, ...]:
        """What it may read, `traffic:flows:read`."""
        return scopes_for(self.purpose)

    def expired(self, now_ms: int) -> bool:
        """Is its time over?"""
        return bool(self.expires) and milliseconds(self.expires) <= now_ms


def hashed(token: str) -> str:
    """What is kept of a token."""
    # What a header holds need not be text: bytes that are none come as lone surrogates (PEP 383).
    return hashlib.sha256(token.encode(errors="surrogateescape")).hexdigest()


def holder(tokens: Sequence[Token], presented: str) -> Token | None:
    """Whose token it is; all are compared, each in constant time."""
    digest, found = hashed(presented), None
    for token in tokens:
        if hmac.compare_digest(digest, token.sha256):
            found = token
    return found


def load(file: Path) -> tuple[Token, ...]:
    """The tokens of a file; none if there is no such file.

    Raises:
        ThrongError: `tokens` if it can't be read.
    """
    try:
        lines = file.read_bytes().splitlines()
        return tuple(msgspec.json.decode(line, type=Token) for line in lines if line.strip())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ThrongError("tokens", f"cannot read the tokens {file}: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ThrongError("tokens", f"the tokens {file} are not as expected: {error}") from error


def make(file: Path, name: str, purpose: Purpose, expires_ms: int, now_ms: int = 0, *, replace: bool = False) -> str:
    """Add a token to the file, which ends at `expires_ms`, and return it: it can't be had again.

    It takes the place of one of that name that has expired by `now_ms`, with `replace` of one that hasn't as well.

    Raises:
        ThrongError: `usage` if the name is taken or can't stand in a line of a log, `tokens` if the file can't be
            read or written.
    """
    if not (name.strip() and name.isprintable() and len(name) <= NAME_LENGTH):
        raise ThrongError(
            "usage", f"{name[:NAME_LENGTH]!r} can't name a token: use 1 to {NAME_LENGTH} printable characters"
        )
    tokens = load(file)
    if not replace and any(token.name == name and not token.expired(now_ms) for token in tokens):
        raise ThrongError("usage", f"there is a token of the name {name!r} already: revoke it first, or --replace it")
    made = f"throng_{secrets.token_urlsafe(32)}"
    others = (token for token in tokens if token.name != name)
    _write(file, (*others, Token(name, purpose, hashed(made), rfc3339(expires_ms))))
    return made


def revoke(file: Path, name: str) -> None:
    """Take a token out of the file.

    Raises:
        ThrongError: `usage` if there is none of that name, `tokens` if the file can't be read or written.
    """
    tokens = load(file)
    if all(token.name != name for token in tokens):
        raise ThrongError("usage", f"there is no token of the name {name!r}")
    _write(file, [token for token in tokens if token.name != name])


def _write(file: Path, tokens: Sequence[Token]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f"{file.name}.new")
        beside.touch(mode=0o600)
        beside.write_bytes(b"".join(msgspec.json.encode(token) + b"\n" for token in tokens))
        os.replace(beside, file)  # noqa: PTH105
    except OSError as error:
        raise ThrongError("tokens", f"cannot write the tokens {file}: {error.strerror}") from error


class Tokens:
    """The file's tokens as they are now: read again when it changes, so a revoked one is refused at once."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._tokens = load(file)

    def of(self, presented: str) -> Token | None:
        """Whose token it is, if anybody's."""
        try:
            read = self._file.stat()
            stamp = (read.st_mtime_ns, read.st_ino)
        except FileNotFoundError:
            stamp = (0, 0)
        if stamp != self._stamp:
            self._tokens, self._stamp = load(self._file), stamp
        return holder(self._tokens, presented)
