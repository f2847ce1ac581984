"""The `salts` topic: each epoch's salt, wrapped under a key of that epoch alone; the first record of an epoch
wins."""

from typing import Final

import msgspec

# Every release's records have these names: by them a record is told from what throng didn't write.
NAMED: Final = frozenset({"epoch", "key_id", "sealed"})


class WrappedSalt(msgspec.Struct, frozen=True):
    """AES-256-GCM of 32 bytes; the associated data binds the epoch and the key's id.

    Attributes:
        nonce: empty where the key provider keeps it within `sealed`.
    """

    epoch: int
    key_id: str
    nonce: bytes
    sealed: bytes
