"""Where those in a zone are counted: the zones whose cells serve them, by how strong each cell is where they are.

In: sites and zones' outlines in metres, cells' coverage, and the zone that each cell stands for. Out: of each zone the
shares of its people by the zone that counts them, for `Zone.counted`. People are taken to be spread evenly over the
outline: points of it stand for them, each served by each cell with a chance that is greater the stronger it is.

A cell's mean level is its power less the loss over distance of 3GPP TR 38.901 (table 7.4.1-1, UMa NLOS: 39.08 log10 of
it, antennas 23.5 m above the phone), powers being such that all cells are alike at the end of their range (where that
isn't known, at the radius of a circle as large as their coverage); and less the antenna's attenuation off its azimuth
(table 7.3-1: 65 degrees at 3 dB where the sector has 120). Around it levels vary by log-normal shadowing of 6 dB (table
7.4.1-1), of which half is common to all sites. Which cell is the strongest is then nearly a multinomial logit: that of
Gumbel variables with this deviation (McFadden 1974).
"""

import math
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from schemas.plan import Spill
from streams.places.coverage import Shapes
from streams.places.shares import NONE
from streams.places.sites import Sites

POINTS: Final = 128
MOST_DRAWN: Final = 16 * POINTS  # for an outline that fills little of its box
LOSS_A_DECADE_DB: Final = 39.08
ABOVE_M: Final = 23.5
SHADOWING_DB: Final = 6.0 * math.sqrt(0.5)
SCALE_DB: Final = SHADOWING_DB * math.sqrt(6) / math.pi  # of Gumbel variables with that deviation
HALF_POWER: Final = 65.0 / 120.0  # of the sector's width
BEHIND_DB: Final = 30.0
# A cell is looked for as far as that: beyond its range by 24 dB; and past the next sites, whatever range it is given.
RANGES: Final = 4.0
CELLS_AWAY: Final = 8.0
LEAST: Final = 0.002
# The plane's most even sequence (Roberts 2018: the plastic number's powers).
EVEN: Final = (0.7548776662466927, 0.5698402909980532)

Floats = NDArray[np.float64]


def where_counted(
    sites: Sites, x: Floats, y: Floats, coverage: Shapes, outlines: Shapes, zone_of: NDArray[np.int64], ids: list[str]
) -> list[tuple[Spill, ...]]:
    """Of each zone where those in it are counted, the largest share first; () of zones that no cell stands for.

    Args:
        x, y: f64[cells], metres. coverage: None for cells without a position. zone_of: i64[cells], NONE: nowhere.
        ids: of the zones.
    """
    rows = np.flatnonzero(~shapely.is_missing(coverage))
    radius = _radii(sites, coverage, rows)
    reach = np.where(np.isnan(sites.range_m[rows]), radius, sites.range_m[rows])
    cells = np.column_stack([x[rows], y[rows], reach, sites.azimuth[rows], sites.beam[rows]])
    far = np.minimum(RANGES * reach, CELLS_AWAY * radius)
    tree = shapely.STRtree(shapely.box(cells[:, 0] - far, cells[:, 1] - far, cells[:, 0] + far, cells[:, 1] + far))
    heard = np.isin(np.arange(len(ids)), zone_of[rows])
    found: list[tuple[Spill, ...]] = []
    for zone, outline in enumerate(outlines):
        near = np.sort(tree.query(outline)) if heard[zone] else np.empty(0, np.int64)
        if not len(near):
            found.append(())
            continue
        serves = zone_of[rows[near]]
        share = served(points(outline), cells[near]).mean(axis=0)
        sums = np.bincount(serves[serves != NONE], share[serves != NONE], len(ids))
        kept = np.flatnonzero(sums >= LEAST)
        order = kept[np.lexsort((kept, -sums[kept]))].tolist()
        found.append(tuple(Spill(ids[other], round(float(sums[other]), 4)) for other in order))
    return found


def points(outline: shapely.Geometry) -> Floats:
    """About POINTS points spread evenly over an outline, f64[n, 2]; one within at least."""
    west, south, east, north = outline.bounds
    filled = outline.area / max((east - west) * (north - south), 1e-9)
    number = np.arange(1, min(math.ceil(POINTS / max(filled, 1e-9)), MOST_DRAWN) + 1)
    drawn = np.column_stack(
        [west + (number * EVEN[0]) % 1 * (east - west), south + (number * EVEN[1]) % 1 * (north - south)]
    )
    shapely.prepare(outline)
    inside = drawn[shapely.contains_xy(outline, drawn)]
    return np.asarray(inside if len(inside) else shapely.get_coordinates(outline.representative_point()))


def served(at: Floats, cells: Floats) -> Floats:
    """The chance that each cell serves a phone at each point, f64[points, cells].

    Args:
        at: f64[points, 2]. cells: f64[cells, 5]: x, y, range (m), azimuth (NaN: all around) and beam (degrees).
    """
    x, y, reach, azimuth, beam = cells.T
    east, north = at[:, :1] - x, at[:, 1:] - y
    level = LOSS_A_DECADE_DB * (np.log10(reach) - 0.5 * np.log10(east**2 + north**2 + ABOVE_M**2))
    sector = ~np.isnan(azimuth) & (beam < 360)
    if sector.any():
        off = np.degrees(np.arctan2(east[:, sector], north[:, sector])) - azimuth[sector]
        off = (off + 180) % 360 - 180
        level[:, sector] -= np.minimum(12 * (off / (HALF_POWER * beam[sector])) ** 2, BEHIND_DB)
    chance = np.exp((level - level.max(axis=1, keepdims=True)) / SCALE_DB)
    return np.asarray(chance / chance.sum(axis=1, keepdims=True))


def _radii(sites: Sites, coverage: Shapes, rows: NDArray[np.int64]) -> Floats:
    """The radius of the circle of which a cell's coverage is a part, by its beam."""
    part = np.where(np.isnan(sites.azimuth[rows]), 1.0, sites.beam[rows] / 360)
    return np.asarray(np.maximum(np.sqrt(shapely.area(coverage[rows]) / part / math.pi), 1.0))
