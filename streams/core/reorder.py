"""The reorder buffer: sightings wait here until the watermark has passed them.

In: rows of one source in the order of its log. Out: all rows before a time, in the total order (event time, source,
offset, index). Since each source's rows are kept in log order and sources are joined in ascending order, a stable sort by
time alone gives that order.
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


class Reorder:
    """Rows waiting, by source."""

    def __init__(self) -> None:
        self._waiting: dict[int, list[Rows]] = {}
        self.size = 0

    def add(self, source: int, rows: Rows) -> None:
        """Take the next rows of a source's log."""
        if len(rows.ts):
            self._waiting.setdefault(source, []).append(rows)
            self.size += len(rows.ts)

    def take_before(self, time_ms: int) -> Rows:
        """Remove and return, in the total order, the rows with `ts < time_ms`."""
        due: list[Rows] = []
        for source in sorted(self._waiting):
            rows = _join(self._waiting[source])
            ready = rows.ts < time_ms
            if ready.all():
                due.append(rows)
                del self._waiting[source]
            else:
                if ready.any():
                    due.append(_select(rows, ready))
                    rows = _select(rows, ~ready)
                self._waiting[source] = [rows]
        found = _join(due)
        self.size -= len(found.ts)
        return _select(found, np.argsort(found.ts, kind="stable"))

    def columns(self) -> dict[int, Rows]:
        """All that waits, by source: for a snapshot."""
        return {source: _join(self._waiting[source]) for source in sorted(self._waiting)}


def _join(parts: list[Rows]) -> Rows:
    if len(parts) == 1:
        return parts[0]
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True))) if parts else NO_ROWS


def _select(rows: Rows, which: NDArray[np.bool_] | NDArray[np.intp]) -> Rows:
    return Rows(rows.pseudonym[which], rows.ts[which], rows.zone[which], rows.cohort[which], rows.kind[which])
