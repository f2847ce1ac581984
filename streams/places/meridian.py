"""Longitudes without a seam, for what lies on both sides of the 180th meridian.

A polygon across it is cut in two there (RFC 7946, section 3.1.9), or goes from 179 to -179 as H3 cells do: nothing here
is wider than half the globe, so one that seems to be is across. If then all of it together is wider, what is west of
Greenwich counts from 180 on. In: outlines and longitudes in degrees, -180 to 180. Out: the same, up to 540 degrees.
"""

from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from streams.errors import ThrongError
from streams.places.coverage import Shapes

HALF: Final = 180.0
WHOLE: Final = 360.0

Floats = NDArray[np.float64]


def seamless(outlines: Shapes, lon: Floats) -> tuple[Shapes, Floats]:
    """Outlines and longitudes (NaN: not known) that lie together.

    Raises:
        ThrongError: `places` if they span half the globe or more.
    """
    outlines = np.array([_whole(outline) for outline in outlines] + [None], object)[:-1]
    if _width(outlines, lon) >= HALF:
        outlines = shapely.transform(outlines, _east)
        lon = np.where(lon < 0, lon + WHOLE, lon)
    if _width(outlines, lon) >= HALF:
        raise ThrongError(
            "places",
            "zones and cells span half the globe or more: build a plan for each part of it, or is a position wrong?",
        )
    return outlines, lon


def usual(lon: float) -> float:
    """A longitude from -180 to 180."""
    return lon - WHOLE if lon > HALF else lon


def _width(outlines: Shapes, lon: Floats) -> float:
    bounds = shapely.bounds(outlines)
    west, east = np.append(bounds[:, 0], lon), np.append(bounds[:, 2], lon)
    return float(np.nanmax(east) - np.nanmin(west))


def _whole(outline: shapely.Geometry) -> shapely.Geometry:
    """The parts that seem wider than half the globe, moved to the east of the meridian."""
    parts = [
        shapely.transform(part, _east) if part.bounds[2] - part.bounds[0] > HALF else part
        for part in shapely.get_parts(outline)
    ]
    return shapely.union_all(parts) if len(parts) > 1 else parts[0]


def _east(points: Floats) -> Floats:
    return np.column_stack([np.where(points[:, 0] < 0, points[:, 0] + WHOLE, points[:, 0]), points[:, 1]])
