"""Where each cell serves: a sector where its azimuth is known, else its site's Voronoi region.

In: sites in metres on an equal-area plane. Out: a polygon a cell, None where it has no position. Rules, the first that
applies:
    azimuth and range   the sector of the beam width, as far as the range
    azimuth             the same without a limit, cut to the site's Voronoi region
    range               the Voronoi region, as far as the range
    neither             the Voronoi region, as far as FARTHEST_M
Voronoi regions are among the sites of one radio: a phone listens to one at a time. Cells at one spot share its region.
"""

from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Proj

from streams.places.sites import Sites

# The farthest that GSM's timing advance reaches (3GPP TS 45.010).
FARTHEST_M: Final = 35_000.0
STEPS: Final = 24  # of an arc: a whole circle as 24 corners has 98.9 % of its area
SAME_SPOT_M: Final = 1.0

Shapes = NDArray[np.object_]


def plane(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> Proj:
    """An equal-area plane (Lambert azimuthal, WGS 84) around the middle of points in degrees."""
    if np.nanmax(lon) - np.nanmin(lon) > 180:  # on both sides of the 180th meridian
        lon = np.where(lon < 0, lon + 360, lon)
    middle = [(float(np.nanmin(values)) + float(np.nanmax(values))) / 2 for values in (lon, lat)]
    return Proj(proj="laea", lon_0=middle[0], lat_0=middle[1], ellps="WGS84", units="m")


def projected(outlines: Shapes, onto: Proj) -> Shapes:
    """Outlines in degrees as outlines in metres."""

    def move(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack(onto(points[:, 0], points[:, 1]))

    return np.asarray(shapely.transform(outlines, move), object)


def coverage(sites: Sites, x: NDArray[np.float64], y: NDArray[np.float64]) -> Shapes:
    """Each cell's polygon; `x`, `y` in metres, looked at where the cell has a position."""
    found = np.full(len(sites.name), None, object)
    rats = np.array(sites.rat)
    for rat in sorted(set(sites.rat)):
        rows = np.flatnonzero(sites.located & (rats == rat))
        if rows.size:
            found[rows] = _layer(sites, rows, x[rows], y[rows])
    return found


def _layer(sites: Sites, rows: NDArray[np.int64], x: NDArray[np.float64], y: NDArray[np.float64]) -> Shapes:
    azimuth, reach = sites.azimuth[rows], sites.range_m[rows]
    sector, ranged = ~np.isnan(azimuth), ~np.isnan(reach)
    beam = np.where(sector, sites.beam[rows], 360.0)
    outlines = sectors(x, y, np.nan_to_num(azimuth), beam, np.where(ranged, np.minimum(reach, FARTHEST_M), FARTHEST_M))
    cut = ~(sector & ranged)
    if cut.any():
        outlines[cut] = shapely.intersection(outlines[cut], regions(x, y)[cut])
    return outlines


def sectors(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    azimuth: NDArray[np.float64],
    beam: NDArray[np.float64],
    radius: NDArray[np.float64],
) -> Shapes:
    """Sectors as polygons: apex, and corners on the arc; a whole circle where the beam is 360 degrees."""
    whole = beam >= 360
    # On a whole circle the first corner stands for the apex, and the last for the first.
    steps = np.linspace(0, 1, STEPS + 1)
    angle = np.radians(azimuth[:, None] + beam[:, None] * (steps - 0.5))
    ring = np.empty((len(x), STEPS + 3, 2))
    ring[:, 1:-1, 0] = x[:, None] + radius[:, None] * np.sin(angle)
    ring[:, 1:-1, 1] = y[:, None] + radius[:, None] * np.cos(angle)
    ring[:, 0] = np.where(whole[:, None], ring[:, 1], np.column_stack([x, y]))
    ring[:, -1] = ring[:, 0]
    ring[whole, -2] = ring[whole, 0]
    return np.asarray(shapely.polygons(ring), object)


def regions(x: NDArray[np.float64], y: NDArray[np.float64]) -> Shapes:
    """The Voronoi region of each site, out to FARTHEST_M around all of them."""
    spots, place = np.unique(np.rint(np.column_stack([x, y]) / SAME_SPOT_M), axis=0, return_inverse=True)
    spots = spots * SAME_SPOT_M
    low, high = spots.min(axis=0) - FARTHEST_M - 1, spots.max(axis=0) + FARTHEST_M + 1
    around = shapely.box(*low, *high)
    if len(spots) == 1:
        return np.full(len(x), around, object)
    cut = shapely.voronoi_polygons(shapely.multipoints(spots), extend_to=around, ordered=True)
    found: Shapes = np.asarray(shapely.get_parts(cut), object)[place.ravel()]
    return found


def radii(outlines: Shapes) -> NDArray[np.float64]:
    """Of each polygon the root mean square distance of its points from its middle, in metres; NaN for None."""
    parts, owner = shapely.get_parts(outlines, return_index=True)
    rings = shapely.get_exterior_ring(parts)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    # Near each polygon's own middle, since fourth powers of a country's metres leave no digits for a street's.
    origin = shapely.get_coordinates(shapely.centroid(outlines[owner])) if len(owner) else np.empty((0, 2))
    points = points - origin[ring]
    same = ring[1:] == ring[:-1]
    a, b, own = points[:-1][same], points[1:][same], owner[ring[:-1][same]]
    cross = a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]
    second = cross * (a * a + a * b + b * b).sum(axis=1)
    area = np.bincount(own, cross, len(outlines)) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(np.abs(np.bincount(own, second, len(outlines)) / 12 / area))


def as_objects(shapes: list[Any]) -> Shapes:
    """Geometries as an array of objects."""
    made = np.empty(len(shapes), object)
    made[:] = shapes
    return made
