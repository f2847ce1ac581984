"""The table of subscribers: open addressing, one 32-byte row each, ordered by a hash of the pseudonym.

A pseudonym's place is its 32-bit hash scaled to the table's size; a row that finds its place taken goes to the next
free one (linear probing). The scaling keeps the order of hashes, so that enlarging the table is one pass from front
to back over both, and the table can grow by an eighth at a time: it stands between 0.76 and 0.85 full. With a byte for
each capped measure (three by default; two if a cap is above 255) that is 41 to 46 bytes a subscriber.

Times in a row are milliseconds since the epoch's start. A pseudonym is never 0: 0 marks a free row.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

NOWHERE: Final = 0xFFFF
# In `before` of a subscriber who is nowhere: opted out, until an opt-in or the epoch's end. No zone has this number.
BARRED: Final = 0xFFFE

# `before` is the zone that the present one was entered from directly, at `start`, and `before_start` the presence's
# start there: the ping-pong memory. `stayed` is the zone of the last stay; `left` the newest departure's number.
ROW: Final = np.dtype(
    [
        ("pseudonym", "<u8"),
        ("start", "<i4"),
        ("last", "<i4"),
        ("before_start", "<i4"),
        ("left", "<u4"),
        ("zone", "<u2"),
        ("before", "<u2"),
        ("stayed", "<u2"),
        ("cohort", "u1"),
        ("flags", "u1"),
    ]
)

# Bits of `flags`: the presence is a stay; the one before was; an older departure from the present zone is hidden; and
# from ARRIVED on one bit for each arrivals measure that has counted the presence.
STAY: Final = 1
BEFORE_STAY: Final = 2
HIDDEN: Final = 4
ARRIVED: Final = 8
MOST_ARRIVALS: Final = 5

# Of the hash: 2 to the 64th by the golden ratio, odd (Knuth, volume 3, section 6.4).
FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)

SMALLEST: Final = 8192
_LINE: Final = 64


class Slots(NamedTuple):
    """`rows` ROW[n]; `used` u8 or u16[n, capped measures], what each has counted for the subscriber in the epoch."""

    rows: NDArray[np.void]
    used: NDArray[np.unsignedinteger]


def new_slots(size: int, caps: Sequence[int]) -> Slots:
    """`size` free rows, two to a cache line; `caps` of the capped measures."""
    return _free(size, len(caps), np.dtype(np.uint8) if max(caps, default=0) <= 0xFF else np.dtype(np.uint16))


def _free(size: int, capped: int, kind: np.dtype[np.unsignedinteger]) -> Slots:
    memory = np.zeros(size * ROW.itemsize + _LINE, np.uint8)
    first = -memory.ctypes.data % _LINE
    return Slots(memory[first : first + size * ROW.itemsize].view(ROW), np.zeros((size, capped), kind))


def with_room(slots: Slots, subscribers: int, more: int) -> Slots:
    """The same table, or a larger one, in which `more` new subscribers bring it to 0.85 at most."""
    size = len(slots.rows)
    if (subscribers + more) * 20 <= size * 17:
        return slots
    while (subscribers + more) * 20 > size * 17:
        size += size // 8
    larger = _free(size, slots.used.shape[1], slots.used.dtype)
    _move(slots.rows, slots.used, larger.rows, larger.used)
    return larger


@njit(cache=True, nogil=True)
def _find(rows, pseudonym):  # type: ignore[no-untyped-def]
    """The row of a pseudonym, or the free one where it goes."""
    hashed = (pseudonym * FACTOR) >> np.uint64(32)
    at = np.int64((hashed * np.uint64(len(rows))) >> np.uint64(32))
    while rows[at]["pseudonym"] != pseudonym and rows[at]["pseudonym"] != 0:
        at += 1
        if at == len(rows):
            at = np.int64(0)
    return at


@njit(cache=True, nogil=True)
def _move(rows, used, larger, larger_used):  # type: ignore[no-untyped-def]
    for at in range(len(rows)):
        if rows[at]["pseudonym"] != 0:
            target = _find(larger, rows[at]["pseudonym"])
            larger[target] = rows[at]
            larger_used[target] = used[at]


@njit(cache=True, nogil=True)
def fill(rows, used, new, new_used):  # type: ignore[no-untyped-def]
    """Put new subscribers' rows into a table that has room for them."""
    for i in range(len(new)):
        at = _find(rows, new[i]["pseudonym"])
        rows[at] = new[i]
        used[at] = new_used[i]


@njit(cache=True, nogil=True)
def find_or_add(rows, pseudonyms, adds, found):  # type: ignore[no-untyped-def]
    """Write the rows' numbers of `pseudonyms` to `found`, adding new ones (nowhere yet) where `adds`, else -1 for one
    that isn't there. Returns how many were new.

    There must be room. Done for many at a time, so that the waits for memory overlap.
    """
    added = 0
    for i in range(len(pseudonyms)):
        at = _find(rows, pseudonyms[i])
        if rows[at]["pseudonym"] == 0:
            if not adds[i]:
                found[i] = -1
                continue
            rows[at]["pseudonym"] = pseudonyms[i]
            rows[at]["zone"] = NOWHERE
            rows[at]["before"] = NOWHERE
            rows[at]["stayed"] = NOWHERE
            added += 1
        found[i] = at
    return added
