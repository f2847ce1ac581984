"""The table of subscribers: open addressing, one 32-byte row each, ordered by a hash of the pseudonym.

A pseudonym's place is its 32-bit hash scaled to the table's size; a row that finds its place taken goes to the next
free one (linear probing). The scaling keeps the order of hashes, so that enlarging the table is one pass from front
to back over both, and the table can grow by a quarter at a time: it stands between 0.64 and 0.8 full. With two
bytes for each capped measure (three by default) that is 48 to 60 bytes a subscriber.

Times in a row are milliseconds since the epoch's start. A pseudonym is never 0: 0 marks a free row.
"""

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

SMALLEST: Final = 8192
_LINE: Final = 64


class Slots(NamedTuple):
    """`rows` ROW[n]; `used` u16[n, capped measures], what each has counted for the subscriber in the epoch."""

    rows: NDArray[np.void]
    used: NDArray[np.uint16]


def new_slots(size: int, capped: int) -> Slots:
    """`size` free rows, two to a cache line."""
    memory = np.zeros(size * ROW.itemsize + _LINE, np.uint8)
    first = -memory.ctypes.data % _LINE
    return Slots(memory[first : first + size * ROW.itemsize].view(ROW), np.zeros((size, capped), np.uint16))


def with_room(slots: Slots, subscribers: int, more: int) -> Slots:
    """The same table, or a larger one, in which `more` new subscribers bring it to 0.8 at most."""
    size = len(slots.rows)
    if (subscribers + more) * 5 <= size * 4:
        return slots
    while (subscribers + more) * 5 > size * 4:
        size += size // 4
    larger = new_slots(size, slots.used.shape[1])
    _move(slots.rows, slots.used, larger.rows, larger.used)
    return larger


@njit(cache=True, nogil=True)
def _find(rows, pseudonym):  # type: ignore[no-untyped-def]
    """The row of a pseudonym, or the free one where it goes."""
    hashed = (pseudonym * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
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


class Columns(NamedTuple):
    """A table's rows as a snapshot has them, in any order: the fields of `ROW`, and `used`."""

    pseudonym: NDArray[np.uint64]
    start: NDArray[np.int32]
    last: NDArray[np.int32]
    before_start: NDArray[np.int32]
    left: NDArray[np.uint32]
    zone: NDArray[np.uint16]
    before: NDArray[np.uint16]
    stayed: NDArray[np.uint16]
    cohort: NDArray[np.uint8]
    flags: NDArray[np.uint8]
    used: NDArray[np.uint16]


@njit(cache=True, nogil=True)
def fill(rows, used, columns: Columns):  # type: ignore[no-untyped-def]
    """Put new subscribers' rows into a table that has room for them."""
    for i in range(len(columns.pseudonym)):
        at = _find(rows, columns.pseudonym[i])
        row = rows[at]
        row["pseudonym"] = columns.pseudonym[i]
        row["start"] = columns.start[i]
        row["last"] = columns.last[i]
        row["before_start"] = columns.before_start[i]
        row["left"] = columns.left[i]
        row["zone"] = columns.zone[i]
        row["before"] = columns.before[i]
        row["stayed"] = columns.stayed[i]
        row["cohort"] = columns.cohort[i]
        row["flags"] = columns.flags[i]
        used[at] = columns.used[i]


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
