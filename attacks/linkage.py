"""Linkage across two epochs: the same people on two days, under two salts.

By name: pseudonyms of one day are looked for among those of the next, and ranked with them (if a pseudonym told
anything of the IMSI that outlives the salt, an order would do). By behaviour, inside: ways of two days are paired by
the places and hours that they share; that works to a degree wherever ways are kept, which is why sightings never leave
and are gone after hours. By behaviour, outside: someone who knows a person's first day looks for the way that was
recovered (`trajectories`) from what was released of the second and fits best, and takes it for theirs; tried on people
who were counted and on people who weren't.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.assignment import assign
from attacks.chance import Estimate, mean
from attacks.town import World, whereabouts
from attacks.trajectories import Accuracy, Ways


class Linked(NamedTuple):
    """Rates at which a person of one day was found on the next.

    Attributes:
        people: who were seen on both; chance is 1 in so many.
        same_name: share of pseudonyms that came back. by_rank, by_way: share paired rightly by rank, by behaviour.
    """

    people: int
    same_name: float
    by_rank: float
    by_way: float


def inside(world: World, most: int) -> Linked:
    """Link the first two days within the internal state, of at most so many people."""
    one, other = world.days[:2]
    packed = world.imsis[world.counted]
    ways = [whereabouts(day, packed) for day in (one, other)]
    both = np.flatnonzero((ways[0] >= 0).any(axis=0) & (ways[1] >= 0).any(axis=0))[:most]
    names = [day.pseudonyms(packed[both]) for day in (one, other)]
    rank = [np.argsort(np.argsort(column)) for column in names]
    found = assign(-_alike(ways[0][:, both], ways[1][:, both]))
    here = np.arange(len(both))
    return Linked(
        len(both),
        float(np.isin(names[0], names[1]).mean()),
        float((rank[0] == rank[1]).mean()),
        float((found == here).mean()),
    )


def _alike(one: NDArray[np.int16], other: NDArray[np.int16]) -> NDArray[np.float64]:
    """In how many half-hours two ways are in the same place, f64[people, people]."""
    shared = np.zeros((one.shape[1], other.shape[1]))
    for a, b in zip(one[5::6], other[5::6], strict=True):
        shared += (a[:, None] == b[None, :]) & (a >= 0)[:, None]
    return shared


def outside(recovered: Ways, first: tuple[Ways, Ways], second: tuple[Ways, Ways]) -> Accuracy:
    """How much of their second day one learns who knows the first: of those counted, and of the control.

    Args:
        recovered: ways of the second day, from what was released. first, second: true ways (counted, control).
    """

    def learnt(known: Ways, truth: Ways) -> Estimate:
        fits = np.stack([(recovered == way).sum(axis=1) for way in known])
        return mean((recovered[fits.argmax(axis=1)] == truth).mean(axis=1))

    return Accuracy(learnt(first[0], second[0]), learnt(first[1], second[1]))
