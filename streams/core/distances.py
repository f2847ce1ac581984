"""How far apart zones surely are: what an impossible jump is measured by.

In: a zone plan. Out: i64[zones, 4], whole metres: the zone's middle as x, y, z from the Earth's centre, and its reach:
how far from there its cells stand; a reach of -1 if nothing of its position is known. Whole numbers, so that the
crowd's comparison is exact. A chord is shorter than the way over ground: by 3 in 10,000 at 500 km.
"""

from collections import defaultdict
from collections.abc import Sequence
from math import cos, dist, radians, sin
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.plan import Plan

# Mean radius of WGS 84 (Moritz 2000: 6,371,008.8 m), to the kilometre.
EARTH_M: Final = 6_371_000
UNKNOWN: Final = -1
Point = tuple[float, float, float]


def positions_of(plan: Plan) -> NDArray[np.int64]:
    """Where the plan's zones are: in the middle of their cells where the plan doesn't say."""
    cells = defaultdict[str, list[Point]](list)
    for cell in plan.cells:
        if cell.lat is not None and cell.lon is not None:
            cells[cell.zone].append(point(cell.lat, cell.lon))
    found = nowhere(len(plan.zones))
    for number, zone in enumerate(plan.zones):
        inside = cells[zone.id]
        if zone.lat is not None and zone.lon is not None:
            middle = point(zone.lat, zone.lon)
        elif inside:
            middle = _mean(inside)
        else:
            continue
        reach = max((dist(middle, one) for one in inside), default=0.0) + (zone.radius_m or 0.0)
        found[number] = [*(round(part) for part in middle), round(reach)]
    return found


def nowhere(zones: int) -> NDArray[np.int64]:
    """The same of zones of which nothing is known."""
    found = np.zeros((zones, 4), np.int64)
    found[:, 3] = UNKNOWN
    return found


def point(lat: float, lon: float) -> Point:
    """A position on the ground, metres from the Earth's centre."""
    north, east = radians(lat), radians(lon)
    return EARTH_M * cos(north) * cos(east), EARTH_M * cos(north) * sin(east), EARTH_M * sin(north)


def _mean(points: Sequence[Point]) -> Point:
    x, y, z = (sum(parts) / len(points) for parts in zip(*points, strict=True))
    return x, y, z
