"""Subscribers and their departures in a form with little in it, and back: what a snapshot keeps of them.

Out: rows and departures by subscriber, in the order of the pseudonyms' hashes, each told by what can't be known from
what stands before it:

    pseudonym       its product with the hash's factor, less that of the subscriber before: they rise, so this is small
    last            0 if nobody heard of the presence after its start
    before          nothing if the newest departure was from there, which says so in its `live`
    before_start    less the end of the departure before that one, which mostly is when it began
    stayed          how it differs from the present zone
    departures      newest first: by how much each ended before the present presence began (mostly not at all: one is
                    left by coming to the other) or before the next departure; by how their cohorts differ

with zeros for what no later sighting can ask for. Departures that no subscriber has any more (annulled, or replaced by
a newer one from the same zone) are not in it. `unpack` gives rows and a ring that any later sighting finds as it would
have found the first ones: departures are numbered anew, by their ends. Nothing can fail but a size that doesn't fit
(ValueError).
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.core.crowd.departures import DEPARTURE, HEAD, SMALLEST, TAIL, Departures, of_records
from streams.core.crowd.planes import from_planes, words
from streams.core.crowd.slots import (
    BARRED,
    BEFORE_BEGUN_BEFORE,
    BEFORE_STAY,
    FACTOR,
    LONGEST_EPOCH_MS,
    NOWHERE,
    OF_LENGTH,
    OF_START,
    ROW,
)

UNDO_FACTOR: Final = np.uint64(pow(int(FACTOR), -1, 1 << 64))
PACKED_DEPARTURE: Final = np.dtype([("earlier", "<u4"), ("zone", "<u2"), ("cohort", "u1"), ("live", "u1")])
# In a packed departure's `live`: its zone is its subscriber's `before`.
_IS_BEFORE: Final = 2


class Packed(NamedTuple):
    """Subscribers in the order of their hashes.

    Attributes:
        places: i64[n], where their rows are in the table. rows: ROW[n].
        times: u32[n], how many departures each has. departures: PACKED_DEPARTURE[sum of `times`].
    """

    places: NDArray[np.int64]
    rows: NDArray[np.void]
    times: NDArray[np.uint32]
    departures: NDArray[np.void]


class Unpacked(NamedTuple):
    """`rows` ROW[n], and the departures that they name."""

    rows: NDArray[np.void]
    departures: Departures


def pack(rows: NDArray[np.void], gone: Departures, opened: int, ping_pong: int) -> Packed:
    """The subscribers of a table, and their departures.

    Args:
        opened: start of the open base pane, ms since the epoch's. ping_pong: ms.
    """
    taken = np.flatnonzero(rows["pseudonym"])
    places = taken[np.argsort(rows["pseudonym"][taken] * FACTOR, kind="stable")]
    lean, times = np.empty(len(places), ROW), np.empty(len(places), np.uint32)
    departures = np.empty(int(gone.span[HEAD] - gone.span[TAIL]), PACKED_DEPARTURE)
    number = _pack_chains(rows, places, gone.ring, gone.span[TAIL], opened, ping_pong, lean, times, departures)
    return Packed(places, lean, times, departures[:number])


def unpack(heard: int, rows: bytes, times: bytes, departures: bytes) -> Unpacked:
    """The reverse of `pack`, from the planes of its columns of `heard` subscribers.

    Raises:
        ValueError: the planes are of other numbers.
    """
    lean = from_planes(rows, heard, ROW.itemsize).reshape(-1).view(ROW)
    each = words(times, heard)
    number = int(each.sum(dtype=np.uint64))
    packed = from_planes(departures, number, PACKED_DEPARTURE.itemsize).reshape(-1).view(PACKED_DEPARTURE)
    found = np.empty(number, DEPARTURE)
    _unpack_chains(lean, each, packed, found)
    by_end = _by_end(found["end"])
    numbers = np.empty(number, np.uint32)
    numbers[by_end] = np.arange(1, number + 1, dtype=np.uint32)
    _link_chains(lean, each, numbers, found)
    return Unpacked(lean, restored(found[by_end], np.array([1, number + 1])))


def _by_end(ends: NDArray[np.int32]) -> NDArray[np.int64]:
    """The order that they are numbered in, so that the ring forgets what ended first: by 16 bits of the time, which is
    as near as the order was in which they were noted, and is sorted six times as fast as all of it. Of those alike the
    older one of a subscriber comes first, as the chains need it."""
    if not len(ends):
        return np.empty(0, np.int64)
    since = ends[::-1].astype(np.int64) - int(ends.min())
    coarse = (since >> max(0, int(since.max()).bit_length() - 16)).astype(np.uint16)
    return len(ends) - 1 - np.argsort(coarse, kind="stable")


def restored(records: NDArray[np.void], span: NDArray[np.int64]) -> Departures:
    """A ring of these departures, with room for more."""
    return of_records(records, span, len(records) + max(len(records) // 8, SMALLEST))


def numbers_of(places: NDArray[np.int64], rows: int) -> NDArray[np.uint32]:
    """The number of each of the table's rows among those at these places, u32[rows]."""
    numbers = np.zeros(rows, np.uint32)
    numbers[places] = np.arange(len(places), dtype=np.uint32)
    return numbers


def by_owner(
    keys: NDArray[np.uint32], owners: NDArray[np.uint32], number: int
) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The keys in the order of their owners, of whom there are `number`, and how many each has, u32[number]: in two
    thirds of the bytes that keys and owners take one beside the other, once compressed."""
    times = np.bincount(owners, minlength=number).astype(np.uint32)
    ordered = np.empty_like(keys)
    _by_owner(keys, owners, np.cumsum(times) - times, ordered)
    return ordered, times


@njit(cache=True, nogil=True)
def _by_owner(keys, owners, following, ordered):  # type: ignore[no-untyped-def]
    """`following`: where each owner's next key goes."""
    for i in range(len(keys)):
        ordered[following[owners[i]]] = keys[i]
        following[owners[i]] += 1


@njit(cache=True, nogil=True)
def _pack_chains(rows, places, ring, tail, opened, ping_pong, lean, times, departures):  # type: ignore[no-untyped-def]
    """Returns how many departures there are."""
    filled, product = 0, np.uint64(0)
    for number in range(len(places)):
        lean[number] = rows[places[number]]
        row = lean[number]
        _forget(row, opened, ping_pong)
        first, end, cohort, left = filled, np.int64(row["start"]), row["cohort"], np.int64(row["left"])
        while left >= tail:
            gone, packed = ring[left % len(ring)], departures[filled]
            packed["earlier"] = end - gone["end"]
            packed["zone"] = gone["zone"]
            packed["cohort"] = gone["cohort"] ^ cohort
            packed["live"] = gone["live"]
            end, cohort, left = np.int64(gone["end"]), gone["cohort"], np.int64(gone["older"])
            filled += 1
        times[number] = filled - first
        if row["before"] != NOWHERE and row["before"] != BARRED:
            began = _before_began(row["start"], departures, first, filled)
            start = ((row["before_start"] >> OF_START) - began) & LONGEST_EPOCH_MS
            row["before_start"] = (start << OF_START) | (row["before_start"] & OF_LENGTH)
            if filled > first and departures[first]["zone"] == row["before"]:
                departures[first]["live"] |= _IS_BEFORE
                row["before"] = NOWHERE
        if row["last"] == row["start"]:
            row["last"] = 0
        row["left"] = 0
        row["stayed"] ^= row["zone"]
        here = row["pseudonym"] * FACTOR
        row["pseudonym"] = here - product
        product = here
    return filled


@njit(cache=True, nogil=True, inline="always")
def _forget(row, opened, ping_pong):  # type: ignore[no-untyped-def]
    """Zeros for what no later sighting can ask for."""
    if row["before"] != BARRED and row["start"] + ping_pong < opened:
        row["before"] = NOWHERE
        row["flags"] &= ~(BEFORE_STAY | BEFORE_BEGUN_BEFORE)
    if row["zone"] == NOWHERE:
        row["start"] = 0
        row["last"] = 0
        row["cohort"] = 0
    if row["before"] == NOWHERE or row["before"] == BARRED:
        row["before_start"] = 0


@njit(cache=True, nogil=True, inline="always")
def _before_began(start, departures, first, end):  # type: ignore[no-untyped-def]
    """When the presence before began, if it was entered directly: when the departure before the newest one ended. 0 if
    there is none."""
    return np.int64(0) if end < first + 2 else start - departures[first]["earlier"] - departures[first + 1]["earlier"]


@njit(cache=True, nogil=True)
def _unpack_chains(rows, times, packed, departures):  # type: ignore[no-untyped-def]
    """All but how departures are linked."""
    first, product = np.int64(0), np.uint64(0)
    for number in range(len(rows)):
        row = rows[number]
        product += row["pseudonym"]
        row["pseudonym"] = product * UNDO_FACTOR
        row["stayed"] ^= row["zone"]
        if row["last"] == 0:
            row["last"] = row["start"]
        behind = first + np.int64(times[number])
        if behind > first and packed[first]["live"] & _IS_BEFORE:
            packed[first]["live"] ^= _IS_BEFORE
            row["before"] = packed[first]["zone"]
        if row["before"] != NOWHERE and row["before"] != BARRED:
            began = _before_began(row["start"], packed, first, behind)
            start = ((row["before_start"] >> OF_START) + began) & LONGEST_EPOCH_MS
            row["before_start"] = (start << OF_START) | (row["before_start"] & OF_LENGTH)
        end, cohort = np.int64(row["start"]), row["cohort"]
        for at in range(first, behind):
            end -= packed[at]["earlier"]
            cohort ^= packed[at]["cohort"]
            departures[at]["end"] = end
            departures[at]["zone"] = packed[at]["zone"]
            departures[at]["cohort"] = cohort
            departures[at]["live"] = packed[at]["live"]
        first = behind


@njit(cache=True, nogil=True)
def _link_chains(rows, times, numbers, departures):  # type: ignore[no-untyped-def]
    first = np.int64(0)
    for number in range(len(rows)):
        behind = first + np.int64(times[number])
        rows[number]["left"] = numbers[first] if behind > first else 0
        for at in range(first, behind):
            departures[at]["older"] = numbers[at + 1] if at + 1 < behind else 0
        first = behind
