"""A census of a town, as a statistical office would have it: people by where they live and where they work or learn, on
a grid of CELL_M, some years old.

It is drawn of as many other people as the town has, none of whom is in the simulation: so it knows which places are
lived and worked in, and nothing of the day, nor of anybody who is counted. Each cell's number is ERROR off at random
and whole, and one of fewer than LEAST people is left out, as statistical offices do.
"""

from typing import Final

import numpy as np

from streams.places.density import Floats, People
from streams.simulate.mobility import spot, ways
from streams.simulate.people import NOWHERE, populate
from streams.simulate.town import Town

CELL_M: Final = 100.0
KINDS: Final = ("home", "work")
ERROR: Final = 0.15
LEAST: Final = 3


def census(town: Town, cell_m: float = CELL_M, kinds: tuple[str, ...] = KINDS, error: float = ERROR) -> People:
    """The grid, in the town's own metres."""
    others, _, _ = populate(town._replace(subscribers=2 * town.subscribers))
    places, numbers = ways(town, 0), range(town.subscribers, 2 * town.subscribers)
    spots = [
        spot(places, number, zone)
        for kind in kinds
        for number, zone in zip(numbers, others[kind][town.subscribers :].tolist(), strict=True)
        if zone != NOWHERE
    ]
    west_south = -float(town.layout.half_side)
    side = int(-2 * west_south // cell_m) + 1
    column, row = ((np.array(spots, np.float64) - west_south) // cell_m).astype(np.int64).T
    counted = np.bincount(column * side + row, minlength=side * side).astype(np.float64)
    counted = np.rint(counted * np.random.default_rng(town.seed).normal(1, error, len(counted)))
    counted[counted < LEAST] = 0

    def at(points: Floats) -> Floats:
        cell = ((points - west_south) // cell_m).astype(np.int64)
        inside = ((cell >= 0) & (cell < side)).all(axis=1)
        return np.asarray(np.where(inside, counted[np.where(inside, cell[:, 0] * side + cell[:, 1], 0)], 0.0))

    return People(at, cell_m**2)
