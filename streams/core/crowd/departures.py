"""The ring of departures: presences that ended within the longest window or gap, for counting and looking back.

Departures are numbered from 1 in the order in which they were noted; number `n` lies at `n` modulo the ring's size.
Each names the subscriber's one before it, so that a subscriber's departures are a chain from its row's `left`, newest
first, ends falling, with at most one of each zone: what is older than the tail (`span[0]`) is gone, and ends a chain.

`live` says that the departure counts: it doesn't while the subscriber is back in the zone, nor once annulled.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.core.compiled.blocks import BLOCK_ROWS

DEPARTURE: Final = np.dtype(
    [("end", "<i4"), ("older", "<u4"), ("zone", "<u2"), ("cohort", "u1"), ("live", "u1")],
)
TAIL: Final = 0
HEAD: Final = 1

SMALLEST: Final = 4096


class Departures(NamedTuple):
    """`ring` DEPARTURE[n], of whole `blocks`; `span` i64[2]: the oldest number kept, the next one to give."""

    ring: NDArray[np.void]
    span: NDArray[np.int64]


def new_departures() -> Departures:
    """An empty ring."""
    return Departures(np.zeros(SMALLEST, DEPARTURE), np.ones(2, np.int64))


def with_room(departures: Departures, more: int, since: int) -> Departures:
    """Forget what ended at or before `since`; the same ring or a larger one, with room for `more` departures."""
    ring, span = departures
    _expire(ring, span, since)
    needed = int(span[HEAD] - span[TAIL]) + more
    if needed <= len(ring):
        return departures
    return _copied(_parts(departures), span, needed + needed // 8)


def of_records(records: NDArray[np.void], span: NDArray[np.int64], size: int) -> Departures:
    """A ring of `size` or a little more, in which the records DEPARTURE[n] have the numbers of `span`."""
    return _copied([records], span, size)


def _parts(departures: Departures) -> list[NDArray[np.void]]:
    """Views of the ring that give the departures from tail to head."""
    ring, span = departures
    begin, number = int(span[TAIL]) % len(ring), int(span[HEAD] - span[TAIL])
    return [ring[begin : begin + number], ring[: max(0, begin + number - len(ring))]]


def _copied(parts: list[NDArray[np.void]], span: NDArray[np.int64], size: int) -> Departures:
    size = -(-size // BLOCK_ROWS) * BLOCK_ROWS
    ring = np.zeros(size, DEPARTURE)
    at = int(span[TAIL]) % size
    for part in parts:
        before_end = min(len(part), size - at)
        _bytes(ring[at : at + before_end])[:] = _bytes(part[:before_end])
        _bytes(ring[: len(part) - before_end])[:] = _bytes(part[before_end:])
        at = (at + len(part)) % size
    return Departures(ring, span)


def _bytes(part: NDArray[np.void]) -> NDArray[np.uint8]:
    """The same memory: numpy copies structured rows one by one, bytes at once."""
    return part.view(np.uint8)


@njit(cache=True, nogil=True)
def _expire(ring, span, since):  # type: ignore[no-untyped-def]
    number = span[0]
    while number < span[1] and ring[number % len(ring)]["end"] <= since:
        number += 1
    span[0] = number
