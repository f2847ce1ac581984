"""How much singles a person out: unicity, and home and work. What the internal state would give away if it left.

Unicity (de Montjoye, Hidalgo, Verleysen and Blondel 2013, "Unique in the Crowd"): the share of people of whom p known
points (a zone in an hour) fit nobody else's way. Home and work (Zang and Bolot 2011, "Anonymization of Location Data
Does Not Work"): how many share one's two most visited zones. Both on the ways under pseudonyms within a day.

From what is released nobody's ways can be had, so the question is turned round: does it help to guess where somebody
works, whose home is known? Whoever guesses by the released flows is tried on people who were counted and on people who
weren't. What works for both alike is knowledge of the town, not of a person.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.chance import Estimate, difference, mean
from attacks.leaving import Published
from attacks.town import ABSENT

POINTS: Final = (1, 2, 3, 4)
DRAWS: Final = 5  # sets of points a person
# Hours from 04:00 in which people sleep, go to work, come home, and are at work.
NIGHT: Final = slice(0, 2)
MORNING: Final = slice(1, 7)
EVENING: Final = slice(11, 17)
WORKING: Final = slice(6, 11)
PRIOR: Final = 4.0


class Guessed(NamedTuple):
    """Shares of right guesses of the place of work: of those counted and not, by flows and by the best one answer."""

    counted: Estimate
    control: Estimate
    prior: Estimate

    @property
    def gain(self) -> Estimate:
        """What those counted lose more than those who weren't."""
        return difference(self.counted, self.control)


def hourly(where: NDArray[np.int16]) -> NDArray[np.int16]:
    """Whereabouts at each full hour, i16[hours, people], of those at each pane's end."""
    return where[11::12]


def unicity(where: NDArray[np.int16], seed: int) -> dict[int, float]:
    """The share singled out by p points of their own way, drawn by lot from the hours in which they were somewhere."""
    rng = np.random.default_rng(seed)
    hours = hourly(where)
    shares = {}
    for points in POINTS:
        unique = tried = 0
        for person in range(hours.shape[1]):
            known = np.flatnonzero(hours[:, person] != ABSENT)
            if len(known) < points:
                continue
            for _ in range(DRAWS):
                at = rng.choice(known, points, replace=False)
                fits = (hours[at] == hours[at, person][:, None]).all(axis=0)
                unique, tried = unique + int(fits.sum() == 1), tried + 1
        shares[points] = unique / max(tried, 1)
    return shares


def top_two(where: NDArray[np.int16], zones: int) -> NDArray[np.int64]:
    """Each person's two most visited zones as one number, -1 for who was seen in fewer."""
    visits = np.stack([(where == zone).sum(axis=0) for zone in range(zones)])
    order = np.argsort(-visits, axis=0, kind="stable")[:2]
    seen_twice = np.take_along_axis(visits, order, axis=0)[1] > 0
    return np.where(seen_twice, order[0] * zones + order[1], -1)


def anonymity_sets(pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """With how many (oneself included) each person shares the pair; of those who have one."""
    kinds, who = np.unique(pairs[pairs >= 0], return_inverse=True)
    return np.bincount(who, minlength=len(kinds))[who]


def guess_work(
    days: Sequence[Published], home: NDArray[np.int64], work: NDArray[np.int64], counted: NDArray[np.bool_]
) -> Guessed:
    """Say for each person where most trips go from their home in the morning and come from in the evening.

    Where flows tell little the zones count that fill up in the morning: so much as PRIOR trips together.

    Args:
        days: what was published of working days. home, work: true zones; `counted`: whose they are.
    """
    zones = days[0].tables["present"].noisy.shape[1]
    trips = np.nan_to_num(np.stack([day.tables["trips_zone"].estimate for day in days])).sum(axis=0)
    there, back = (trips[hours].sum(axis=0).reshape(zones, zones) for hours in (MORNING, EVENING))
    flows = there + back.T
    present = np.nan_to_num(np.stack([day.tables["present"].estimate for day in days])).mean(axis=0)
    night, day = (present.reshape(24, -1, zones)[hours].mean(axis=(0, 1)) for hours in (NIGHT, WORKING))
    filled = np.maximum(day - night, 0.0)
    best = (flows + PRIOR * filled / max(filled.sum(), 1.0)).argmax(axis=1)
    right = (best[home] == work).astype(np.float64)
    always = np.bincount(work[~counted], minlength=zones).argmax()
    return Guessed(mean(right[counted]), mean(right[~counted]), mean((work == always).astype(np.float64)))
