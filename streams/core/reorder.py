"""The reorder buffer: sightings wait here until the watermark has passed them.

In: rows of one source in the order of its log. Out: all rows before a time, in the total order (event time, source,
offset, index). Each source's rows are kept in log order and sources are joined in ascending order, so a stable sort
by time alone gives that order, and offsets need not be kept. Times of one call lie within seconds to minutes, so
sorting by 11 bits at a time takes two passes (`order`; `numpy.argsort(ts, kind="stable")` is the reference).
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

DIGIT_BITS: Final = 11


class Rows(NamedTuple):
    """Columns of equal length: u64, i64 (ms), u16, u8, u8."""

    pseudonym: NDArray[np.uint64]
    ts: NDArray[np.int64]
    zone: NDArray[np.uint16]
    cohort: NDArray[np.uint8]
    kind: NDArray[np.uint8]


NO_ROWS = Rows(
    np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.uint16), np.empty(0, np.uint8), np.empty(0, np.uint8)
)


class _Batch(NamedTuple):
    rows: Rows
    first_ms: int
    last_ms: int


class Reorder:
    """Rows waiting, by source."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[_Batch]] = {}
        self.size = 0

    def add(self, source: int, rows: Rows) -> None:
        """Take the next rows of a source's log."""
        if len(rows.ts):
            self._waiting.setdefault(source, []).append(_batch(rows))
            self.size += len(rows.ts)

    def take_before(self, time_ms: int) -> Rows:
        """Remove and return, in the total order, the rows with `ts < time_ms`."""
        due: list[Rows] = []
        for source in sorted(self._waiting):
            later: list[_Batch] = []
            for batch in self._waiting[source]:
                if batch.last_ms < time_ms:
                    due.append(batch.rows)
                elif batch.first_ms >= time_ms:
                    later.append(batch)
                else:
                    ready = batch.rows.ts < time_ms
                    due.append(select(batch.rows, ready))
                    later.append(_batch(select(batch.rows, ~ready)))
            self._waiting[source] = later
        found = join(due)
        self.size -= len(found.ts)
        return _gathered(found, order(found.ts))

    def by_source(self) -> dict[int, Rows]:
        """All that waits, for a snapshot."""
        return {source: join([batch.rows for batch in self._waiting[source]]) for source in sorted(self._waiting)}


def order(ts: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The rows' numbers by time, those of one time as they stand: u32[n]."""
    if len(ts) == 0:
        return np.empty(0, np.uint32)
    first = ts.min()
    numbers: NDArray[np.uint32] = _by_digits(ts, first, ts.max() - first)
    return numbers


@njit(cache=True, nogil=True)
def _by_digits(ts, first, span):  # type: ignore[no-untyped-def]
    """Least significant digit first: each pass is stable, so the last one leaves the whole order."""
    numbers = np.arange(len(ts)).astype(np.uint32)
    sorted_ = np.empty(len(ts), np.uint32)
    starts = np.empty(1 << DIGIT_BITS, np.int64)
    mask = (1 << DIGIT_BITS) - 1
    shift = 0
    while span >> shift > 0:
        starts[:] = 0
        for i in range(len(ts)):
            starts[((ts[i] - first) >> shift) & mask] += 1
        total = 0
        for digit in range(len(starts)):
            count = starts[digit]
            starts[digit] = total
            total += count
        for i in range(len(ts)):
            row = numbers[i]
            digit = ((ts[row] - first) >> shift) & mask
            sorted_[starts[digit]] = row
            starts[digit] += 1
        numbers, sorted_ = sorted_, numbers
        shift += DIGIT_BITS
    return numbers


def _gathered(rows: Rows, numbers: NDArray[np.uint32]) -> Rows:
    found = Rows(*(np.empty(len(column), column.dtype) for column in rows))
    _gather(rows, numbers, found)
    return found


@njit(cache=True, nogil=True)
def _gather(rows: Rows, numbers, found: Rows):  # type: ignore[no-untyped-def]
    """All columns in one go: what `select` does column by column."""
    for i in range(len(numbers)):
        row = numbers[i]
        found.pseudonym[i] = rows.pseudonym[row]
        found.ts[i] = rows.ts[row]
        found.zone[i] = rows.zone[row]
        found.cohort[i] = rows.cohort[row]
        found.kind[i] = rows.kind[row]


def _batch(rows: Rows) -> _Batch:
    return _Batch(rows, int(rows.ts.min()), int(rows.ts.max()))


def join(parts: list[Rows]) -> Rows:
    """All rows of `parts`, in order."""
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else NO_ROWS


def select(rows: Rows, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Rows:
    """Some of the rows."""
    return Rows(rows.pseudonym[which], rows.ts[which], rows.zone[which], rows.cohort[which], rows.kind[which])
