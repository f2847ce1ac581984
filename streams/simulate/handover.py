"""When a phone changes its cell, with the harder radio (`--radio real`).

To the mean of a cell in a square (`heard`) come, for each phone, what stands or moves around it (Gaussian, 4 dB, for
60 s of a phone that stays and 8 s of one on the way) and what the filter of measurements leaves of fast fading (2 dB,
new at each sample). A phone is handed over by event A3 of 3GPP TS 36.331 and TS 38.331 (5.5.4.4): when a neighbour was
better than the serving cell by the hysteresis of 3 dB in both of two samples, the time to trigger apart; to the best
one then. An idle phone reselects by the same rule, since Qhyst and Treselection of TS 36.304 (5.2.4.6) are alike. In a
session it looks each 10 s, and at each step of its way.
"""

from typing import Final

from numba import int64

from streams.simulate.compiled import Row, kernel
from streams.simulate.draws import FADING, named
from streams.simulate.heard import BELL, DECIBEL, HEARD, Heard, bell_sum
from streams.simulate.mobility import drawn
from streams.simulate.people import MOVING

SURROUNDINGS: Final = 4 * DECIBEL
SAMPLE: Final = 2 * DECIBEL
HYSTERESIS: Final = 3 * DECIBEL
SURROUNDINGS_STAYING_MS: Final = 60_000
SURROUNDINGS_MOVING_MS: Final = 8_000
LOOK_EVERY_MS: Final = 10_000


@kernel
def choose(seed: int, heard: Heard, at: int, i: int, p: Row, t: int) -> int:
    """The cell that serves subscriber i in square `at` from now on."""
    still = SURROUNDINGS_MOVING_MS if p.mode == MOVING else SURROUNDINGS_STAYING_MS
    first = second = int64(-(1 << 30))  # the serving cell's samples: unheard unless found
    chosen = int64(p.cell)
    for turn in range(2):
        best = int64(-(1 << 30))
        for k in range(HEARD):
            cell = int64(heard.cells[at, k])
            if (cell == p.cell) != (turn == 0) or (k > 0 and heard.levels[at, k] <= -1000 * DECIBEL):
                continue
            around = named(named(seed, FADING, i), FADING, (cell << 40) + t // still)
            level = int64(heard.levels[at, k]) + bell_sum(around) * SURROUNDINGS // BELL
            early = level + bell_sum(drawn(p)) * SAMPLE // BELL
            late = level + bell_sum(drawn(p)) * SAMPLE // BELL
            if turn == 0:
                first, second = early, late
            elif early > first + HYSTERESIS and late > second + HYSTERESIS and late > best:
                best, chosen = late, cell
    result: int = chosen
    return result
