"""Exact counts as of a boundary, over the whole table: those present, and the distinct subscribers of a window.

A presence that silence has ended is still in its row (see `presence`); its end, `last + silence`, decides.
Times are milliseconds since the epoch's start; counts are u32[zones, cohorts].
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.core.departures import Departures
from streams.core.slots import NOWHERE


def present_at(rows: NDArray[np.void], boundary: int, silence: int, counts: NDArray[np.uint32]) -> None:
    """Add to `counts` the subscribers whose presence covers the instant before `boundary`."""
    _count_rows(rows, boundary - 1 - silence, counts)


def within(
    rows: NDArray[np.void], departures: Departures, since: int, silence: int, counts: NDArray[np.uint32]
) -> None:
    """Add to `counts` the distinct subscribers with a presence that ended after `since`, or hasn't."""
    _count_rows(rows, since - silence, counts)
    _count_departures(departures.ring, departures.span, since, counts)


@njit(cache=True, nogil=True)
def _count_rows(rows, heard_after, counts):  # type: ignore[no-untyped-def]
    for at in range(len(rows)):
        row = rows[at]
        if row["pseudonym"] != 0 and row["zone"] != NOWHERE and row["last"] > heard_after:
            counts[row["zone"], row["cohort"]] += 1


@njit(cache=True, nogil=True)
def _count_departures(ring, span, since, counts):  # type: ignore[no-untyped-def]
    mask = len(ring) - 1
    for number in range(span[0], span[1]):
        gone = ring[number & mask]
        if gone["live"] and gone["end"] > since:
            counts[gone["zone"], gone["cohort"]] += 1
