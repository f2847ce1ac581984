"""Zones that nobody has counted, by counts of others: what is left of their errors. CPU: some ten minutes.

    python -m benchmarks.foretelling [--seeds 30 40] [--draws 6] [--keep FOLDER]

In towns of other seeds than validation judges, a share of the zones, drawn at random, is counted on site on the two
days before, as released (`validation/calibrated.py`). Their factors teach those of the others
(`streams.core.calibration.foretelling`), which are put on the town's day as it was counted; told are the median errors
of these others alone, before noise, of about so many people, and how many 95 % intervals of dwell at 500 hold the
truth. The five towns of a seed are one operator's plan, or each has its own. `--seeds`: how far the towns' seeds are
beyond those of validation's. `--keep`: towns' days are kept there, and taken from there.
"""

import argparse
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.outlines import of_plan
from schemas.measures import Measure
from schemas.plan import Correction
from streams.core.calibration.calibration import (
    ALIKE,
    BY_ITSELF,
    FEWEST_ALIKE,
    LEAST,
    MOST,
    Evidence,
    Found,
    found,
    told_from,
)
from streams.core.calibration.foretelling import fitted
from streams.core.estimates.factors import correction_of, of_estimates, part_names
from streams.stores.noise import draw
from validation import errors
from validation.calibrated import (
    COUNTER_ERROR,
    DAYS,
    Counted,
    Counts,
    Level,
    counted,
    counted_on_site,
    measures_of,
    truth_of,
    with_factors,
)
from validation.errors import Pairs
from validation.judge import paired, weighted, weights_of_day
from validation.towns import TOWNS, Day, Shape, live_days

COLUMNS: Final = (
    *(("dwell", 500), ("dwell, passes", 500), ("dwell, stays", 500), ("dwell", 50), ("present", 50), ("present", 500)),
    *(("present", 5000), ("visits", 50), ("visits", 500), ("flows by zone", 50), ("flows by zone", 500)),
)
NAMES: Final = ("dwell", "present", "visits", "trips_zone")
DRAWS: Final = 3  # of noise; zones are drawn anew each time
AREA: Final = (0,)
PLAN: Final = (0, 1, 2)  # of `outlines.of_plan`: area, own cells' share, neighbours' people whom these serve


class Lived(NamedTuple):
    """A town's day, without noise, and the days before it as counted on site, by draw of noise; `plan`: numbers that
    the plan has of its zones, f64[zones, 3]."""

    day: Day
    truth: Counts
    exact: dict[str, Level]
    before: list[list[Counted]]
    plan: NDArray[np.float64]


class Way(NamedTuple):
    """What is learnt from: the share of zones that are counted (1: those judged too), the plan's numbers (none: no
    factors), of all towns together or of each by itself, and whether only where it holds. `shuffled`: numbers are
    other zones'."""

    name: str
    share: float = 1 / 3
    numbers: Sequence[int] = AREA
    together: bool = True
    held: bool = True
    shuffled: bool = False


WAYS: Final = (
    Way("no factors", numbers=()),
    Way("by areas, a tenth counted", 0.1),
    Way("by areas, a fifth counted", 0.2),
    Way("by areas, a third counted"),
    Way("by areas, half counted", 0.5),
    Way("by areas, a third, each town a plan of its own", together=False),
    Way("by areas, a third, held back nowhere", held=False),
    Way("by three numbers, a third", numbers=PLAN),
    Way("by areas of other zones, a third", shuffled=True),
    Way("the same, each town a plan of its own", shuffled=True, together=False),
    Way("everywhere counted", 1.0),
)


def lived(shape: Shape, keep: Path | None) -> Lived:
    """Simulate a town's days, or take them up."""
    path = None if keep is None else keep / f"{shape.name.replace(' ', '_')}_{shape.seed}.pickle"
    if path is not None and path.exists():
        return Lived(*pickle.loads(path.read_bytes()))
    day, *days = live_days(shape, DAYS + 1, lambda _: None)
    names = {measure.name for measure in measures_of(day)}
    exact = {n: (of.astype(np.float64), np.zeros(of.shape)) for n, of in weighted(day).items() if n in names}
    before = [[counted(each, draw) for each in days] for _ in range(DRAWS)]
    truth, plan = truth_of(day), of_plan(day)
    made = Lived(day._replace(stretches=day.stretches[:0]), truth, exact, before, plan)
    if path is not None:
        path.write_bytes(pickle.dumps(tuple(made)))
    return made


def keys_at(measure: Measure, day: Day, zones: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which keys are of such zones; of trips of two."""
    place = np.arange(measure.keys(day.epoch.zones, day.epoch.parents)) // len(part_names(measure))
    if measure.statistic == "trips":
        return np.asarray(zones[place // day.epoch.zones] & zones[place % day.epoch.zones])
    return np.asarray(zones[place])


def factors(of: Lived, measure: Measure, days: Sequence[Counted], at: NDArray[np.bool_]) -> Found | None:
    """What counts on site of some keys give, as `throng calibrate` has it."""
    estimates, se = map(np.concatenate, zip(*(each.told[measure.name] for each in days), strict=True))
    if not len(estimates):
        return None
    evidence = Evidence(*map(np.concatenate, zip(*(each.evidence[measure.name] for each in days), strict=True)))
    weights = weights_of_day(of.day)
    smooth = of_estimates(measure, weights is not None and weights.of(measure) is not None)
    told, erring = told_from(of.day.epoch.k, estimates, se), ALIKE if smooth else BY_ITSELF
    group = np.arange(len(at)) % len(part_names(measure))
    return found(evidence.rows(at[evidence.key]), group, told, COUNTER_ERROR, erring)


def columns(way: Way, towns: Sequence[Lived], measure: Measure, rng: np.random.Generator) -> list[NDArray[np.float64]]:
    """The plan's numbers of each town's keys, standardised over the towns' zones; of trips of both ends."""
    plan = np.concatenate([each.plan[:, list(way.numbers)] for each in towns])
    plan = (plan - plan.mean(axis=0)) / plan.std(axis=0)
    if way.shuffled:
        plan = rng.permutation(plan)
    of_towns = []
    for each, zones in zip(towns, np.split(plan, np.cumsum([len(one.plan) for one in towns])[:-1]), strict=True):
        number = each.day.epoch.zones
        place = np.arange(measure.keys(number, each.day.epoch.parents)) // len(part_names(measure))
        ends = (place // number, place % number) if measure.statistic == "trips" else (place,)
        of_towns.append(np.column_stack([zones[end] for end in ends]))
    return of_towns


def taught(way: Way, towns: Sequence[Lived], draws: int, chosen: Sequence[NDArray[np.bool_]]) -> list[list[Correction]]:
    """The factors of each town's keys that were not counted, by those that were."""
    said: list[list[Correction]] = [[] for _ in towns]
    for name in NAMES if way.numbers else ():
        measure = next(each for each in counted_on_site(towns[0].day) if each.name == name)
        rng = np.random.default_rng(draws)
        at = [keys_at(measure, each.day, zones) for each, zones in zip(towns, chosen, strict=True)]
        of = [factors(each, measure, each.before[draws % DRAWS], keys) for each, keys in zip(towns, at, strict=True)]
        numbers, parts = columns(way, towns, measure, rng), len(part_names(measure))
        for part in range(parts):
            mine = [np.arange(len(keys)) % parts == part for keys in at]
            rows = [(f, (f.panes > 0) & m, x) for f, m, x in zip(of, mine, numbers, strict=True) if f is not None]
            if sum(int(has.sum()) for _, has, _ in rows) < FEWEST_ALIKE:
                continue
            factor, se = (np.concatenate([getattr(f, side)[has] for f, has, _ in rows]) for side in ("factor", "se"))
            line = fitted(np.log(factor), se / factor, np.concatenate([x[has] for _, has, x in rows]))
            if way.held and not line.holds:
                continue
            for town, keys, m, x, one in zip(said, at, mine, numbers, towns, strict=True):
                rest = np.flatnonzero(m & ~keys)
                logarithm, off = line.at(x[rest])
                by = np.clip(np.exp(logarithm), LEAST, MOST)
                told = zip(rest.tolist(), by.tolist(), (by * off).tolist(), strict=True)
                town += [correction_of(one.day.plan, measure, *each) for each in told]
    return said


def own(of: Lived, draws: int) -> list[Correction]:
    """The factors where everybody is counted."""
    said = []
    for measure in counted_on_site(of.day):
        keys = measure.keys(of.day.epoch.zones, of.day.epoch.parents)
        by = factors(of, measure, of.before[draws % DRAWS], np.ones(keys, bool))
        has = [] if by is None else np.flatnonzero(by.panes).tolist()
        said += [correction_of(of.day.plan, measure, n, float(by.factor[n]), float(by.se[n])) for n in has]
    return said


def left(way: Way, towns: Sequence[Lived], draws: int) -> list[dict[str, Pairs]]:
    """The pairs of the towns' keys that were not counted, or of as many where all are."""
    chosen = []
    for each in towns:
        zones, share = each.day.epoch.zones, way.share if way.share < 1 else 1 / 3
        of = np.zeros(zones, bool)
        rng = np.random.default_rng((draws, each.day.shape.seed))
        of[rng.choice(zones, round(share * zones), replace=False)] = True
        chosen.append(of)
    if way.share == 1:
        said = [own(each, draws) for each in towns]
    elif way.together:
        said = taught(way, towns, draws, chosen)
    else:
        said = [taught(way, [one], draws, [of])[0] for one, of in zip(towns, chosen, strict=True)]
    found_pairs = []
    for each, of, corrections in zip(towns, chosen, said, strict=True):
        plan = msgspec.structs.replace(each.day.plan, calibration=tuple(corrections))
        sides = with_factors(each.day, plan, each.exact, each.truth)
        judged = [measure for measure in counted_on_site(each.day) if measure.name in NAMES]
        rest = {measure.name: ~keys_at(measure, each.day, of) for measure in judged}
        told, true, se = ({name: side[name][:, keys] for name, keys in rest.items()} for side in sides)
        found_pairs.append(paired(told, true, se))
    return found_pairs


def main() -> None:
    """Simulate, learn, judge, print."""
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.foretelling", description=__doc__)
    arguments.add_argument("--seeds", type=int, nargs="+", default=[30, 40])
    arguments.add_argument("--draws", type=int, default=6, help="of the zones that are counted")
    arguments.add_argument("--keep", type=Path, help="folder for the towns' days")
    asked = arguments.parse_args()
    regions = []
    for seeds in asked.seeds:
        regions.append([lived(shape._replace(seed=shape.seed + seeds), asked.keep) for shape in TOWNS])
        print(f"seeds {seeds} beyond: simulated", flush=True)
    print(f"{'':48}{''.join(f'{kind} {size:,}'.rjust(19) for kind, size in COLUMNS)}{'intervals hold':>17}")
    for way in WAYS:
        many = [pairs for draws in range(asked.draws) for towns in regions for pairs in left(way, towns, draws)]
        lines = [errors.error(errors.joined([each[kind] for each in many]), size) for kind, size in COLUMNS]
        told = "".join(f"{100 * line.median:17.1f} %" if line else " " * 19 for line in lines)
        print(f"{way.name:48}{told}{100 * lines[0].covered if lines[0] else 0:15.1f} %", flush=True)


if __name__ == "__main__":
    main()
