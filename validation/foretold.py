"""Foretold by other places: what is left of the errors of dwell where nobody has counted, once a third of zones were.

In each town a third of the zones, drawn at random, is counted on site on the days before, as in `calibrated`, other
zones with each draw of noise. All towns are one plan, as an operator's is; what its counted zones say of the others
(`streams.core.calibration.foretelling`) is put on the town's day, and those others alone are judged.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.measures import Measure
from schemas.plan import Plan
from streams.core.calibration.foretelling import foretold
from streams.core.estimates.factors import factors_of, part_names
from validation import errors
from validation.calibrated import Counted, Counts, Level, calibrated_plan, corrected_level, hours_of
from validation.errors import Pairs
from validation.judge import VIEWS, paired
from validation.released import Estimates
from validation.towns import Day

COUNTED: Final = 1 / 3  # of a town's zones
DWELL: Final = "dwell"


class Town(NamedTuple):
    """A town's dwell, f64[panes, keys]: what is so, and estimates with their errors as counted and as released.

    Attributes:
        plan: with the factors of the zones that were counted. hours: i64[panes], the local one of each. others:
            bool[keys], of those that were not counted.
    """

    plan: Plan
    measure: Measure
    hours: NDArray[np.int64]
    others: NDArray[np.bool_]
    truth: NDArray[np.int64]
    exact: Level
    noisy: Level


class Foretold(NamedTuple):
    """Pairs by kind: as counted and as released, each without factors and with those foretold; and of how many places
    with a factor of each part these are made, and whether the part is foretold."""

    alone: dict[str, Pairs]
    before: dict[str, Pairs]
    released_alone: dict[str, Pairs]
    released: dict[str, Pairs]
    places: dict[str, tuple[int, bool]]


def town(day: Day, truth: Counts, days: Sequence[Counted], told: Estimates, nth: int = 0) -> Town:
    """A town in which some of the zones were counted on site on other days. `told`: what was released of its dwell;
    `nth`: of how many draws."""
    measure = next(each for each in day.epoch.measures if each.name == DWELL)
    zones, parts = day.epoch.zones, len(part_names(measure))
    at = np.zeros(zones, bool)
    chosen = np.random.default_rng((day.shape.seed, nth))
    at[chosen.choice(zones, round(COUNTED * zones), replace=False)] = True
    some = [
        Counted({DWELL: (of := each.evidence[DWELL]).rows(at[of.key // parts])}, {DWELL: each.told[DWELL]})
        for each in days
    ]
    exact = day.counts[DWELL].astype(np.float64)
    return Town(
        calibrated_plan(day, some),
        measure,
        hours_of(day, measure),
        np.repeat(~at, parts),
        truth[DWELL],
        (exact, np.zeros(exact.shape)),
        (told.mean, told.se),
    )


def judge(towns: Sequence[Town]) -> Foretold:
    """What the zones that were counted say of the others of all towns, held against the truth."""
    found = foretold(_one([town.plan for town in towns]), towns[0].measure)
    said = [factor for each in found for factor in each.factors]
    with_factors = [
        msgspec.structs.replace(
            town.plan,
            calibration=tuple(
                msgspec.structs.replace(factor, place=place)
                for factor in said
                if (place := factor.place.removeprefix(f"{n} ")) != factor.place
            ),
        )
        for n, town in enumerate(towns)
    ]
    without = [msgspec.structs.replace(town.plan, calibration=()) for town in towns]

    def side(plans: list[Plan], noisy: bool) -> dict[str, Pairs]:
        pairs = zip(towns, plans, strict=True)
        many = [_pairs(town, plan, town.noisy if noisy else town.exact) for town, plan in pairs]
        return {kind: errors.joined([each[kind] for each in many]) for kind in many[0]}

    return Foretold(
        side(without, False),
        side(with_factors, False),
        side(without, True),
        side(with_factors, True),
        {each.part: (each.places, bool(each.factors)) for each in found},
    )


def _one(plans: Sequence[Plan]) -> Plan:
    """The towns as one plan; ids are the town's number and theirs."""
    replace = msgspec.structs.replace
    return replace(
        plans[0],
        zones=tuple(replace(zone, id=f"{n} {zone.id}") for n, plan in enumerate(plans) for zone in plan.zones),
        cells=tuple(replace(cell, zone=f"{n} {cell.zone}") for n, plan in enumerate(plans) for cell in plan.cells),
        calibration=tuple(
            replace(each, place=f"{n} {each.place}") for n, plan in enumerate(plans) for each in plan.calibration
        ),
    )


def _pairs(town: Town, plan: Plan, level: Level) -> dict[str, Pairs]:
    """Of the zones that were not counted."""
    corrected = corrected_level(factors_of(plan, town.measure), town.hours, VIEWS[DWELL], level)
    told, errs = (column[:, town.others] for column in corrected)
    return errors.larger(paired({DWELL: told}, {DWELL: town.truth[:, town.others]}, {DWELL: errs}))
