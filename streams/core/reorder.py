"""The reorder buffer: sightings wait here until the watermark has passed them.

In: rows of one source in the order of its log. Out: all rows before a time, in the total order (event time, source,
offset, index). Each source's rows are kept in log order and sources are joined in ascending order, so a stable sort
by time alone gives that order, and offsets need not be kept.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


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
        return select(found, np.argsort(found.ts, kind="stable"))

    def by_source(self) -> dict[int, Rows]:
        """All that waits, for a snapshot."""
        return {source: join([batch.rows for batch in self._waiting[source]]) for source in sorted(self._waiting)}


def _batch(rows: Rows) -> _Batch:
    return _Batch(rows, int(rows.ts.min()), int(rows.ts.max()))


def join(parts: list[Rows]) -> Rows:
    """All rows of `parts`, in order."""
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else NO_ROWS


def select(rows: Rows, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Rows:
    """Some of the rows."""
    return Rows(rows.pseudonym[which], rows.ts[which], rows.zone[which], rows.cohort[which], rows.kind[which])
