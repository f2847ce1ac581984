"""Trajectory recovery: single ways out of counts of crowds alone.

Xu, Tu, Li, Zhang, Fu and Jin, "Trajectory Recovery From Ash" (WWW 2017): people sleep where they were and move on as
they moved, so successive counts can be cut into single ways by cheapest assignments: at night to the nearest place,
by day to the place nearest to where the last move leads; and days are linked by how alike their ways are in the
places they visit (the gain of information). In: counts of people present, every half-hour, and the public plan. Out: as
many ways as there are people. What isn't told is filled in: a district's rest goes to its zones without a number,
the town's rest to all others.

How good they are is told in the attacker's favour: the ways are paired with the true ones so that they agree as often
as possible. That pairing alone agrees often, whoever the people are; so the same ways are paired with as many people
of the town who were *not* counted. What is beyond that is what the release gave away.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from attacks.assignment import assign, transport
from attacks.chance import Estimate, difference, mean
from attacks.leaving import DISTRICTS, Published

PANES_A_STEP: Final = 6  # half an hour
NIGHT_STEPS: Final = frozenset([*range(4), *range(40, 48)])  # 04:00 to 06:00 and 00:00 to 04:00
AWAY_M: Final = 1_000.0  # what it costs to switch a phone off or on, as if so far away

Ways = NDArray[np.int64]  # [people, steps]: zone, or the number of zones for nowhere


class Accuracy(NamedTuple):
    """Shares of half-hours at which a recovered way is where its person is."""

    counted: Estimate
    control: Estimate

    @property
    def gain(self) -> Estimate:
        """What those counted lose more than those who weren't."""
        return difference(self.counted, self.control)


def recover(published: Published, parents: NDArray[np.uint16], centres: NDArray[np.float64], people: int) -> Ways:
    """The ways of a day that explain its counts at the least cost."""
    slots = fill(published, parents, people)
    places = len(parents) + 1
    rng = np.random.default_rng(1)
    ways = np.empty((people, len(slots)), np.int64)
    ways[:, 0] = np.repeat(np.arange(places), slots[0])
    for step in range(1, len(slots)):
        here = ways[:, step - 1]
        before = here if step - 1 in NIGHT_STEPS or step == 1 else ways[:, step - 2]
        group, member = np.unique(before * places + here, return_inverse=True)
        flow = transport(np.bincount(member), slots[step], _costs(group // places, group % places, centres))
        for number in range(len(group)):
            who = rng.permutation(np.flatnonzero(member == number))
            ways[who, step] = np.repeat(np.arange(places), flow[number])
    return ways


def _costs(before: NDArray[np.int64], here: NDArray[np.int64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """From where each group is led to all places, f64[groups, zones + 1], in metres."""
    zones = len(centres)
    placed = np.vstack([centres, [[0.0, 0.0]]])
    moved = np.where(((before < zones) & (here < zones))[:, None], placed[here] - placed[before], 0.0)
    led = placed[here] + moved
    away = np.hypot(*(led[:, None, :] - centres[None, :, :]).transpose(2, 0, 1))
    away[here == zones] = AWAY_M
    return np.hstack([away, np.where(here == zones, 0.0, AWAY_M)[:, None]])


def fill(published: Published, parents: NDArray[np.uint16], people: int) -> NDArray[np.int64]:
    """People in each zone and nowhere at each half-hour, i64[steps, zones + 1], `people` in all."""
    rows = slice(PANES_A_STEP - 1, None, PANES_A_STEP)
    zones = published.tables["present"].estimate[rows].copy()
    districts = published.tables[DISTRICTS].estimate[rows]
    slots = np.empty((len(zones), zones.shape[1] + 1), np.int64)
    for step, row in enumerate(zones):
        for parent, told in enumerate(districts[step]):
            untold = (parents == parent) & np.isnan(row)
            if not np.isnan(told) and untold.any():
                row[untold] = max(told - np.nansum(row[parents == parent]), 0.0) / untold.sum()
        untold = np.isnan(row)
        rest = max(people - np.nansum(row), 0.0)
        row[untold] = min(max(published.k, 1) / 2, rest / (untold.sum() + 1))
        slots[step] = whole(np.append(row, max(people - row.sum(), 0.0)), people)
    return slots


def whole(shares: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Whole numbers in proportion that add up to a total (largest remainders)."""
    exact = np.maximum(shares, 0.0)
    exact = exact * (total / exact.sum())
    floor: NDArray[np.int64] = np.floor(exact).astype(np.int64)
    order = np.argsort(floor - exact, kind="stable")
    floor[order[: total - floor.sum()]] += 1
    return floor


def drawn_by_lot(slots: NDArray[np.int64], seed: int) -> Ways:
    """The baseline of an attacker who knows the counts and nothing of people: everybody anywhere, anew each time."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(np.repeat(np.arange(slots.shape[1]), row)) for row in slots], axis=1)


def most_crowded(slots: NDArray[np.int64]) -> Ways:
    """The baseline of one who always says the most crowded zone."""
    return np.broadcast_to(slots[:, :-1].argmax(axis=1), (int(slots[0].sum()), len(slots))).astype(np.int64)


def true_ways(truth: NDArray[np.int16], zones: int) -> Ways:
    """Whereabouts i16[panes, people] as ways."""
    here = truth[PANES_A_STEP - 1 :: PANES_A_STEP].T.astype(np.int64)
    return np.where(here < 0, zones, here)


def agreement(ways: Ways, truth: Ways) -> NDArray[np.float64]:
    """How often each person and their way agree, paired in the attacker's favour: f64[people]."""
    shared = np.zeros((len(truth), len(ways)))
    for step in range(ways.shape[1]):
        shared += truth[:, step, None] == ways[None, :, step]
    agreed: NDArray[np.float64] = shared[np.arange(len(truth)), assign(-shared)] / ways.shape[1]
    return agreed


def accuracy(ways: Ways, counted: Ways, control: Ways) -> Accuracy:
    """Against people who were counted, and as many who weren't."""
    return Accuracy(mean(agreement(ways, counted)), mean(agreement(ways, control)))


def linked(days: list[Ways], places: int) -> Ways:
    """Ways of several days, each way of a day followed by that of the next which is most like it, one to one."""
    chain = days[:1]
    for way in days[1:]:
        chain.append(way[assign(_gains(_visits(chain[-1], places), _visits(way, places)))])
    return np.concatenate(chain, axis=1)


def _visits(ways: Ways, places: int) -> NDArray[np.float64]:
    return np.stack([(ways == place).mean(axis=1) for place in range(places)], axis=1)


@njit(cache=True, nogil=True)
def _gains(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of two days' visits together less the mean of each alone, f64[ways, ways]: 0 if they are alike."""
    gains = np.zeros((len(one), len(other)))
    for i in range(len(one)):
        for j in range(len(other)):
            for place in range(one.shape[1]):
                a, b = one[i, place], other[j, place]
                middle = (a + b) / 2
                if middle > 0:
                    gains[i, j] -= middle * np.log(middle)
                if a > 0:
                    gains[i, j] += a * np.log(a) / 2
                if b > 0:
                    gains[i, j] += b * np.log(b) / 2
    return gains
