"""Subscribers of others' data as IMSIs of the test network 001-01: a keyed hash, the same throughout a run.

The key is random and forgotten unless a file of it is given: then runs agree with each other. A hash needs no table, so
memory doesn't grow; of a million subscribers about 50 pairs get the same IMSI (10 digits are left to the hash), and
are one person from then on.
"""

import secrets
from hashlib import blake2b
from pathlib import Path
from typing import Final

from schemas.attach import pack_imsi
from streams.errors import ThrongError
from streams.importing.drafts import Unusable

NETWORK: Final = "00101"
DIGITS: Final = 10
SHORTEST_KEY: Final = 16
LONGEST_KEY: Final = 64


class Disguise:
    """Subscribers to IMSIs. With `keep` they must be IMSIs, and stay what they are."""

    def __init__(self, key: bytes, keep: bool = False) -> None:
        self._key = key
        self._keep = keep

    def imsi(self, subscriber: str) -> str:
        """The subscriber's IMSI.

        Raises:
            Unusable: it is to be kept and is none.
        """
        if self._keep:
            try:
                pack_imsi(subscriber)
            except ValueError as error:
                raise Unusable("a subscriber that is no IMSI") from error
            return subscriber
        digest = blake2b(subscriber.encode("utf-8", "surrogatepass"), key=self._key, digest_size=16).digest()
        return f"{NETWORK}{int.from_bytes(digest, 'little') % 10**DIGITS:0{DIGITS}d}"


def key_of(path: Path | None) -> bytes:
    """The key of a file, made if there is none yet; without a file a key that nobody will know.

    Raises:
        ThrongError: `import` if the file can't be used.
    """
    if path is None:
        return secrets.token_bytes(32)
    try:
        if not path.exists():
            path.touch(mode=0o600)
            path.write_bytes(secrets.token_bytes(32))
        key = path.read_bytes()
    except OSError as error:
        raise ThrongError("import", f"cannot use the key {path}: {error.strerror}") from error
    if not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ThrongError("import", f"the key {path} has {len(key)} bytes; {SHORTEST_KEY} to {LONGEST_KEY} are needed")
    return key
