"""What the compiled loops of `presence` count by, and into: an epoch's rules as arrays, and the open panes' counts.

Fields that are added make another signature, and the loops are compiled anew. Other numbers, or another order, they
don't see until `make clean` (docs/decisions/0005-compiled-loops-with-references.md).
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

# What a listed measure counts.
TRIPS: Final = 0
DWELL: Final = 1
VISITED: Final = 2
TRAVELLED: Final = 3
PASSED: Final = 4
LIVING: Final = 5
TRAVELLED_BETWEEN: Final = 6
# Places in `Tally.filtered`.
PING_PONG: Final = 0
GLIMPSE: Final = 1
JUMP: Final = 2


class Capped(NamedTuple):
    """Measures that are counted alike, in columns of i64: length `m` each.

    Attributes:
        what: of listed measures, what they count: `TRIPS`, `DWELL`, `VISITED`, `TRAVELLED`, `PASSED`, `LIVING` or
            `TRAVELLED_BETWEEN`.
        by_parent: 1 if counted by parent zone.
        cap: most counts of a subscriber in the epoch; 0: no limit.
        column: where `Slots.used` keeps the count against the cap. adds: 1 if the measure adds to it; 0: the next one
            does, which counts the same, against the same cap.
        gap: arrivals only, ms. area: of `LIVING` only, which of the areas it is counted by.
    """

    what: NDArray[np.int64]
    by_parent: NDArray[np.int64]
    cap: NDArray[np.int64]
    column: NDArray[np.int64]
    adds: NDArray[np.int64]
    gap: NDArray[np.int64]
    area: NDArray[np.int64]


class Rules(NamedTuple):
    """What holds in an epoch; times in ms, since its start.

    Attributes:
        horizon: how far back a departure can matter. opens, length: of the epoch. parents: i64[zones].
        areas: i64[areas, 2], from when to when presences tell of each.
        jump_m_s: the speed of an impossible jump, 0: none is. jump_m: its least length. positions: as in `distances`.
    """

    silence: int
    stay: int
    seen: int
    ping_pong: int
    horizon: int
    opens: int
    length: int
    parents: NDArray[np.int64]
    parent_count: int
    arrivals: Capped
    listed: Capped
    areas: NDArray[np.int64]
    jump_m_s: int
    jump_m: int
    positions: NDArray[np.int64]


class Tally(NamedTuple):
    """Counts of the open panes. Arrivals are a vector, all else a list of keys: few of the many keys ever occur, and of
    one subscriber each key counts once. The list is of one base pane (see `listed`).

    Attributes:
        arrivals: u32[arrivals measures, places].
        since: i64[arrivals measures], the open pane's start, ms since the epoch's.
        keys: u32[listed measures, room]. who: u32 beside it, whose each is: the subscriber's row.
        filled: i64[listed measures], how many of `keys` are.
        opened: i64[1], the open base pane's start, ms since the epoch's.
        capped: i64[arrivals measures + listed measures], what the caps have dropped.
        filtered: i64[3], how many presences were annulled as ping-pongs, and were glimpses; sightings that were jumps.
    """

    arrivals: NDArray[np.uint32]
    since: NDArray[np.int64]
    keys: NDArray[np.uint32]
    who: NDArray[np.uint32]
    filled: NDArray[np.int64]
    opened: NDArray[np.int64]
    capped: NDArray[np.int64]
    filtered: NDArray[np.int64]
