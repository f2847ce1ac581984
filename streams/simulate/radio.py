"""The town's radio: which cell serves a spot, and how clearly. `heard` is the harder one.

The town is cut into squares of 50 m. In each, a cell's signal is its power less the path loss 128.1 + 37.6 log10(d/km)
(3GPP TR 36.942, macro cell in a town) plus a shadowing of 6 dB that is alike nearby and different far away
(Gudmundson 1991; here bilinear between independent values every 150 m). Kept are the strongest cell, the second and the
difference. Fading is left to the moment: a phone keeps the cell it has until the other is better by the hysteresis, as
it then fades (Gaussian, 4 dB; 2 dB hysteresis). Near a border this makes phones flap between two cells, as real
ones do. What is simplified: one carrier, no sectors, no load; all radio technologies compete in one list.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.simulate.compiled import Rows
from streams.simulate.draws import RADIO, named, threshold
from streams.simulate.heard import NOT_HEARD, PIXEL_M, Heard, listen
from streams.simulate.layout import Layout

SHADOWING_DB: Final = 6.0
SHADOW_LATTICE_M: Final = 150.0
FADING_DB: Final = 4.0
HYSTERESIS_DB: Final = 2.0
NOBODY_DB: Final = 1e9
MOST_GAP_DB: Final = 31


# A square: its strongest cell, the next one (the same where only one is heard), how much stronger the first is in whole
# dB up to MOST_GAP_DB, and the zone that it lies in.
SQUARE: Final = np.dtype(
    [("best", np.uint16), ("second", np.uint16), ("zone", np.uint16), ("gap", np.uint8)], align=True
)


class Radio(NamedTuple):
    """The raster of the town.

    Attributes:
        side: squares along an edge.
        squares: SQUARE, row by row from the south-west.
        leave: u32 threshold, by gap, of leaving the best cell for the second at a look.
        come: u32 threshold, by gap, of coming back from the second to the best.
        heard: what decides instead of these, in a town with the harder radio.
    """

    half_side: int
    side: int
    squares: Rows
    leave: NDArray[np.int64]
    come: NDArray[np.int64]
    heard: Heard


def survey(seed: int, layout: Layout, xy: NDArray[np.int64], reach_m: NDArray[np.int64], real: bool) -> Radio:
    """The raster of a town with cells at `xy` (cells, 2) of that range in metres; the harder one too if `real`."""
    side = -(-2 * layout.half_side // PIXEL_M)
    power_db = 37.6 * np.log10(reach_m / 1000.0)
    first, other, best, second = _strongest(seed, layout.half_side, side, xy, power_db)
    squares = np.zeros(side * side, SQUARE)
    squares["best"], squares["second"] = best, second
    squares["gap"] = np.clip(np.rint(first - other), 0, MOST_GAP_DB)
    spread = FADING_DB * math.sqrt(2)  # the difference of two fading signals
    leave = [threshold(_exceeds((g + HYSTERESIS_DB) / spread)) for g in range(MOST_GAP_DB + 1)]
    come = [threshold(_exceeds((HYSTERESIS_DB - g) / spread)) for g in range(MOST_GAP_DB + 1)]
    discs = np.array([(z.x, z.y, z.radius) for z in layout.zones], np.int64)
    squares["zone"] = _on_the_ground(layout.half_side, side, discs)
    heard = listen(seed, layout.half_side, side, xy, reach_m, best) if real else NOT_HEARD
    return Radio(layout.half_side, side, squares, np.array(leave), np.array(come), heard)


def _exceeds(deviations: float) -> float:
    """The chance that a Gaussian exceeds that many deviations."""
    return 0.5 * math.erfc(deviations / math.sqrt(2))


@njit(cache=True)
def _strongest(
    seed: int, half_side: int, side: int, xy: NDArray[np.int64], power: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint16], NDArray[np.uint16]]:
    squares = side * side
    first = np.full(squares, -NOBODY_DB)
    other = np.full(squares, -NOBODY_DB)
    best = np.zeros(squares, np.uint16)
    second = np.zeros(squares, np.uint16)
    for cell in range(xy.shape[0]):
        for row in range(side):
            dy = row * PIXEL_M + PIXEL_M // 2 - half_side - xy[cell, 1]
            for column in range(side):
                dx = column * PIXEL_M + PIXEL_M // 2 - half_side - xy[cell, 0]
                at = row * side + column
                plain = power[cell] - 18.8 * math.log10(max(dx * dx + dy * dy, 400) / 1e6)
                if plain + 3.5 * SHADOWING_DB <= other[at]:
                    continue
                signal = plain + SHADOWING_DB * _shadow(seed, cell, column, row)
                if signal > first[at]:
                    other[at], second[at] = first[at], best[at]
                    first[at], best[at] = signal, cell
                elif signal > other[at]:
                    other[at], second[at] = signal, cell
    for at in range(squares):
        if other[at] == -NOBODY_DB:
            second[at] = best[at]
    return first, other, best, second


@njit(cache=True)
def _shadow(seed: int, cell: int, column: int, row: int) -> float:
    """Unit shadowing of a cell in a square: between the four values of the lattice around it, scaled to deviation 1."""
    u, v = column * PIXEL_M / SHADOW_LATTICE_M, row * PIXEL_M / SHADOW_LATTICE_M
    i, j = int(u), int(v)
    a, b = u - i, v - j
    total, square = 0.0, 0.0
    for p in range(2):
        for q in range(2):
            weight = (a if p else 1 - a) * (b if q else 1 - b)
            total += weight * _bell(named(seed, RADIO, (cell << 32) + ((i + p) << 16) + j + q))
            square += weight * weight
    return total / math.sqrt(square)


@njit(cache=True)
def _bell(draw: int) -> float:
    """About a Gaussian of deviation 1: the sum of four 16-bit uniforms (Irwin-Hall), within 3.5 deviations."""
    total = np.int64(0)
    for part in range(4):
        total += np.int64((draw >> np.uint64(16 * part)) & np.uint64(0xFFFF))
    return (total / 65536.0 - 2.0) * 1.7320508


@njit(cache=True)
def _on_the_ground(half_side: int, side: int, discs: NDArray[np.int64]) -> NDArray[np.uint16]:
    zone = np.zeros(side * side, np.uint16)
    for row in range(side):
        y = row * PIXEL_M + PIXEL_M // 2 - half_side
        for column in range(side):
            x = column * PIXEL_M + PIXEL_M // 2 - half_side
            least = np.int64(1) << 60
            for k in range(discs.shape[0]):
                power = (x - discs[k, 0]) ** 2 + (y - discs[k, 1]) ** 2 - discs[k, 2] ** 2
                if power < least:
                    least = power
                    zone[row * side + column] = k
    return zone
