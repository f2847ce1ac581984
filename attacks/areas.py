"""Home and work inference: from what is released of visitors by where they live or work (`home`, `work`).

Zang and Bolot 2011 ask what two places say of a person; here the two never meet, and one of them, a district, is told
of a crowd. Two attackers ask for the district of one person:

    company  knows where the target went, and takes what the visitors of these places in these hours have most in
             common. Tried on people who were counted and on people who weren't: what works for both alike is
             knowledge of the town (who goes there lives there), not of a person
    all else knows everything but the target's district: all that everybody else added, and at which places and hours
             the target came; and is asked which of two it is, the target's and another drawn by lot. The likelihood
             ratio, and no test is better (Neyman and Pearson). Guessing is right in a half

For the latter there is a bound: the two districts move the counts of the same visits from one key to another, which is
twice as far, squared, as leaving them out. So Gaussian noise at rho of the measure is at the distance sqrt(4 rho), and
the best test is right with a chance of Phi(sqrt(rho)) (Dong, Roth and Su 2022): `chance.auc_bound`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.chance import Estimate, auc_bound, mean
from attacks.leaving import Published
from attacks.membership import Release, Target
from attacks.town import ABSENT, World
from attacks.uniqueness import Guessed, hourly
from streams.core.release.budget import rho_of

KINDS: Final = ("home", "work")
ALIKE: Final = 1.0  # so much as one person of each district are taken for granted of any visitors


class Known(NamedTuple):
    """People whose district throng knows, as the strong attacker takes them.

    Attributes:
        parts: into which the count of a place is split. area: their districts.
        cells: by person the rows and places at which they were counted by it, and how often.
    """

    parts: int
    area: NDArray[np.int64]
    cells: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]]]


class Found(NamedTuple):
    """Shares of right answers of who knows all else, by what they see; and the bound of any attacker's."""

    right: dict[str, Estimate]
    bound: float


def known(targets: Sequence[Target], kind: str, areas: int) -> Known:
    """Targets who were counted by a district of theirs; who was by several, by the most frequent."""
    found = Known(areas + 1, np.zeros(0, np.int64), [])
    for target in targets:
        rows, keys, adds = target.cells[kind]
        places, parts = keys // (areas + 1), keys % (areas + 1)
        if not (parts < areas).any():
            continue
        most = int(np.bincount(parts[parts < areas], minlength=areas).argmax())
        own = parts == most
        cells = [*found.cells, (rows[own], places[own], adds[own])]
        found = Known(areas + 1, np.append(found.area, most), cells)
    return found


def likelier(
    table: NDArray[np.float64], truth: NDArray[np.int64], scale: float, people: Known, others: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How far the likelihood is for each one's district, and against the other that they are compared with.

    Args:
        table: what is told, f64[panes, keys], NaN where nothing is. truth: of all people, those asked for among them.
        scale: the noise's standard deviation.
    """
    found = np.zeros(len(people.cells))
    for number, (rows, places, adds) in enumerate(people.cells):
        own, other = (places * people.parts + area[number] for area in (people.area, others))
        with_it = table[rows, own] - (truth[rows, own] - adds)
        without = table[rows, other] - truth[rows, other]
        ratios = [np.nan_to_num((over * adds - adds**2 / 2) / scale**2) for over in (with_it, without)]
        found[number] = ratios[0].sum() - ratios[1].sum()
    return found


class AllElse:
    """Who knows all else, at each of the releases that the membership game makes."""

    def __init__(self, world: World) -> None:
        self._areas = len(world.plan.parents)
        self._lots = np.random.default_rng(world.size.seed)
        self._right: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
        self._bound: dict[str, float] = {}

    def __call__(self, release: Release) -> None:
        """Take one release."""
        counted = [target for target, inside in zip(release.targets, release.inside.tolist(), strict=True) if inside]
        for measure in release.day.epoch.measures:
            if measure.statistic not in KINDS:
                continue
            self._bound[measure.name] = auc_bound(rho_of(measure, release.day.epoch))
            people = known(counted, measure.name, self._areas)
            if not people.cells:
                continue
            others = (people.area + self._lots.integers(1, self._areas, len(people.area))) % self._areas
            for name, seen in release.views.items():
                ratio = likelier(
                    seen.tables[measure.name],
                    release.truth[measure.name],
                    seen.scales[measure.name],
                    people,
                    others,
                )
                right = float(((ratio > 0) + 0.5 * (ratio == 0)).mean())
                self._right[measure.name].setdefault(name, []).append(right)

    def found(self, kind: str) -> Found:
        """Over all releases: they are independent of each other, people in one share its noise."""
        right = {name: mean(np.array(shares)) for name, shares in self._right[kind].items()}
        return Found(right, self._bound[kind])


def by_company(
    days: Sequence[Published],
    kind: str,
    where: Sequence[NDArray[np.int16]],
    area: NDArray[np.int64],
    counted: NDArray[np.bool_],
) -> Guessed:
    """Say for each person the district that visitors of the places where they came have most in common.

    Args:
        where: of each day, i16[panes, people], where they truly were. area: their true districts. counted: whose.
    """
    zones = days[0].tables["present"].estimate.shape[1]
    areas = days[0].tables[kind].estimate.shape[1] // zones - 1
    shares = (np.bincount(area[~counted], minlength=areas) + 1.0) / ((~counted).sum() + areas)
    scores = np.tile(np.log(shares), (len(area), 1))
    for day, at in zip(days, where, strict=True):
        here = hourly(at)
        told = np.maximum(np.nan_to_num(day.tables[kind].estimate), 0.0).reshape(len(here), zones, areas + 1)
        alike = told[:, :, :areas] + ALIKE * shares
        says = np.log(alike / (alike.sum(axis=2, keepdims=True) * shares))
        for person in range(len(area)):
            places, hours = np.unique(here[:, person], return_index=True)  # where each was first
            came = hours[places != ABSENT], places[places != ABSENT]
            scores[person] += says[came].sum(axis=0)
    right = (scores.argmax(axis=1) == area).astype(np.float64)
    always = (area == shares.argmax()).astype(np.float64)
    return Guessed(mean(right[counted]), mean(right[~counted]), mean(always))
