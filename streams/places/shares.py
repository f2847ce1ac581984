"""How much of each cell lies in each zone, and which zone each cell then stands for.

In: cells' coverage and zones' outlines in metres, and a grid of where people are, if there is one. Out: shares of the
cell's area, or of its people as the grid has them, by (cell, zone); a cell's shares sum to 1 at most, for where
outlines overlap the smaller zone has it: a shop within a district. A cell stands for the zone with its largest share
(of equal ones the first), or for none if more than half of it lies in no zone.
"""

from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from streams.places.coverage import Shapes
from streams.places.density import People
from streams.places.findings import Findings
from streams.places.spread import points

NONE: Final = -1
# Overlaps smaller than that are how borders were drawn, and are not worth a word; no overlap is counted twice.
TOLD_M2: Final = 1.0
LEAST_INSIDE: Final = 0.5


class Shares(NamedTuple):
    """Triples `cell` i64, `zone` i64, `share` f64 (0 to 1], sorted by cell and zone."""

    cell: NDArray[np.int64]
    zone: NDArray[np.int64]
    share: NDArray[np.float64]


def disjoint(outlines: Shapes, names: list[str], findings: Findings) -> Shapes:
    """The outlines with what overlaps left to the smaller zone alone (of equals to the first)."""
    one, other = shapely.STRtree(outlines).query(outlines, predicate="intersects")
    before = one < other
    one, other = one[before], other[before]
    common = shapely.intersection(outlines[one], outlines[other])
    area = shapely.area(common)
    told = area > 0
    one, other, area = one[told], other[told], area[told]
    sizes = shapely.area(outlines)
    larger = np.where(sizes[one] > sizes[other], one, other)
    smaller = np.where(sizes[one] > sizes[other], other, one)
    cut = outlines.copy()
    for zone in np.unique(larger).tolist():
        cut[zone] = shapely.difference(outlines[zone], shapely.union_all(outlines[smaller[larger == zone]]))
    for pair in np.flatnonzero(area > TOLD_M2).tolist():
        which = f"{names[one[pair]]} and {names[other[pair]]} ({area[pair]:,.0f} m2)"
        findings.add("pairs of zones that overlap (the smaller one has it)", which)
    return cut


def holes(outlines: Shapes) -> list[tuple[float, float, float]]:
    """Gaps that zones enclose: (area in m2, x, y of a point within), the largest first."""
    whole = shapely.union_all(outlines)
    rings = [ring for part in shapely.get_parts(whole) for ring in part.interiors]
    gaps = [shapely.Polygon(ring) for ring in rings]
    inner = [(gap.area, *gap.representative_point().coords[0]) for gap in gaps if gap.area > TOLD_M2]
    return sorted(inner, reverse=True)


def shares_of(cells: Shapes, zones: Shapes, people: People | None = None) -> Shares:
    """The share of each cell that lies in each zone, of its people if there is a grid of them that is believed there,
    else of its area; cells that are None have none."""
    there = np.flatnonzero(~shapely.is_missing(cells))
    tree = shapely.STRtree(zones)
    row, zone = tree.query(cells[there], predicate="intersects")
    cell = there[row]
    inner_row, inner_zone = tree.query(cells[there], predicate="within")
    whole = np.isin(cell * len(zones) + zone, there[inner_row] * len(zones) + inner_zone)
    share = np.ones(len(cell))
    parts = shapely.area(shapely.intersection(cells[cell[~whole]], zones[zone[~whole]]))
    share[~whole] = np.clip(parts / shapely.area(cells[cell[~whole]]), 0.0, 1.0)
    if people is not None:
        _of_people(cells, zones, people, (cell, zone, share), whole)
    kept = share > 0
    cell, zone, share = cell[kept], zone[kept], share[kept]
    order = np.lexsort((zone, cell))
    cell, zone, share = cell[order], zone[order], share[order]
    # Where rounding has them sum to a hair more than 1.
    sums = np.maximum(np.bincount(cell, share, len(cells)), 1.0)
    return Shares(cell, zone, share / sums[cell])


def _of_people(
    cells: Shapes,
    zones: Shapes,
    people: People,
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]],
    whole: NDArray[np.bool_],
) -> None:
    """Make shares of people of those of area, of the cells that aren't within one zone and of which the grid is
    believed: by how much denser the part in the zone is than the cell. A cell within one zone has all its people there.
    """
    cell, zone, share = pairs
    order = np.argsort(cell, kind="stable")
    order = order[~np.isin(cell[order], cell[whole])]
    shapely.prepare(zones)
    for rows in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1) if len(order) else ():
        coverage = cells[cell[rows[0]]]
        at = points(coverage)
        weight = people.at(at)
        if people.believed(coverage.area, weight):
            within = shapely.contains_xy(zones[zone[rows]][:, None], at[:, 0], at[:, 1])
            hits = within.sum(axis=1)
            denser = within @ weight / np.maximum(hits, 1) / weight.mean()
            share[rows] *= np.where(hits > 0, denser, 1.0)


def assigned(shares: Shares, cells: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each cell its zone's number or NONE, and its share there."""
    zone, best = np.full(cells, NONE, np.int64), np.zeros(cells)
    order = np.lexsort((shares.zone, -shares.share, shares.cell))
    cell = shares.cell[order]
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    zone[cell[first]], best[cell[first]] = shares.zone[order][first], shares.share[order][first]
    inside = np.bincount(shares.cell, shares.share, cells)
    zone[inside < LEAST_INSIDE] = NONE
    return zone, np.where(zone == NONE, 0.0, best)
