"""The harder radio (`--radio real`): what a phone hears in a square. When it is handed over: `handover`.

On squares of 50 m, each cell's mean level is its power less 3GPP TR 38.901's loss of a macro cell in a town without
line of sight (table 7.4.1-1, UMa NLOS: 13.54 + 39.08 log10 d + 20 log10 f, antennas 23.5 m above the phone; what is the
same for all cells is left out), plus log-normal shadowing: 6 dB, of which half is common to all cells and so decides
nothing (the usual 0.5 between sites), correlated over distance as exp(-d / 50 m) (Gudmundson 1991, "Correlation model
for shadow fading in mobile radio systems"; the distance is TR 38.901's, table 7.5-6). Kept are the HEARD strongest.

Kept as integers, sixteenths of a dB, so that the loop needs no floating point.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import int64, njit, uint64
from numpy.typing import NDArray

from streams.simulate.compiled import kernel
from streams.simulate.draws import SHADOW, named

PIXEL_M: Final = 50
HEARD: Final = 6
DECIBEL: Final = 16
LOSS_A_DECADE_DB: Final = 39.08
ABOVE_M: Final = 23.5
SHADOWING_DB: Final = 6.0 * math.sqrt(0.5)
CORRELATION_M: Final = 50.0
# How far a cell is looked for: beyond that it is 35 dB below its own edge at least.
REACHES: Final = 8
FAR_M: Final = 1_000
BELL: Final = 37_837  # deviation of the sum of four 16-bit uniforms
_SILENT: Final = -1e9


class Heard(NamedTuple):
    """What is heard in each square, the strongest first; none of a simple radio.

    Attributes:
        cells: u16[squares, HEARD]. levels: i16[squares, HEARD], in sixteenths of a dB, the strongest being 0.
    """

    cells: NDArray[np.uint16]
    levels: NDArray[np.int16]


NOT_HEARD: Final = Heard(np.zeros((0, HEARD), np.uint16), np.zeros((0, HEARD), np.int16))


def listen(
    seed: int, half_side: int, side: int, xy: NDArray[np.int64], reach_m: NDArray[np.int64], best: NDArray[np.uint16]
) -> Heard:
    """What is heard of cells at `xy` (cells, 2) with a range in metres; where nothing is, `best`."""
    cells = np.repeat(best[:, None], HEARD, axis=1)
    levels = np.full((side * side, HEARD), _SILENT)
    _hear(seed, half_side, side, xy, reach_m, LOSS_A_DECADE_DB * np.log10(reach_m), cells, levels)
    below = np.clip(levels - levels[:, :1], -1000, 0)
    return Heard(cells, np.rint(below * DECIBEL).astype(np.int16))


@njit(cache=True)
def _hear(
    seed: int,
    half_side: int,
    side: int,
    xy: NDArray[np.int64],
    reach: NDArray[np.int64],
    power: NDArray[np.float64],
    cells: NDArray[np.uint16],
    levels: NDArray[np.float64],
) -> None:
    step = math.exp(-PIXEL_M / CORRELATION_M)
    rest = math.sqrt(1 - step * step)
    above = np.zeros(side + 1)  # the shadowing of the row before
    for cell in range(xy.shape[0]):
        far = REACHES * reach[cell] + FAR_M
        west, east = _squares(xy[cell, 0] - far, xy[cell, 0] + far, half_side, side)
        south, north = _squares(xy[cell, 1] - far, xy[cell, 1] + far, half_side, side)
        for row in range(south, north):
            dy = row * PIXEL_M + PIXEL_M // 2 - half_side - xy[cell, 1]
            corner = left = 0.0
            for column in range(west, east):
                new = _bell(named(seed, SHADOW, (cell << 32) + (row << 16) + column))
                # A first-order process along both axes (correlation: the product of the axes').
                if row == south and column == west:
                    shadow = new
                elif row == south:
                    shadow = step * left + rest * new
                elif column == west:
                    shadow = step * above[column] + rest * new
                else:
                    shadow = step * (left + above[column] - step * corner) + rest * rest * new
                corner, above[column], left = above[column], shadow, shadow
                dx = column * PIXEL_M + PIXEL_M // 2 - half_side - xy[cell, 0]
                loss = 0.5 * LOSS_A_DECADE_DB * math.log10(dx * dx + dy * dy + ABOVE_M * ABOVE_M)
                _rank(cells, levels, row * side + column, cell, power[cell] - loss + SHADOWING_DB * shadow)


@njit(cache=True)
def _squares(low: int, high: int, half_side: int, side: int) -> tuple[int, int]:
    return max(0, (low + half_side) // PIXEL_M), min(side, (high + half_side) // PIXEL_M + 1)


@njit(cache=True)
def _rank(cells: NDArray[np.uint16], levels: NDArray[np.float64], at: int, cell: int, level: float) -> None:
    """Put a cell where it belongs among the strongest of a square, if it does."""
    k = HEARD
    while k > 0 and levels[at, k - 1] < level:
        k -= 1
    if k == HEARD:
        return
    for other in range(HEARD - 1, k, -1):
        levels[at, other], cells[at, other] = levels[at, other - 1], cells[at, other - 1]
    levels[at, k], cells[at, k] = level, cell


@njit(cache=True)
def _bell(draw: int) -> float:
    """About a Gaussian of deviation 1."""
    result: float = bell_sum(draw) / BELL
    return result


@kernel
def bell_sum(draw: int) -> int:
    """The sum of four 16-bit uniforms, less its mean (Irwin-Hall): about Gaussian, of deviation BELL."""
    total = int64(-131_070)
    for part in range(4):
        total += int64((uint64(draw) >> uint64(16 * part)) & uint64(0xFFFF))
    result: int = total
    return result
