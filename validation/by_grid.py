"""With a density grid: what is left of the errors once a plan knows where its zones' people are, from a census.

The same counts are weighted by a plan that `throng zones build --weighted --density` would make, and released with
noise of their own. Of interest are the measures that weights are put on.
"""

from typing import Final, NamedTuple

import numpy as np

from validation import errors
from validation.census import census
from validation.errors import Pairs
from validation.judge import judge
from validation.released import Noise
from validation.towns import Day, town_of, with_outlines

KINDS: Final = ("present", "present by cohort", "footfall", "footfall of an hour", "flows by district", "visits")


class ByGrid(NamedTuple):
    """Pairs by kind, and the share of the zones of which the grid was believed, by town."""

    before: dict[str, Pairs]
    released: dict[str, Pairs]
    believed: list[float]


def by_grid(day: Day, noise: Noise) -> ByGrid:
    """Hold a day against its truth, weighted by its town's census."""
    town = town_of(day.shape)
    plan = with_outlines(town, census(town))
    judged = judge(day._replace(plan=plan), noise)
    believed = float(np.mean([zone.step is not None for zone in plan.zones]))
    before, told = ({kind: side[kind] for kind in KINDS} for side in (judged.before, judged.released))
    return ByGrid(before, told, [believed])


def together(many: list[ByGrid]) -> ByGrid:
    """The towns' pairs as one."""
    before = {kind: errors.joined([each.before[kind] for each in many]) for kind in KINDS}
    told = {kind: errors.joined([each.released[kind] for each in many]) for kind in KINDS}
    return ByGrid(before, told, [share for each in many for share in each.believed])
