"""Released flows by distance: how far people went, from how far they came. It costs no budget.

In: released flows, of trips or of passes, and the places of the plan that they name. The distance of a trip is that
between the middles of its two places, along a great circle: a property of the pair, so nothing is counted for it. A
district's middle is the mean of its zones' that have one. A trip within one district is of no distance; nobody was
asked for the way taken.

Pairs too small to be told are in no band. Far ones are the smaller ones, so the far bands miss the most.

Errors add up as in `streams.core.derived.derived`: of one pair's panes errors do, of different pairs variances. So does
the network's view of them, though pairs of one place share it: `python -m benchmarks.bands` tells how often that holds.
"""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Final, NamedTuple

from schemas.distances import DISTANCES_SCHEMA, Distance, Distances
from schemas.measures import Level
from schemas.plan import Places
from schemas.released import Flow
from streams.core.derived.derived import Sum, added
from streams.core.distances import EARTH_M

# Where bands end; each is from its start to less than its end, and the last one has none.
ENDS_KM: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)

Position = tuple[float, float]


class Band(NamedTuple):
    """Trips of `from_km` to less than `to_km`, or any longer one; both None: of places without a position.

    Attributes:
        estimate, se: of the trips, and the standard error. share: of all that are told. pairs: how many they are of.
        view_se: the standard error of the network's view, as in `streams.core.derived.derived.Sum`.
    """

    from_km: float | None
    to_km: float | None
    estimate: float
    se: float
    share: float
    pairs: int
    view_se: float | None = None


def by_distance(flows: Iterable[Flow], places: Places, ends_km: Sequence[float] = ENDS_KM) -> list[Band]:
    """The bands in rising order, empty ones too; then the trips of unknown distance, if there are any.

    Args:
        flows: of one measure, of any panes. To have those of one place, hand on its own.

    Raises:
        ValueError: `ends_km` don't rise from above 0, or a flow is not of the plan.
    """
    sums = _Sums()
    for flow in flows:
        sums.add(flow, places)
    return sums.bands(places, ends_km)


def distances(flows: Iterable[Flow], places: Places, origin: str = "", destination: str = "") -> list[Distances]:
    """What is told of each measure, by name. `origin`, `destination`: the place that they must be from or to, if any.

    Raises:
        ValueError: a flow is not of the plan.
    """
    measures: dict[str, _Sums] = {}
    for flow in flows:
        if origin in ("", flow.origin) and destination in ("", flow.destination):
            measures.setdefault(flow.measure, _Sums()).add(flow, places)
    return [
        Distances(
            schema=DISTANCES_SCHEMA,
            measure=measure,
            level=sums.level,
            start=sums.start,
            end=sums.end,
            flows=sums.flows,
            covered=sums.covered,
            bands=tuple(
                Distance(
                    *(round(b.estimate, 1), round(b.se, 1), round(b.share, 4), b.pairs, b.from_km, b.to_km),
                    None if b.view_se is None else round(b.view_se, 1),
                )
                for b in sums.bands(places, ENDS_KM)
            ),
            plan=places.plan,
            origin=origin,
            destination=destination,
            purpose=sums.purpose,
        )
        for measure, sums in sorted(measures.items())
    ]


class _Sums:
    """Flows of one measure added up by pair, and the time that they are of."""

    def __init__(self) -> None:
        self._pairs: dict[tuple[str, str, str], Sum] = {}
        self.level: Level = "zone"
        self.start = self.end = self.purpose = ""
        self.flows = 0
        self.covered = 1.0

    def add(self, flow: Flow, places: Places) -> None:
        if flow.plan != places.plan:
            raise ValueError(f"a flow is of the plan {flow.plan}, the places are of {places.plan}")
        pair = (flow.level, flow.origin, flow.destination)
        before = self._pairs.get(pair, Sum(0.0, 0.0, 0.0))
        self._pairs[pair] = added(before, Sum(flow.estimate, flow.se, flow.view_se))
        # RFC 3339 in UTC, of one length: what comes first in time does as text.
        self.start, self.end = min(self.start or flow.start, flow.start), max(self.end, flow.end)
        self.level, self.purpose = flow.level, flow.purpose
        self.flows += 1
        self.covered = min(self.covered, flow.covered)

    def bands(self, places: Places, ends_km: Sequence[float]) -> list[Band]:
        limits = (0.0, *ends_km)
        if any(end <= start for start, end in zip(limits, ends_km, strict=False)):
            raise ValueError("the ends of distance bands must rise, from above 0")
        middles = {"zone": _of_zones(places), "parent": _of_districts(places)}
        banded: dict[int | None, list[Sum]] = {number: [] for number in range(len(limits))}
        for (level, origin, destination), told in self._pairs.items():
            km = _between(middles[level], origin, destination)
            number = None if km is None else sum(km >= end for end in ends_km)
            banded.setdefault(number, []).append(told)
        total = sum(each.estimate for each in self._pairs.values())
        found = [
            _band(start, end, banded[number], total)
            for number, (start, end) in enumerate(zip(limits, (*ends_km, None), strict=True))
        ]
        return found + [_band(None, None, unknown, total) for unknown in [banded.get(None)] if unknown]


def _band(from_km: float | None, to_km: float | None, told: Sequence[Sum], total: float) -> Band:
    """Different pairs err apart: their variances are added."""
    estimate, se = sum(each.estimate for each in told), math.hypot(*(each.se for each in told))
    views = [each.view_se for each in told if each.view_se is not None]
    view_se = math.hypot(*views) if len(views) == len(told) else None
    return Band(from_km, to_km, estimate, se, estimate / total if total > 0 else 0.0, len(told), view_se)


def _between(middles: dict[str, Position], origin: str, destination: str) -> float | None:
    """0 within a place, whether or not it has a position."""
    if origin == destination:
        return 0.0
    if origin not in middles or destination not in middles:
        return None
    return great_circle_km(middles[origin], middles[destination])


def great_circle_km(one: Position, other: Position) -> float:
    """Between (latitude, longitude) in degrees, on a sphere, by the haversine: within 0.6 % of the ellipsoid's."""
    (lat, lon), (other_lat, other_lon) = (tuple(map(math.radians, each)) for each in (one, other))
    half_chord = (
        math.sin((other_lat - lat) / 2) ** 2
        + math.cos(lat) * math.cos(other_lat) * math.sin((other_lon - lon) / 2) ** 2
    )
    return 2 * EARTH_M / 1000 * math.asin(math.sqrt(min(1.0, half_chord)))


def _of_zones(places: Places) -> dict[str, Position]:
    return {zone.id: (zone.lat, zone.lon) for zone in places.zones if zone.lat is not None and zone.lon is not None}


def _of_districts(places: Places) -> dict[str, Position]:
    of_zones, members = _of_zones(places), dict[str, list[Position]]()
    for zone in places.zones:
        if zone.id in of_zones:
            members.setdefault(zone.parent, []).append(of_zones[zone.id])
    return {
        parent: (fmean(lat for lat, _ in positions), fmean(lon for _, lon in positions))
        for parent, positions in members.items()
    }
