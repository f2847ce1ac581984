"""With a density grid: what is left of the errors once a plan knows where its zones' people are, from a census.

The same counts with the same noise are weighted by a plan that `throng zones build --weighted --density` would make. Of
interest are the measures that weights are put on; the others stand as they are released without. By the same plan
`calibrated` judges what is left with counts on site as well.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from validation import draws, errors
from validation.census import census
from validation.draws import Noisy
from validation.errors import Pairs
from validation.judge import Truth, judge, weights_of_day
from validation.released import Estimates
from validation.towns import Day, town_of, with_outlines

KINDS: Final = ("present", "present by cohort", "footfall", "footfall of an hour", "flows by district", "visits")


class ByGrid(NamedTuple):
    """Pairs by kind, and the share of the zones of which the grid was believed, by town."""

    before: dict[str, Pairs]
    released: dict[str, Pairs]
    believed: list[float]


def with_census(day: Day) -> Day:
    """The day by a plan that has its town's census."""
    town = town_of(day.shape)
    return day._replace(plan=with_outlines(town, census(town)))


def estimates(day: Day, noisy: Noisy, yesterday: Noisy, plain: Mapping[str, Estimates]) -> dict[str, Estimates]:
    """What is released of a day `with_census`, of a draw of noise of it and of the day before. `plain`: what is
    released of it without."""
    weights = weights_of_day(day)
    assert weights is not None
    names = [each.name for each in draws.counted_measures(day) if weights.of(each) is not None]
    today, before = ({name: of[name] for name in names} for of in (noisy, yesterday))
    return {**plain, **draws.estimates(day, today, before)}


def by_grid(day: Day, truth: Truth, estimates: Mapping[str, Estimates]) -> ByGrid:
    """Hold a day `with_census`, and what is released of it, against its truth."""
    judged = judge(day, truth, estimates)
    believed = float(np.mean([zone.step is not None for zone in day.plan.zones]))
    counted, told = ({kind: side[kind] for kind in KINDS} for side in (judged.before, judged.released))
    return ByGrid(counted, told, [believed])


def together(many: list[ByGrid]) -> ByGrid:
    """The towns' pairs as one."""
    before = {kind: errors.joined([each.before[kind] for each in many]) for kind in KINDS}
    told = {kind: errors.joined([each.released[kind] for each in many]) for kind in KINDS}
    return ByGrid(before, told, [share for each in many for share in each.believed])
