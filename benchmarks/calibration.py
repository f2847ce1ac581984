"""What was chosen of calibration by counts on site, tried in towns of other seeds than validation judges. CPU: minutes.

    python -m benchmarks.calibration [--seeds 30] [--draws 4]

Each town's two days before are released with noise and counted on site as in validation (`validation/calibrated.py`).
Of these factors are found in several ways, and put on the town's day as it was counted: what is left are median errors,
before noise, of about so many people. `--seeds`: how far the towns' seeds are beyond those of validation's. Days before
are whatever weekdays they are.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np

from schemas.measures import Measure
from schemas.plan import Correction, Plan
from streams.core.calibration.calibration import (
    ALIKE,
    BY_ITSELF,
    LEAST,
    MOST,
    Erring,
    Evidence,
    Told,
    by_part_of_day,
    found,
    told_from,
)
from streams.core.estimates.factors import correction_of, of_estimates, part_names
from streams.stores.noise import draw
from validation import errors
from validation.calibrated import COUNTER_ERROR, DAYS, Counted, counted, counted_on_site, truth_of, with_factors
from validation.errors import Pairs
from validation.judge import paired, weighted, weights_of_day
from validation.towns import TOWNS, Day, live_days

COLUMNS: Final = (("dwell", 500), ("flows", 500), ("dwell", 50), ("flows", 50), ("present", 500), ("present", 5000))
ALL: Final = Told(0.0, 1.0)


class Way(NamedTuple):
    """How factors are found: of how many days, which panes are taken, how those of estimates err, and if by hours."""

    name: str
    days: int
    panes: Callable[[Evidence], Evidence] = lambda evidence: evidence
    whatever: bool = False
    erring: Erring = ALIKE
    exact: bool = False
    by_hours: bool = True


def told_alone(evidence: Evidence) -> Evidence:
    """Without the panes that were withheld."""
    return evidence.rows(evidence.told)


WAYS: Final = (
    Way("no factors", 0),
    Way("one day, as released", 1),
    Way("two days", 2),
    Way("two days, one factor for the whole day", 2, by_hours=False),
    Way("two days, told numbers alone, whatever was counted on site", 2, told_alone, whatever=True),
    Way("two days, panes by counts on site, without what was withheld", 2, told_alone),
    Way("two days, each pane of estimates worth a whole one", 2, erring=ALIKE._replace(worth=1.0)),
    Way("two days, estimates that err by their noise alone", 2, erring=ALIKE._replace(a_head=0.0)),
    Way("two days' exact shares, nothing withheld", 2, exact=True),
)


def plan_by(way: Way, day: Day, days: Sequence[Counted], lived: Sequence[Day]) -> Plan:
    """The day's plan with the factors that a way finds. `lived`: the days that were counted on site."""
    said = []
    for measure in counted_on_site(day) if way.days else ():
        keys = measure.keys(day.epoch.zones, day.epoch.parents)
        if way.exact:
            factor = _exact(measure, lived[: way.days])
            has = np.flatnonzero(factor != 1.0).tolist()
            said += [correction_of(day.plan, measure, key, float(factor[key]), 0.0) for key in has]
        else:
            said += _found(way, day, measure, days, keys)
    return msgspec.structs.replace(day.plan, calibration=tuple(said))


def _found(way: Way, day: Day, measure: Measure, days: Sequence[Counted], keys: int) -> list[Correction]:
    of_days = days[: way.days]
    estimates, se = map(np.concatenate, zip(*(each.told[measure.name] for each in of_days), strict=True))
    if not len(estimates):
        return []
    evidence = Evidence(*map(np.concatenate, zip(*(each.evidence[measure.name] for each in of_days), strict=True)))
    weights = weights_of_day(day)
    smooth = of_estimates(measure, weights is not None and weights.of(measure) is not None)
    told = ALL if way.whatever else told_from(day.epoch.k, estimates, se)
    group = np.arange(keys) % len(part_names(measure))
    panes, erring = way.panes(evidence), way.erring if smooth else BY_ITSELF
    of = found(panes, group, told, COUNTER_ERROR, erring)
    of_day = by_part_of_day(panes, of, told, COUNTER_ERROR, erring)
    return [
        correction_of(
            *(day.plan, measure, key, float(of.factor[key]), float(of.se[key])),
            hours=of_day.hours(key) if way.by_hours else (),
        )
        for key in np.flatnonzero(of.panes).tolist()
    ]


def _exact(measure: Measure, lived: Sequence[Day]) -> np.ndarray:
    counts = sum(weighted(day)[measure.name].sum(axis=0) for day in lived)
    true = sum(truth_of(day)[measure.name].sum(axis=0) for day in lived)
    factor = np.divide(true, counts, out=np.ones(len(true)), where=counts > 0)
    return np.clip(factor, LEAST, MOST)


def main() -> None:
    """Simulate, find, judge, print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=30)
    arguments.add_argument("--draws", type=int, default=4, help="of noise, for each town")
    asked = arguments.parse_args()
    left: dict[str, list[dict[str, Pairs]]] = {way.name: [] for way in WAYS}
    for shape in TOWNS:
        day, *lived = live_days(shape._replace(seed=shape.seed + asked.seeds), DAYS + 1, lambda _: None)
        truth = truth_of(day)
        exact = {name: (counts.astype(np.float64), np.zeros(counts.shape)) for name, counts in weighted(day).items()}
        for _ in range(asked.draws):
            days = [counted(each, draw) for each in lived]
            for way in WAYS:
                pairs = paired(*with_factors(day, plan_by(way, day, days, lived), exact, truth))
                left[way.name].append({kind: pairs[kind] for kind, _ in COLUMNS})
        print(f"{shape.name}: {day.events:,} events", flush=True)
    print(f"{'':64}{''.join(f'{kind} {size:,}'.rjust(15) for kind, size in COLUMNS)}")
    for name, many in left.items():
        lines = [errors.error(errors.joined([each[kind] for each in many]), size) for kind, size in COLUMNS]
        print(f"{name:64}{''.join(f'{100 * line.median:13.1f} %' if line else ' ' * 15 for line in lines)}")


if __name__ == "__main__":
    main()
