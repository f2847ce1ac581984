"""The reorder buffer: sightings wait here until the watermark has passed them.

In: the sections of frames, each source's in the order of its log. Out: all rows before a time, in the total order
(event time, source, offset, index). A source's rows wait in log order, so offsets need not be kept: rows are grouped
by source and then sorted by time, stably. Times of one call lie within seconds to minutes, so sorting by 11 bits at a
time takes two passes (`in_time`; `numpy.argsort(ts, kind="stable")` is the reference).
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.sightings import Head
from streams.core.compiled.borrowed import borrowed

DIGIT_BITS: Final = 11
SMALLEST: Final = 4096


class Rows(NamedTuple):
    """Columns of equal length: u64, i64 (ms), u16, u8, u8."""

    pseudonym: NDArray[np.uint64]
    ts: NDArray[np.int64]
    zone: NDArray[np.uint16]
    cohort: NDArray[np.uint8]
    kind: NDArray[np.uint8]


class Reorder:
    """Rows waiting: columns with room at their end. `size`: how many."""

    def __init__(self) -> None:
        self._rows = _empty(0)
        # Of each row, the number of its source in `_numbers`, which counts them as they are first heard.
        self._from = np.empty(0, np.uint16)
        self._numbers: dict[int, int] = {}
        self.size = 0

    def add(self, source: int, rows: Rows) -> None:
        """Take the next rows of a source's log."""
        end = self.size + len(rows.ts)
        self._make_room(end)
        _copy(rows, self._rows, slice(self.size, end))
        self._from[self.size : end] = self._number(source)
        self.size = end

    def add_sections(self, value: bytes, sections: Sequence[tuple[Head, int, int]]) -> int:
        """Take sections of a frame: each with the first offset that counts, and the time, ms, that no row is before.

        Returns how many rows they had.
        """
        what = [
            (h.position, h.rows, h.base_ts, first - h.from_, at, self._number(h.source)) for h, first, at in sections
        ]
        if not what:
            return 0
        self._make_room(self.size + sum(head.rows for head, _, _ in sections))
        before = self.size
        frame = np.frombuffer(value, np.uint8)
        self.size = int(_unpack(frame, np.array(what, np.int64), self._rows, self._from, self.size))
        return self.size - before

    def take_before(self, time_ms: int) -> Rows:
        """Remove and return, in the total order, the rows with `ts < time_ms`."""
        by_source = np.empty(len(self._numbers), np.int64)
        by_source[[self._numbers[source] for source in sorted(self._numbers)]] = np.arange(len(self._numbers))
        found: Rows
        found, self.size = _taken(self._rows, self._from, self.size, time_ms, by_source)
        if len(self._from) > SMALLEST and self.size < len(self._from) // 8:
            self._resize(self.size * 2)
        return found

    def by_source(self) -> dict[int, Rows]:
        """All that waits, for a snapshot: copies."""
        there = self._from[: self.size]
        waiting = select(self._rows, slice(self.size))
        return {
            source: select(waiting, there == number)
            for source, number in sorted(self._numbers.items())
            if (there == number).any()
        }

    def _number(self, source: int) -> int:
        return self._numbers.setdefault(source, len(self._numbers))

    def _make_room(self, size: int) -> None:
        if size > len(self._from):
            self._resize(size + size // 2)

    def _resize(self, size: int) -> None:
        waiting, whose = select(self._rows, slice(self.size)), self._from[: self.size]
        self._rows, self._from = _empty(max(size, SMALLEST)), np.empty(max(size, SMALLEST), np.uint16)
        _copy(waiting, self._rows, slice(self.size))
        self._from[: self.size] = whose


def select(rows: Rows, which: NDArray[np.bool_] | slice) -> Rows:
    """Some of the rows."""
    return Rows(rows.pseudonym[which], rows.ts[which], rows.zone[which], rows.cohort[which], rows.kind[which])


def _empty(size: int) -> Rows:
    # Not compiled, as in `_taken`: large memory comes in huge pages from numpy, from numba in small ones.
    kinds = (np.uint64, np.int64, np.uint16, np.uint8, np.uint8)
    return Rows(*(np.empty(size, kind) for kind in kinds))  # type: ignore[arg-type]


def _copy(rows: Rows, into: Rows, where: slice) -> None:
    into.pseudonym[where], into.ts[where], into.zone[where] = rows.pseudonym, rows.ts, rows.zone
    into.cohort[where], into.kind[where] = rows.cohort, rows.kind


@njit(cache=True, nogil=True)
def _unpack(frame, what, rows, places, size):  # type: ignore[no-untyped-def]
    """Write the rows of sections behind the first `size`; returns how many there are then.

    what: i64[sections, 6]: where the columns begin, how long they are, base_ts, the first offset that counts less
    `from`, the time that no row is before, the source's place.
    """
    frame, rows, places = borrowed(frame), borrowed(rows), borrowed(places)
    for section in range(len(what)):
        at, number, base_ts, first, least_ts, place = what[section]
        pseudonyms = frame[at : at + 8 * number].view(np.uint64)
        times = frame[at + 8 * number : at + 12 * number].view(np.int32)
        offsets = frame[at + 12 * number : at + 16 * number].view(np.uint32)
        zones = frame[at + 20 * number : at + 22 * number].view(np.uint16)
        cohorts = frame[at + 22 * number : at + 23 * number]
        kinds = frame[at + 23 * number : at + 24 * number]
        for i in range(number):
            if np.int64(offsets[i]) < first:
                continue
            rows.pseudonym[size] = pseudonyms[i]
            rows.ts[size] = max(np.int64(times[i]) + base_ts, least_ts)
            rows.zone[size] = zones[i]
            rows.cohort[size] = cohorts[i]
            rows.kind[size] = kinds[i]
            places[size] = place
            size += 1
    return size


@njit(cache=True, nogil=True)
def _taken(rows, places, size, time_ms, by_source):  # type: ignore[no-untyped-def]
    """The rows before a time in the total order, and how many there are when the others have closed up."""
    numbers = in_time(rows.ts, _due(rows.ts, places, size, time_ms, by_source))
    number = len(numbers)
    found = Rows(
        np.empty(number, np.uint64),
        np.empty(number, np.int64),
        np.empty(number, np.uint16),
        np.empty(number, np.uint8),
        np.empty(number, np.uint8),
    )
    _gather(rows, numbers, found)
    return found, _keep(rows, places, size, time_ms)


@njit(cache=True, nogil=True)
def _due(ts, places, size, time_ms, by_source):  # type: ignore[no-untyped-def]
    """The numbers of the rows before a time, grouped by source, those of one as they stand: u32[n]."""
    starts = np.zeros(len(by_source) + 1, np.int64)
    for i in range(size):
        if ts[i] < time_ms:
            starts[by_source[places[i]] + 1] += 1
    for source in range(len(by_source)):
        starts[source + 1] += starts[source]
    numbers = np.empty(starts[-1], np.uint32)
    for i in range(size):
        if ts[i] < time_ms:
            source = by_source[places[i]]
            numbers[starts[source]] = i
            starts[source] += 1
    return numbers


@njit(cache=True, nogil=True)
def in_time(ts, numbers):  # type: ignore[no-untyped-def]
    """The rows of these numbers by time, those of one time as they stand. Overwrites `numbers`.

    Least significant digit first: each pass is stable, so the last one leaves the whole order.
    """
    if len(numbers) == 0:
        return numbers
    first = last = ts[numbers[0]]
    for row in numbers:
        first, last = min(first, ts[row]), max(last, ts[row])
    sorted_ = np.empty(len(numbers), np.uint32)
    starts = np.empty(1 << DIGIT_BITS, np.int64)
    mask = (1 << DIGIT_BITS) - 1
    shift = 0
    while (last - first) >> shift > 0:
        starts[:] = 0
        for row in numbers:
            starts[((ts[row] - first) >> shift) & mask] += 1
        total = 0
        for digit in range(len(starts)):
            count = starts[digit]
            starts[digit] = total
            total += count
        for row in numbers:
            digit = ((ts[row] - first) >> shift) & mask
            sorted_[starts[digit]] = row
            starts[digit] += 1
        numbers, sorted_ = sorted_, numbers
        shift += DIGIT_BITS
    return numbers


@njit(cache=True, nogil=True)
def _gather(rows: Rows, numbers, found: Rows):  # type: ignore[no-untyped-def]
    for i in range(len(numbers)):
        row = numbers[i]
        found.pseudonym[i] = rows.pseudonym[row]
        found.ts[i] = rows.ts[row]
        found.zone[i] = rows.zone[row]
        found.cohort[i] = rows.cohort[row]
        found.kind[i] = rows.kind[row]


@njit(cache=True, nogil=True)
def _keep(rows: Rows, places, size, time_ms):  # type: ignore[no-untyped-def]
    """Close up the rows that are not before a time; returns how many there are."""
    kept = 0
    for i in range(size):
        if rows.ts[i] >= time_ms:
            rows.pseudonym[kept] = rows.pseudonym[i]
            rows.ts[kept] = rows.ts[i]
            rows.zone[kept] = rows.zone[i]
            rows.cohort[kept] = rows.cohort[i]
            rows.kind[kept] = rows.kind[i]
            places[kept] = places[i]
            kept += 1
    return kept
