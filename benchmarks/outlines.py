"""How long people were there, foretold from outlines: true presences of each length to each that is told, by the plan.

A pass leaves the fewer events the smaller the zone is, and the more of it a neighbour's cells serve. So of each length
the logarithm of the ratio of true to told presences of a zone's day is fitted, linearly, to what `throng zones build`
knows of it: the logarithm of its area, its own cells' share of its people, and how many of its neighbours' people these
serve, to its own. It is learnt in other towns and used where it was not; told are the median errors of dwell, before
noise, where truly about 500 people were.

    python -m benchmarks.outlines [--towns 5]

Towns have the same core of zones, moved a little, so the sterner columns learn from towns of other shapes alone, and
there from zones of other kinds alone.
"""

import argparse
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from benchmarks.passes import PASSES, STAYS, Counts, by_length, line
from validation import happened
from validation.towns import TOWNS, Day, Shape, discs, live, town_of

SEEDS: Final = (30, 40)  # after those of the towns that are judged
LENGTHS: Final = PASSES + STAYS
FEWEST: Final = 100  # presences of a length in a zone's day: of fewer nothing is learnt
MOST: Final = 3000  # more of them weigh no more
RIDGE: Final = 1e-3
BOUNDS: Final = (-1.0, 1.2)  # of the logarithm
HOURLY: Final = 200.0  # presences that each hour's ratio is drawn to 1 by


class Known(NamedTuple):
    """A town's day: dwell as told and as it was, f64[hours, zones, lengths], and of its zones the plan's numbers,
    f64[zones, 3], and their kinds."""

    shape: Shape
    told: Counts
    true: Counts
    plan: NDArray[np.float64]
    kind: NDArray[np.str_]


def known(shape: Shape) -> Known:
    """Simulate and count a town's day."""
    day = live(shape, lambda _: None)
    measure = next(m for m in day.epoch.measures if m.statistic == "dwell")
    there = happened.presences(day.stretches, day.excluded, day.epoch)
    true = by_length(happened.dwell(there, day.epoch, measure))
    kinds = np.array([zone.kind for zone in day.plan.zones])
    return Known(shape, by_length(day.counts[measure.name]), true, of_plan(day), kinds)


def of_plan(day: Day) -> NDArray[np.float64]:
    """Of each zone the logarithm of its area, its own cells' share of it, and of all their people how many are not in
    it, if they are spread evenly, as the logarithm of 1 and that."""
    numbers = day.plan.zone_numbers()
    served = np.zeros((len(numbers),) * 2)
    for zone in day.plan.zones:
        for part in zone.counted:
            served[numbers[part.zone], numbers[zone.id]] = part.share
    area = shapely.area(discs(town_of(day.shape)))
    own = np.diag(served)
    return np.column_stack([np.log(area), own, np.log1p(served @ area / area - own)])


def learnt(of: list[Known], keep: Callable[[Known], NDArray[np.bool_]]) -> Callable[[NDArray[np.float64]], Counts]:
    """From the plan's numbers of zones to the logarithms of their ratios, f64[zones, LENGTHS]."""
    told = np.concatenate([each.told.sum(axis=0)[keep(each)] for each in of])[:, LENGTHS]
    true = np.concatenate([each.true.sum(axis=0)[keep(each)] for each in of])[:, LENGTHS]
    plan = np.concatenate([each.plan[keep(each)] for each in of])
    middle, spread = plan.mean(axis=0), plan.std(axis=0)
    columns = np.column_stack([np.ones(len(plan)), (plan - middle) / spread])
    enough = (told > FEWEST) & (true > FEWEST)
    ratio = np.log(np.maximum(true, 1) / np.maximum(told, 1))
    found = []
    for length in range(len(LENGTHS)):
        weight = np.where(enough[:, length], np.minimum(told[:, length], MOST), 0.0)
        pull = RIDGE * weight.sum() * np.diag([0.0, 1.0, 1.0, 1.0]) + 1e-9 * np.eye(4)
        by = columns.T * weight
        found.append(np.linalg.solve(by @ columns + pull, by @ ratio[:, length]))
    weights = np.array(found).T
    return lambda at: np.asarray(
        np.clip(np.column_stack([np.ones(len(at)), (at - middle) / spread]) @ weights, *BOUNDS)
    )


def mended(of: Known, rest: list[Known], lengths: list[int], strict: bool, hourly: bool) -> Counts:
    """What is told of a town with the ratios that others teach. `strict`: of each zone zones of other kinds;
    `hourly`: with each hour's ratio besides."""
    ratios = np.zeros((len(of.kind), len(LENGTHS)))
    for kind in np.unique(of.kind) if strict else [""]:
        at = of.kind == kind if strict else np.ones(len(of.kind), bool)
        ratios[at] = learnt(rest, lambda each, kind=kind: each.kind != kind)(of.plan[at])  # type: ignore[misc]
    told = of.told.copy()
    whole = learnt(rest, lambda each: np.ones(len(each.kind), bool))
    for n, length in enumerate(LENGTHS):
        if length in lengths:
            told[:, :, length] *= np.exp(ratios[:, n])
            if hourly:
                right = sum(each.true[:, :, length].sum(axis=1) for each in rest)
                said = sum((each.told[:, :, length] * np.exp(whole(each.plan)[:, n])).sum(axis=1) for each in rest)
                told[:, :, length] *= ((right + HOURLY) / (said + HOURLY))[:, None]
    return told


def main() -> None:
    """Simulate, learn, print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.outlines", description=__doc__)
    options.add_argument("--towns", type=int, default=len(TOWNS))
    chosen = options.parse_args()
    towns = [known(shape._replace(seed=shape.seed + seeds)) for seeds in SEEDS for shape in TOWNS[: chosen.towns]]
    for number in (len(towns) // len(SEEDS), len(towns)):
        print(f"{number} towns")
        tell(towns[:number])


def tell(towns: list[Known]) -> None:
    """The errors in each of these towns, by what the others teach."""
    true = [each.true for each in towns]

    def say(name: str, told: list[Counts]) -> None:
        print(name, "dwell", line(told, true, LENGTHS), "passes", line(told, true, PASSES), flush=True)

    say("as told:", [each.told for each in towns])
    for held, apart in (("towns", lambda a, b: a is not b), ("shapes", lambda a, b: a.shape.name != b.shape.name)):
        rests = [[each for each in towns if apart(each, of)] for of in towns]
        for name, lengths, strict, hourly in (
            ("passes", PASSES, False, False),
            ("all lengths", LENGTHS, False, False),
            ("all lengths, zones of other kinds", LENGTHS, True, False),
            ("all lengths, and each hour's ratio", LENGTHS, False, True),
        ):
            told = [mended(of, rest, lengths, strict, hourly) for of, rest in zip(towns, rests, strict=True)]
            say(f"learnt in other {held}, {name}:", told)


if __name__ == "__main__":
    main()
