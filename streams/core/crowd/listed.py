"""What is listed in a measure's open pane: keys and who counts there, of which each pair counts once.

So are trips, travel times, passes, dwell and visits: of the many keys few ever occur. In: what each base pane has
listed (`presence.Tally`), as long as the measure's pane is open. Out: counts by key, into which each subscriber goes at
most once a key, however often they went to and fro: the privacy account rests on it.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.panes import Counts, from_dense, sparse
from streams.core.crowd.slots import FACTOR


class Listed(NamedTuple):
    """`keys` u32[n], or u16 while they wait where all of the measure's fit; `who` u32[n]: whose each is, by the row of
    the table (`slots`), which is half as long as a pseudonym, and is another one when the table grows (`moved`)."""

    keys: NDArray[np.unsignedinteger]
    who: NDArray[np.uint32]


def joined(parts: list[Listed]) -> Listed:
    """All in one, keys as u32: the compiled loops have no other form."""
    if not parts:
        return Listed(np.empty(0, np.uint32), np.empty(0, np.uint32))
    keys = np.concatenate([part.keys for part in parts], dtype=np.uint32)
    return Listed(keys, np.concatenate([part.who for part in parts]))


def moved(part: Listed, to: NDArray[np.uint32]) -> Listed:
    """The same of a table that has grown, in which row `i` has become row `to[i]`."""
    return part._replace(who=to[part.who])


def counted(parts: list[Listed], most_keys: int) -> Counts:
    """How many different subscribers each key has; keys are below `most_keys`."""
    listed = joined(parts)
    keys = listed.keys[first_ones(listed)]
    if most_keys <= 4 * len(keys):
        return from_dense(np.bincount(keys))
    return sparse(*np.unique(keys, return_counts=True))


def first_ones(listed: Listed) -> NDArray[np.bool_]:
    """Which of the pairs are there for the first time."""
    first = np.empty(len(listed.keys), np.bool_)
    places = np.full(1 << (2 * len(listed.keys)).bit_length(), -1, np.int32)
    _find_first(listed.keys, listed.who, places, first)
    return first


@njit(cache=True, nogil=True)
def _find_first(keys, who, places, first):  # type: ignore[no-untyped-def]
    """`places` i32[a power of two, more than keys]: an open-addressed table of rows' numbers, all -1."""
    mask = np.uint64(len(places) - 1)
    for i in range(len(keys)):
        hashed = (np.uint64(who[i]) * FACTOR + np.uint64(keys[i])) * FACTOR
        at = (hashed >> np.uint64(32)) & mask
        while places[at] >= 0 and (keys[places[at]] != keys[i] or who[places[at]] != who[i]):
            at = (at + np.uint64(1)) & mask
        first[i] = places[at] < 0
        if first[i]:
            places[at] = i
