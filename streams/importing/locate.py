"""The cell of a draft: the one that it names, else the one whose coverage holds its position, else the nearest.

In: a cell plan as CSV (`streams.places.sites`: coverage is known, and other names of cells), or a zone plan (positions
alone). Out: for each draft a cell's name, or why it has none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray

from streams.errors import ThrongError
from streams.importing.drafts import Draft, Unusable
from streams.places.coverage import Shapes, coverage, plane
from streams.places.findings import Findings
from streams.places.sites import Sites, read_sites
from streams.stores.plans import load_plan

NONE: Final = -1
ASTRAY: Final = 20.0  # degrees


class Locator:
    """Finds cells. `within_m`: how far a cell may be from whoever it serves."""

    def __init__(self, sites: Sites, within_m: float, with_coverage: bool) -> None:
        """Raises:
        ThrongError: `import` if there is no cell.
        """
        if not sites.name:
            raise ThrongError("import", "the cell plan has no cell")
        self._sites = sites
        self._within_m = within_m
        self._numbers = {alias: n for n, alias in enumerate(sites.alias) if alias}
        self._numbers |= {name: n for n, name in enumerate(sites.name)}
        self._placed = np.flatnonzero(sites.located)
        if self._placed.size:
            near = _most(sites)
            self._plane = plane(sites.lon[near], sites.lat[near])
            x, y = self._plane(sites.lon, sites.lat)
            self._spots = np.column_stack([x, y])
            self._tree = shapely.STRtree(shapely.points(self._spots[self._placed]))
            shapes: Shapes = coverage(sites, x, y)[self._placed] if with_coverage else np.empty(0, object)
            self._shapes = shapely.STRtree(shapes)

    def cells(self, drafts: Sequence[Draft]) -> list[str | Unusable]:
        """The cell of each."""
        found: list[str | Unusable] = [self._named(draft) for draft in drafts]
        asked = [n for n, each in enumerate(found) if each == ""]
        if asked:
            lat, lon = (np.array([getattr(drafts[n], name) for n in asked]) for name in ("lat", "lon"))
            for n, cell in zip(asked, self._at(lat, lon).tolist(), strict=True):
                found[n] = self._sites.name[cell] if cell != NONE else Unusable(f"no cell within {self._within_m:g} m")
        return found

    def _named(self, draft: Draft) -> str | Unusable:
        """The cell that it names; '' if its position is to be looked at."""
        number = self._numbers.get(draft.cell, self._numbers.get(draft.cell.upper())) if draft.cell else None
        if number is not None:
            return self._sites.name[number]
        if draft.lat == draft.lat:
            return ""
        if draft.cell:
            return Unusable("a cell that the plan doesn't know, and no position")
        # Whatever cell a detach names, it ends the presence, wherever that is.
        return self._sites.name[0] if draft.kind == "detach" else Unusable("neither a cell nor a position")

    def _at(self, lat: NDArray[np.float64], lon: NDArray[np.float64]) -> NDArray[np.int64]:
        cells = np.full(len(lat), NONE, np.int64)
        if not self._placed.size:
            return cells
        spots = np.column_stack(self._plane(lon, lat))
        points = shapely.points(spots)
        # The nearest of all, and over it the nearest of those that cover the spot.
        for point, place in (
            self._tree.query_nearest(points, max_distance=self._within_m, all_matches=False),
            self._shapes.query(points, predicate="intersects"),
        ):
            cell = self._placed[place]
            away = np.linalg.norm(self._spots[cell] - spots[point], axis=1)
            near = away <= self._within_m
            point, cell, away = point[near], cell[near], away[near]
            order = np.lexsort((cell, away, point))
            first = order[np.flatnonzero(np.diff(point[order], prepend=-1))]
            cells[point[first]] = cell[first]
        return cells


def _most(sites: Sites) -> NDArray[np.int64]:
    """The cells with a position, less those far from most: one that is at a wrong place would bend the plane on which
    all distances are measured."""
    placed = np.flatnonzero(sites.located)
    away = (sites.lon[placed] - np.median(sites.lon[placed]) + 180) % 360 - 180, sites.lat[placed]
    near = (np.abs(away[0]) < ASTRAY) & (np.abs(away[1] - np.median(away[1])) < ASTRAY)
    return placed[near] if 2 * near.sum() > placed.size else placed


def locator(path: Path, within_m: float, findings: Findings, mnc_digits: int | None = None) -> Locator:
    """The locator of a CSV of cells, or of a zone plan if the file ends in .json."""
    if path.suffix.lower() == ".json":
        return Locator(_sites_of(path), within_m, with_coverage=False)
    return Locator(read_sites(path, findings, mnc_digits), within_m, with_coverage=True)


def _sites_of(path: Path) -> Sites:
    cells = load_plan(path).cells
    lon, lat = (
        np.array([np.nan if (at := getattr(cell, name)) is None else at for cell in cells]) for name in ("lon", "lat")
    )
    unknown = np.full(len(cells), np.nan)
    names = [cell.cell.upper() for cell in cells]
    return Sites(names, [""] * len(cells), ["lte"] * len(cells), lon, lat, unknown, unknown, unknown)
