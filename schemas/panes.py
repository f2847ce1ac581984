"""The `panes` topic: exact counts of one partition at the end of one base pane. Internal, never released."""

import hashlib
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

NO_DIGEST: Final = b""


class Counts(msgspec.Struct, frozen=True, array_like=True):
    """A sparse count vector: little-endian u32, keys ascending, counts above zero."""

    keys: bytes
    values: bytes


class Pane(msgspec.Struct, frozen=True):
    """One partition's counts of base pane `number`, which ends at the epoch's start + number x pane length.

    Attributes:
        counts: by measure; a measure is there if its own pane ends here, even if it counted nothing.
        heard: distinct pseudonyms heard in the epoch so far.
        shut: measures whose pane ends here but isn't whole, since the partition's state was lost; not in `counts`.
        resumed: the state was taken up amid the log after such a loss, and is not whole yet.
        lacking: by measure of how many raw partitions records are missing in what it is counted from, since retention
            took them before they were read; none: nothing is. sources: raw partitions in all, 0 if `lacking` is empty.
        digest: over all else; repeats of a pane are equal, so one that differs is a defect; but one of a resumed state
            may be of less than another worker had.
    """

    epoch: int
    partition: int
    partitions: int
    number: int
    start_ms: int
    end_ms: int
    logic: int
    counts: dict[str, Counts]
    heard: int
    digest: bytes = NO_DIGEST
    shut: tuple[str, ...] = ()
    resumed: bool = False
    lacking: dict[str, int] = {}
    sources: int = 0


def sparse(keys: NDArray[np.integer], values: NDArray[np.integer]) -> Counts:
    """Counts of ascending `keys`; zeros must be left out already."""
    return Counts(keys.astype("<u4").tobytes(), values.astype("<u4").tobytes())


def from_dense(vector: NDArray[np.integer]) -> Counts:
    """Counts of a vector whose index is the key."""
    keys = np.flatnonzero(vector)
    return sparse(keys, vector[keys])


def pairs(counts: Counts) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """(keys, values), u32 each."""
    return np.frombuffer(counts.keys, "<u4"), np.frombuffer(counts.values, "<u4")


def digest(pane: Pane) -> bytes:
    """BLAKE2b-128 over everything but the digest itself, what only a resumed state says if it is none, and what is
    lacking if nothing is."""
    bare = msgspec.to_builtins(msgspec.structs.replace(pane, digest=NO_DIGEST), builtin_types=(bytes,))
    if not pane.resumed:
        del bare["shut"], bare["resumed"]
    if not pane.lacking:
        del bare["lacking"], bare["sources"]
    return hashlib.blake2b(msgspec.msgpack.encode(bare, order="sorted"), digest_size=16).digest()


def sealed(pane: Pane) -> Pane:
    """The pane with its digest."""
    return msgspec.structs.replace(pane, digest=digest(pane))
