"""Where those in a zone are counted: the zones whose cells serve them, by how strong each cell is where they are.

In: sites and zones' outlines in metres, cells' coverage, and the zone that each cell stands for. Out: of each zone the
shares of its people by the zone that counts them, for `Zone.counted`. Points of the outline stand for its people, who
are spread evenly over it or as a grid has them, each served by each cell with a chance that is greater the stronger it
is.

A cell's mean level is its power less the loss over distance of 3GPP TR 38.901 (table 7.4.1-1, UMa NLOS: 39.08 log10 of
it, antennas 23.5 m above the phone), powers being such that all cells are alike at the end of their range (where that
isn't known, at the radius of a circle as large as their coverage); and less the antenna's attenuation off its azimuth
(table 7.3-1: 65 degrees at 3 dB where the sector has 120). Around it levels vary by log-normal shadowing of 6 dB (table
7.4.1-1), of which half is common to all sites. Which cell is the strongest is then nearly a multinomial logit: that of
Gumbel variables with this deviation (McFadden 1974).
"""

import math
from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from schemas.plan import Spill
from streams.places.coverage import Shapes
from streams.places.density import People
from streams.places.shares import NONE
from streams.places.sites import Sites
from streams.places.spread import points

POINTS_BY_GRID: Final = 256
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

# Of the way back by weights, where a grid has said where a zone's people are.
STEP_BY_GRID: Final = 1.0

Floats = NDArray[np.float64]


class Counted(NamedTuple):
    """Where those in a zone are counted, the largest share first, and whether a grid has said where they are."""

    shares: tuple[Spill, ...] = ()
    by_grid: bool = False

    @property
    def step(self) -> float | None:
        """For `Zone.step`."""
        return STEP_BY_GRID if self.by_grid else None


def where_counted(
    sites: Sites,
    x: Floats,
    y: Floats,
    coverage: Shapes,
    outlines: Shapes,
    zone_of: NDArray[np.int64],
    ids: list[str],
    people: People | None = None,
) -> list[Counted]:
    """Of each zone where those in it are counted; nothing of zones that no cell stands for.

    Args:
        x, y: f64[cells], metres. coverage: None for cells without a position. zone_of: i64[cells], NONE: nowhere.
        ids: of the zones. people: where they are; evenly spread over zones of which it isn't believed.
    """
    rows = np.flatnonzero(~shapely.is_missing(coverage))
    radius = _radii(sites, coverage, rows)
    reach = np.where(np.isnan(sites.range_m[rows]), radius, sites.range_m[rows])
    cells = np.column_stack([x[rows], y[rows], reach, sites.azimuth[rows], sites.beam[rows]])
    far = np.minimum(RANGES * reach, CELLS_AWAY * radius)
    tree = shapely.STRtree(shapely.box(cells[:, 0] - far, cells[:, 1] - far, cells[:, 0] + far, cells[:, 1] + far))
    heard = np.isin(np.arange(len(ids)), zone_of[rows])
    found: list[Counted] = []
    for zone, outline in enumerate(outlines):
        near = np.sort(tree.query(outline)) if heard[zone] else np.empty(0, np.int64)
        if not len(near):
            found.append(Counted())
            continue
        serves = zone_of[rows[near]]
        at, weight = _peopled(outline, people)
        chance = served(at, cells[near])
        share = chance.mean(axis=0) if weight is None else weight @ chance
        sums = np.bincount(serves[serves != NONE], share[serves != NONE], len(ids))
        kept = np.flatnonzero(sums >= LEAST)
        order = kept[np.lexsort((kept, -sums[kept]))].tolist()
        shares = tuple(Spill(ids[other], round(float(sums[other]), 4)) for other in order)
        found.append(Counted(shares, weight is not None))
    return found


def _peopled(outline: shapely.Geometry, people: People | None) -> tuple[Floats, Floats | None]:
    """Points of an outline, and the shares of its people that they stand for, None: alike."""
    if people is not None:
        at = points(outline, POINTS_BY_GRID)
        weight = people.at(at)
        if people.believed(outline.area, weight):
            return at, weight / weight.sum()
    return points(outline), None


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
