"""The table of subscribers: open addressing, one 32-byte row each, ordered by a hash of the pseudonym.

A pseudonym's place is its 32-bit hash scaled to the table's size; a row that finds its place taken goes to the next
free one (linear probing). The scaling keeps the order of hashes, so that enlarging the table is one pass from front
to back over both, and the table can grow by a tenth at a time, once it is full: it stands between 0.795 and 0.875 full.
With a byte for each count against a cap (four by default; two if a cap is above 255) that is 41 to 46 bytes a
subscriber; where visits are numbered, the zones of stays take 10 more, the minute of a departure 2, where travel times
are counted, and home and work area 5 each.

Times in a row are milliseconds since the epoch's start. A pseudonym is never 0: 0 marks a free row.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.core.compiled.blocks import BLOCK_BITS, NEVER, blocks_of
from streams.core.compiled.borrowed import borrowed
from streams.core.compiled.words import fetch, put_word, word

NOWHERE: Final = 0xFFFF
# In `before` of a subscriber who is nowhere: opted out, until an opt-in or the epoch's end. No zone has this number.
BARRED: Final = 0xFFFE

# `before` is the zone that the present one was entered from directly, at `start`, and `before_start` the presence's
# start there, with the bucket of its length in its last bits: the ping-pong memory. `stayed` is the zone of the last
# stay; `left` the newest departure's number.
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

# Bits of `before_start`: of the bucket, and above them the start.
OF_START: Final = 3
OF_LENGTH: Final = (1 << OF_START) - 1
# What fits in there, ms: three days.
LONGEST_EPOCH_MS: Final = (1 << (31 - OF_START)) - 1

# Bits of `flags`: the presence is a stay, or may have begun before the epoch; the one before was or may have, a bit
# higher; an older departure from the present zone is hidden; and from ARRIVED on one bit for each arrivals measure (at
# most `MOST_ARRIVALS`) that has counted the presence.
STAY: Final = 1
BEGUN_BEFORE: Final = 4
OF_BEFORE: Final = 1
BEFORE_STAY: Final = STAY << OF_BEFORE
BEFORE_BEGUN_BEFORE: Final = BEGUN_BEFORE << OF_BEFORE
HIDDEN: Final = 16
ARRIVED: Final = 32

# Zones of stays that are remembered of a subscriber, to number visits.
KNOWN: Final = 4

# Of the hash: 2 to the 64th by the golden ratio, odd (Knuth, volume 3, section 6.4).
FACTOR: Final = np.uint64(0x9E3779B97F4A7C15)

ROW_BYTES: Final = ROW.itemsize
SMALLEST: Final = 8192
# A table is enlarged by this part of it: by a larger one each row is moved less often, and more of it stays free.
GROWS_BY: Final = 10
_LINE: Final = 64
_TO_A_LINE: Final = _LINE // ROW_BYTES
# Lines, and so rows, in which a subscriber is looked for first.
_LINES: Final = 3
AT_HAND: Final = _LINES * _TO_A_LINE
# Subscribers looked up while memory brings their rows: at hand, and beyond.
AHEAD: Final = 64
NEAR: Final = 8


class Slots(NamedTuple):
    """The table's columns.

    Attributes:
        rows: ROW[n].
        used: u8 or u16[n, capped measures], what each has counted for the subscriber in the epoch.
        known: u16 or u32[n, KNOWN], where visits are numbered (else [n, 0]): zones of stays, in the order of their
            first visit, each as (zone + 1) x 4 + the visits after the first, up to 2.
        departed: u16[n, 1], where travel times count (else [n, 0]): when the last stay was left, in whole minutes since
            the epoch's start, + 1; 0: the phone was off or silent since, or before, so that nobody knows.
        areas: u32[n, home and work as far as they count]: the parent + 1, and above these 16 bits how many seconds of
            the area's hours the stay covered that it is known by; 0: not known.
    """

    rows: NDArray[np.void]
    used: NDArray[np.unsignedinteger]
    known: NDArray[np.unsignedinteger]
    departed: NDArray[np.uint16]
    areas: NDArray[np.unsignedinteger]


def new_slots(size: int, caps: Sequence[int], visited: int = 0, travelled: bool = False, areas: int = 0) -> Slots:
    """`size` free rows, two to a cache line. `caps` of the counts against them; `visited`: zones, if visits count;
    `travelled`: travel times do; `areas`: how many are known of each."""
    kind = np.uint8 if max(caps, default=0) <= 0xFF else np.uint16
    known = np.uint16 if (visited + 1) * 4 <= 0xFFFF else np.uint32
    beside = (np.zeros((0, len(caps)), kind), np.zeros((0, KNOWN if visited else 0), known))
    return _free(size, *beside, np.zeros((0, int(travelled)), np.uint16), np.zeros((0, areas), np.uint32))


def _free(size: int, *beside: NDArray[np.unsignedinteger]) -> Slots:
    """With columns like these beside the rows."""
    memory = np.zeros(size * ROW_BYTES + _LINE, np.uint8)
    first = -memory.ctypes.data % _LINE
    rows = memory[first : first + size * ROW_BYTES].view(ROW)
    return Slots(rows, *(np.zeros((size, like.shape[1]), like.dtype) for like in beside))


class Larger(NamedTuple):
    """A table that has grown. `due`: see `larger`; `rows` u32[rows before]: where each subscriber's row is now."""

    slots: Slots
    due: NDArray[np.int32]
    rows: NDArray[np.uint32]


def larger(slots: Slots, due: NDArray[np.int32], subscribers: int) -> Larger:
    """A larger table, which so many subscribers bring to 0.875 at most.

    `due`: a time for each of the table's `blocks`; of a larger one's block it is the least of where its rows come from.
    """
    size = len(slots.rows)
    while subscribers * 8 > size * 7:
        size += size // GROWS_BY
    grown = Larger(_free(size, *slots[1:]), blocks_of(size, NEVER), np.zeros(len(slots.rows), np.uint32))
    _move(_words(slots), due, _words(grown.slots), grown.due, grown.rows)
    return grown


def room(slots: Slots, subscribers: int) -> int:
    """How many more subscribers it takes before it must be enlarged."""
    return len(slots.rows) * 7 // 8 - subscribers


@njit(cache=True, nogil=True, inline="always")
def _home(rows, pseudonym):  # type: ignore[no-untyped-def]
    """Where a pseudonym goes if nobody is there."""
    hashed = (pseudonym * FACTOR) >> np.uint64(32)
    return np.int64((hashed * np.uint64(len(rows))) >> np.uint64(32))


@njit(cache=True, nogil=True)
def _find(rows, pseudonym):  # type: ignore[no-untyped-def]
    """The row of a pseudonym, or the free one where it goes."""
    at = _home(rows, pseudonym)
    while rows[at]["pseudonym"] != pseudonym and rows[at]["pseudonym"] != 0:
        at += 1
        if at == len(rows):
            at = np.int64(0)
    return at


@njit(cache=True, nogil=True, inline="always")
def _put(slots, rows, used, known, departed, areas, i):  # type: ignore[no-untyped-def]
    """Put a subscriber's row, of tables like these, where it goes: element by element, faster than by slices. Returns
    where that is."""
    target = _find(slots.rows, rows[i]["pseudonym"])
    slots.rows[target] = rows[i]
    for m in range(used.shape[1]):
        slots.used[target, m] = used[i, m]
    for m in range(known.shape[1]):
        slots.known[target, m] = known[i, m]
    for m in range(departed.shape[1]):
        slots.departed[target, m] = departed[i, m]
    for m in range(areas.shape[1]):
        slots.areas[target, m] = areas[i, m]
    return target


@njit(cache=True, nogil=True)
def _move(slots, due, larger, larger_due, to):  # type: ignore[no-untyped-def]
    """Move all subscribers, and note `to` where. Of both the columns beside the rows are in `_words`."""
    slots, larger = borrowed(slots), borrowed(larger)
    memory, new_memory = np.int64(slots.rows.ctypes.data), np.int64(larger.rows.ctypes.data)
    for at in range(len(slots.rows)):
        row = memory + at * ROW_BYTES
        if word(row) == 0:
            continue
        target = _home(larger.rows, word(row))
        while word(new_memory + target * ROW_BYTES) != 0:
            target += 1
            if target == len(larger.rows):
                target = np.int64(0)
        to[at] = target
        new_row = new_memory + target * ROW_BYTES
        for first in range(0, ROW_BYTES, 8):
            put_word(new_row + first, np.int64(word(row + first)))
        _copy(larger.used, target, slots.used, at)
        _copy(larger.known, target, slots.known, at)
        _copy(larger.departed, target, slots.departed, at)
        _copy(larger.areas, target, slots.areas, at)
        block = target >> BLOCK_BITS
        larger_due[block] = min(larger_due[block], due[at >> BLOCK_BITS])


@njit(cache=True, nogil=True, forceinline=True)
def _copy(to, target, words, at):  # type: ignore[no-untyped-def]
    """One row of a column. Mostly it is one word, and a loop over it would take longer than the copy."""
    if words.shape[1] == 1:
        to[target, 0] = words[at, 0]
    else:
        for m in range(words.shape[1]):
            to[target, m] = words[at, m]


def _words(slots: Slots) -> Slots:
    """The same memory, each column beside the rows in words as long as fit."""
    return Slots(slots.rows, *(_in_words(column) for column in slots[1:]))


def _in_words(column: NDArray[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    size = column.itemsize * column.shape[1]
    return column.view(f"<u{next(word for word in (8, 4, 2, 1) if size % word == 0)}") if size else column


@njit(cache=True, nogil=True)
def fill(slots, rows, used, known, departed, areas):  # type: ignore[no-untyped-def]
    """Put new subscribers' rows into a table that has room for them; where each went, u32[n]."""
    slots, rows, used = borrowed(slots), borrowed(rows), borrowed(used)
    known, departed, areas = borrowed(known), borrowed(departed), borrowed(areas)
    at = np.empty(len(rows), np.uint32)
    for i in range(len(rows)):
        at[i] = _put(slots, rows, used, known, departed, areas, i)
    return at


@njit(cache=True, nogil=True, inline="always")
def _first_at_hand(rows, pseudonym):  # type: ignore[no-untyped-def]
    """Where the rows begin that are looked at for a pseudonym first: in its place's cache line, or before the end."""
    return min(_home(rows, pseudonym), len(rows) - AT_HAND) & -_TO_A_LINE


@njit(cache=True, nogil=True, inline="always")
def _fetch_lines(row):  # type: ignore[no-untyped-def]
    for line in range(_LINES):
        fetch(row + line * _LINE)


@njit(cache=True, nogil=True)
def find_or_add(rows, pseudonyms, adds, room, found):  # type: ignore[no-untyped-def]
    """Write the rows' numbers of `pseudonyms` to `found`, adding new ones (nowhere yet) where `adds`, else -1 for one
    that isn't there. Returns how many were new, and for how many that went: there it stops once it would have to add
    more than `room`. Of a table of `AT_HAND` rows at least.

    Done for many at a time, so that the waits for memory overlap: most are in the rows at hand, which are compared
    without a branch that could be guessed wrong; the others, and the new ones, are gone through after them.
    """
    rows, pseudonyms, adds, found = borrowed(rows), borrowed(pseudonyms), borrowed(adds), borrowed(found)
    memory, number = np.int64(rows.ctypes.data), len(pseudonyms)
    others, other = np.empty(number, np.int64), 0
    for i in range(min(AHEAD, number)):
        _fetch_lines(memory + _first_at_hand(rows, pseudonyms[i]) * ROW_BYTES)
    for i in range(number):
        if i + AHEAD < number:
            _fetch_lines(memory + _first_at_hand(rows, pseudonyms[i + AHEAD]) * ROW_BYTES)
        pseudonym = pseudonyms[i]
        first, place = _first_at_hand(rows, pseudonym), -1
        for row in range(AT_HAND):
            place = row if word(memory + (first + row) * ROW_BYTES) == pseudonym else place
        found[i] = first + place
        others[other] = i
        other += int(place < 0)
    added = 0
    for n in range(other):
        if n + NEAR < other:
            first = _first_at_hand(rows, pseudonyms[others[n + NEAR]]) + AT_HAND
            _fetch_lines(memory + first * ROW_BYTES)
        i = others[n]
        at = _find(rows, pseudonyms[i])
        if rows[at]["pseudonym"] == 0:
            if not adds[i]:
                found[i] = -1
                continue
            if added == room:
                return added, i
            rows[at]["pseudonym"] = pseudonyms[i]
            rows[at]["zone"] = NOWHERE
            rows[at]["before"] = NOWHERE
            rows[at]["stayed"] = NOWHERE
            added += 1
        found[i] = at
    return added, number
