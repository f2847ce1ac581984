"""What follows from released records, by whoever reads them: it costs no budget, and each number keeps its error.

    came_from, goes_to    of a place: from where, and to where, with shares
    footfall_of           of a window of several panes

Estimates of one place's successive panes err alike, since the filter carries errors on, and so does the network's view
of the place: their standard errors add up. Those of different places, and of arrivals and people present, are
independent: variances are added. Each covers what the least whole of the panes that it is made of does.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from schemas.released import Flow, Footfall


class Sum(NamedTuple):
    """People, and the standard error; `view_se`: that of the network's view, None where a record tells of none;
    `covered`: the smallest share of the network that any of the panes is from."""

    estimate: float
    se: float
    view_se: float | None = None
    covered: float = 1.0


class Part(NamedTuple):
    """Trips from or to a place over the given panes, and their share of all that is told, with standard errors.
    `view_se`: of the estimate, as in `Sum`. `covered`: of all that the share is of."""

    place: str
    estimate: float
    se: float
    share: float
    share_se: float
    view_se: float | None = None
    covered: float = 1.0


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
    found = Sum(0.0, 0.0, 0.0)
    for record in panes:
        if record.estimate is None or record.se is None:
            return None
        found = added(found, Sum(record.estimate, record.se, record.view_se, record.covered))
    return found


def _parts(flows: Iterable[Flow], other: Callable[[Flow], str]) -> list[Part]:
    sums: dict[str, Sum] = {}
    for flow in flows:
        before = sums.get(other(flow), Sum(0.0, 0.0, 0.0))
        sums[other(flow)] = added(before, Sum(flow.estimate, flow.se, flow.view_se, flow.covered))
    total, variance = sum(each.estimate for each in sums.values()), sum(each.se**2 for each in sums.values())
    covered = min((each.covered for each in sums.values()), default=1.0)
    found = [_part(place, each, total, variance)._replace(covered=covered) for place, each in sums.items() if total > 0]
    return sorted(found, key=lambda part: (-part.estimate, part.place))


def _part(place: str, own: Sum, total: float, variance: float) -> Part:
    """The share's error is that of a ratio, to the first order, of which the own trips are a part of the whole."""
    share = own.estimate / total
    error = math.sqrt(((1 - share) * own.se) ** 2 + share**2 * (variance - own.se**2)) / total
    return Part(place, own.estimate, own.se, share, error, own.view_se)


def added(one: Sum, other: Sum) -> Sum:
    """Of one place, or one pair of them, pane by pane: errors add up."""
    known = one.view_se is not None and other.view_se is not None
    view_se = (one.view_se or 0.0) + (other.view_se or 0.0) if known else None
    return Sum(one.estimate + other.estimate, one.se + other.se, view_se, min(one.covered, other.covered))
