"""What follows from released records, by whoever reads them: it costs no budget, and each number keeps its error.

    came_from, goes_to    of a place: from where, and to where, with shares
    footfall_of           of a window of several panes

Estimates of one place's successive panes err alike, since the filter carries errors on: their standard errors add up.
Those of different places, and of arrivals and people present, are independent: variances are added.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from schemas.released import Flow, Footfall


class Sum(NamedTuple):
    """People, and the standard error."""

    estimate: float
    se: float


class Part(NamedTuple):
    """Trips from or to a place over the given panes, and their share of all that is told, with standard errors."""

    place: str
    estimate: float
    se: float
    share: float
    share_se: float


def came_from(flows: Iterable[Flow], place: str) -> list[Part]:
    """Where trips to the place began, the most first. `flows`: of one measure, of any panes.

    Pairs too small to be told are in none of it: shares are of the trips that are.
    """
    return _parts((flow for flow in flows if flow.destination == place), lambda flow: flow.origin)


def goes_to(flows: Iterable[Flow], place: str) -> list[Part]:
    """Where trips from the place ended, the most first; else as `came_from`."""
    return _parts((flow for flow in flows if flow.origin == place), lambda flow: flow.destination)


def footfall_of(footfall: Footfall, arrivals: Sequence[Footfall]) -> Sum | None:
    """Footfall of a window: of its first pane, and arrivals in the panes after; None if any of it is not told.

    Who has been away for longer than an arrival's gap, and comes back within the window, counts twice.

    Raises:
        ValueError: the records are not of one place, or their panes don't follow each other.
    """
    panes = [footfall, *arrivals]
    whole = all(one.end == next_.start for one, next_ in pairwise(panes))
    if not whole or len({(record.level, record.zone) for record in panes}) > 1:
        raise ValueError("the panes of a window must follow each other, and be of one place")
    if footfall.measure != "footfall" or any(record.measure != "arrivals" for record in arrivals):
        raise ValueError("a window is the footfall of its first pane, and arrivals in the others")
    told = [(record.estimate, record.se) for record in panes]
    if any(estimate is None or se is None for estimate, se in told):
        return None
    return Sum(sum(estimate or 0.0 for estimate, _ in told), sum(se or 0.0 for _, se in told))


def _parts(flows: Iterable[Flow], other: Callable[[Flow], str]) -> list[Part]:
    sums: dict[str, Sum] = {}
    for flow in flows:
        before = sums.get(other(flow), Sum(0.0, 0.0))
        sums[other(flow)] = Sum(before.estimate + flow.estimate, before.se + flow.se)
    total, variance = sum(each.estimate for each in sums.values()), sum(each.se**2 for each in sums.values())
    found = [_part(place, each, total, variance) for place, each in sums.items() if total > 0]
    return sorted(found, key=lambda part: (-part.estimate, part.place))


def _part(place: str, own: Sum, total: float, variance: float) -> Part:
    """The share's error is that of a ratio, to the first order, of which the own trips are a part of the whole."""
    share = own.estimate / total
    error = math.sqrt(((1 - share) * own.se) ** 2 + share**2 * (variance - own.se**2)) / total
    return Part(place, own.estimate, own.se, share, error)
