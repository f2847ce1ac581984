"""Exact counts as of a boundary: those present, and the distinct subscribers of each window.

A presence that silence has ended is still in its row (see `presence`); its end, `last + silence`, decides. So a row
counts in a window of length W as of `t` while `last > t - W - silence`, and a live departure while `end > t - W`. Those
present are a window of 1 ms, of rows alone. Times are milliseconds since the epoch's start.

Counts are kept up to date (`Running`): sightings move what they change (`presence`), and `advance` takes out what has
grown too old. It finds that without looking at everyone: each block of rows names a time before which nothing in it
grows too old, found when the block was last looked at; being heard again only puts that off. What is kept equals
`count`, the plain passes over the whole table, from which a restored state goes on.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.cohorts import COHORTS
from streams.core.compiled.blocks import AT_ONCE, BLOCK_BITS, NEVER, blocks_of, number_of_blocks
from streams.core.crowd.departures import HEAD, TAIL, Departures
from streams.core.crowd.slots import NOWHERE

# Last places in `Running.counts`.
PRESENT: Final = 0
SHORTEST: Final = 1


class Running(NamedTuple):
    """Counts as of `as_of`, as if what was handled since had been then.

    Attributes:
        counts: u32[zones, COHORTS, windows]: of those present, then of the epoch's windows, the shortest first: what an
            event changes lies side by side.
        ages: i64[windows], silence + the window's length: for how long a row counts after it was last heard.
        silence: ms. as_of: i64[1].
        row_due: i32[blocks of rows], gone_due: i32[blocks of departures]: before it nothing in the block grows too old.
    """

    counts: NDArray[np.uint32]
    ages: NDArray[np.int64]
    silence: int
    as_of: NDArray[np.int64]
    row_due: NDArray[np.int32]
    gone_due: NDArray[np.int32]


def new_running(zones: int, silence: int, windows_ms: tuple[int, ...], as_of: int) -> Running:
    """Of nobody."""
    ages = silence + np.array([1, *sorted(windows_ms)], np.int64)
    unseen = blocks_of(1, AT_ONCE)
    return Running(
        np.zeros((zones, COHORTS, len(ages)), np.uint32), ages, silence, np.array([as_of], np.int64), unseen, unseen
    )


def place(windows_ms: tuple[int, ...], window_ms: int) -> int:
    """Where a window's counts stand.

    Raises:
        ValueError: there is no such window.
    """
    return SHORTEST + sorted(windows_ms).index(window_ms)


def fitted(running: Running, rows: NDArray[np.void], departures: Departures) -> Running:
    """With blocks for tables of their size; of another table's rows, all is looked at by the next `advance`."""
    row_due, gone_due = running.row_due, running.gone_due
    if len(row_due) != number_of_blocks(len(rows)):
        row_due = blocks_of(len(rows), AT_ONCE)
    if len(gone_due) != number_of_blocks(len(departures.ring)):
        gone_due = _moved(gone_due, departures)
    return running._replace(row_due=row_due, gone_due=gone_due)


def _moved(due: NDArray[np.int32], departures: Departures) -> NDArray[np.int32]:
    """The blocks of a ring in another one. Both are of whole blocks, so that a block's numbers stay together."""
    ring, span = departures
    into = blocks_of(len(ring), NEVER)
    numbers = np.arange(span[TAIL] >> BLOCK_BITS, (span[HEAD] >> BLOCK_BITS) + 1)
    np.minimum.at(into, numbers % len(into), due[numbers % len(due)])
    return into


def recount(running: Running, rows: NDArray[np.void], departures: Departures, as_of: int) -> None:
    """Set the counts to those as of a boundary, from the whole table."""
    running.as_of[0] = as_of
    running.row_due[:] = running.gone_due[:] = AT_ONCE
    for number, age in enumerate(running.ages.tolist()):
        window = age - running.silence
        running.counts[..., number] = count(rows, departures, as_of, window, running.silence, len(running.counts))


def count(
    rows: NDArray[np.void], departures: Departures, as_of: int, window: int, silence: int, zones: int
) -> NDArray[np.uint32]:
    """Distinct subscribers with a presence in `[as_of - window, as_of)`, u32[zones, COHORTS]: the reference.

    All before the boundary must have been handled and nothing after.
    """
    counts = np.zeros((zones, COHORTS), np.uint32)
    _count_rows(rows, as_of - window - silence, counts)
    _count_departures(departures.ring, departures.span, as_of - window, counts)
    return counts


def advance(running: Running, rows: NDArray[np.void], departures: Departures, to: int) -> None:
    """Make the counts those as of `to`, before which all has been handled."""
    _advance(rows, departures, running, to)


@njit(cache=True, nogil=True)
def _count_rows(rows, heard_after, counts):  # type: ignore[no-untyped-def]
    for at in range(len(rows)):
        row = rows[at]
        if row["pseudonym"] != 0 and row["zone"] != NOWHERE and row["last"] > heard_after:
            counts[row["zone"], row["cohort"]] += 1


@njit(cache=True, nogil=True)
def _count_departures(ring, span, since, counts):  # type: ignore[no-untyped-def]
    for number in range(span[0], span[1]):
        gone = ring[number % len(ring)]
        if gone["live"] and gone["end"] > since:
            counts[gone["zone"], gone["cohort"]] += 1


@njit(cache=True, nogil=True)
def _advance(rows, departures, running, to):  # type: ignore[no-untyped-def]
    _age_rows(rows, running, to)
    _age_departures(departures.ring, departures.span, running, to)
    running.as_of[0] = to


@njit(cache=True, nogil=True)
def _age_rows(rows, running, to):  # type: ignore[no-untyped-def]
    as_of = running.as_of[0]
    for block in range(len(running.row_due)):
        if running.row_due[block] > to:
            continue
        due = np.int64(NEVER)
        first = block << BLOCK_BITS
        for at in range(first, min(first + (1 << BLOCK_BITS), len(rows))):
            row = rows[at]
            if row["zone"] == NOWHERE or row["pseudonym"] == 0:
                continue
            for w in range(len(running.ages)):
                over = row["last"] + running.ages[w]
                if over > to:
                    due = min(due, over)
                elif over > as_of:
                    running.counts[row["zone"], row["cohort"], w] -= 1
        running.row_due[block] = due


@njit(cache=True, nogil=True)
def _age_departures(ring, span, running, to):  # type: ignore[no-untyped-def]
    as_of = running.as_of[0]
    tail = span[0] % len(ring)
    for block in range(len(running.gone_due)):
        if running.gone_due[block] > to:
            continue
        due = np.int64(NEVER)
        first = block << BLOCK_BITS
        for at in range(first, min(first + (1 << BLOCK_BITS), len(ring))):
            behind_tail = at - tail if at >= tail else at - tail + len(ring)
            if behind_tail >= span[1] - span[0]:
                continue
            gone = ring[at]
            for w in range(SHORTEST, len(running.ages)):
                over = gone["end"] + running.ages[w] - running.silence
                if over > to:
                    due = min(due, over)
                elif over > as_of and gone["live"]:
                    running.counts[gone["zone"], gone["cohort"], w] -= 1
        running.gone_due[block] = due
