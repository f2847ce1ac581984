"""Where people are, as a grid has it: of population, jobs, buildings or land use, whatever stands for people.

In: a CSV (or .gz) of rows of a regular grid, `weight` and the middle of its cell: `lat` and `lon` in degrees, or `x`
and `y` in metres of ETRS89-LAEA, Europe's grid (EPSG:3035, INSPIRE). What has no row has a weight of 0. Out: the
density at any point. Eurostat's multimno takes such a grid for the prior of where a cell's phones are ("land use
prior"); Ricciato et al. 2020, "Towards a methodological framework for estimating present population density from
mobile network operator data", for an informed prior of a cell's footprint instead of a flat one.

A grid is believed of an area that has CELLS of its cells at least, of which PEOPLED have anybody: a coarser one smears
people over the borders that it should tell apart, and of a park without residents it knows nothing.
"""

import csv
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyproj import Proj

from streams.errors import ThrongError
from streams.places.coverage import Shapes
from streams.places.findings import Findings
from streams.places.spread import points
from streams.tables import delimiter_of, opened

TOO_COARSE: Final = (
    "zones of which the density has too few cells, or too few with anybody (people are taken to be spread evenly there)"
)
CELLS: Final = 16
PEOPLED: Final = 4
DEGREES: Final = ("lon", "lat")
METRES: Final = ("x", "y")
METRES_A_DEGREE: Final = 111_320.0
# Nearer together than that are two spellings of one coordinate.
SAME_M: Final = 1.0
UNEVEN: Final = 0.1  # of a cell
# Of a sparse grid's smallest gap: 2 and 3 cells are gaps of single ones too.
PARTS: Final = (1, 2, 3, 4)

Floats = NDArray[np.float64]


class Axis(NamedTuple):
    """Evenly spaced middles of cells along one axis: of the first, how far apart, and how many."""

    first: float
    step: float
    length: int

    def place(self, values: Floats) -> NDArray[np.int64]:
        """The cell of each value, below 0 or from `length` on outside."""
        return np.rint((values - self.first) / self.step).astype(np.int64)


class Grid(NamedTuple):
    """A grid in degrees or, if `metric`, in metres of ETRS89-LAEA. Of the cells that have a row: `key` i64 (rising:
    of x and y the numbers), `weight` f64."""

    metric: bool
    x: Axis
    y: Axis
    key: NDArray[np.int64]
    weight: Floats

    def at(self, lon: Floats, lat: Floats) -> Floats:
        """The weight of the cell that holds each point (degrees), 0 where there is none."""
        x, y = _europe()(lon, lat) if self.metric else ((lon + 180) % 360 - 180, lat)
        column, row = self.x.place(np.asarray(x)), self.y.place(np.asarray(y))
        inside = (column >= 0) & (column < self.x.length) & (row >= 0) & (row < self.y.length)
        key = np.where(inside, column * self.y.length + row, -1)
        place = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        return np.where(self.key[place] == key, self.weight[place], 0.0)

    def cell_m2(self, lat: float) -> float:
        """The area of a cell there."""
        area = self.x.step * self.y.step
        return area if self.metric else float(area * METRES_A_DEGREE**2 * np.cos(np.radians(lat)))


class People(NamedTuple):
    """A grid on a plane in metres. `at`: of points f64[n, 2] the weight there; `cell_m2`: of its cells."""

    at: Callable[[Floats], Floats]
    cell_m2: float

    def believed(self, area_m2: float, weight: Floats) -> bool:
        """Of an area with these weights at points that are spread evenly over it."""
        cells = area_m2 / self.cell_m2
        return bool(cells >= CELLS and cells * np.count_nonzero(weight) >= PEOPLED * len(weight))


def on_plane(grid: Grid, flat: Proj, lat: float) -> People:
    """The grid on an equal-area plane around a latitude."""

    def at(points: Floats) -> Floats:
        return grid.at(*flat(points[:, 0], points[:, 1], inverse=True))

    return People(at, grid.cell_m2(lat))


def tell_of(outlines: Shapes, people: People, names: list[str], findings: Findings) -> None:
    """Of which zones the grid isn't believed.

    Raises:
        ThrongError: `places` if it has nobody in any.
    """
    anybody = False
    for outline, name in zip(outlines, names, strict=True):
        if outline.is_empty:  # smaller zones have all of it
            continue
        weight = people.at(points(outline))
        anybody |= bool(weight.any())
        if not people.believed(outline.area, weight):
            findings.add(TOO_COARSE, name)
    if not anybody:
        raise ThrongError("places", "the density has nobody in any zone: is it of another area, or x and y swapped?")


def read_density(path: Path) -> Grid:
    """Read a grid.

    Raises:
        ThrongError: `places`, naming the field and the line that is no good, or what the file lacks.
    """
    try:
        names, delimiter = _header(path)
        axes = next((pair for pair in (METRES, DEGREES) if set(pair) <= set(names)), None)
        if axes is None or "weight" not in names:
            raise ThrongError("places", f"{_of(path)} lack columns: expected are weight, and lat and lon, or x and y")
        columns = [names.index(name) for name in (*axes, "weight")]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that there are no rows is said below
                rows = np.loadtxt(
                    path, delimiter=delimiter, comments=None, skiprows=1, usecols=columns, ndmin=2, quotechar='"'
                )
        except ValueError as error:
            raise _bad_number(path, delimiter, columns, (*axes, "weight")) or error from None
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise ThrongError("places", f"cannot read the density {path}: {error}") from error
    if not len(rows):
        raise ThrongError("places", f"{_of(path)} are none")
    return _grid(path, rows, axes)


def _of(path: Path) -> str:
    return f"the rows of the density {path}"


def _grid(path: Path, rows: Floats, axes: tuple[str, str]) -> Grid:
    metric = axes == METRES
    x, y, weight = rows.T
    for name, values, least, most in (
        (axes[0], x, *((0, 1e7) if metric else (-180, 180))),
        (axes[1], y, *((0, 1e7) if metric else (-90, 90))),
        ("weight", weight, 0, np.finfo(np.float64).max),
    ):
        wrong = np.flatnonzero(~((values >= least) & (values <= most)))
        if wrong.size:
            bounds = "0 or more" if name == "weight" else f"{least:g} to {most:g}"
            where = f"row {wrong[0] + 1}: {name} is {values[wrong[0]]:g}, not {bounds}"
            raise ThrongError("places", f"{_of(path)}: {where}")
    if not weight.any():
        raise ThrongError("places", f"{_of(path)}: every weight is 0")
    same = SAME_M if metric else SAME_M / METRES_A_DEGREE
    across, up = _axis(path, x, axes[0], same), _axis(path, y, axes[1], same)
    key = across.place(x) * up.length + up.place(y)
    order = np.argsort(key, kind="stable")
    twice = np.flatnonzero(np.diff(key[order]) == 0)
    if twice.size:
        first, second = order[twice[0] : twice[0] + 2].tolist()
        raise ThrongError("places", f"{_of(path)}: row {second + 1} is of the same cell as row {first + 1}")
    kept = order[weight[order] > 0]
    return Grid(metric, across, up, key[kept], weight[kept])


def _axis(path: Path, values: Floats, name: str, same: float) -> Axis:
    """The spacing of a grid's columns or rows, which may be sparse."""
    found = np.unique(values)
    found = found[np.diff(found, prepend=-np.inf) > same]
    if len(found) < 2:
        raise ThrongError("places", f"{_of(path)} all have the same {name}: a grid has more than one")
    for part in PARTS:
        step, number, off = _spaced(found, part)
        if off.max() <= UNEVEN * step:
            break
    else:
        step, number, off = _spaced(found, 1)
        what = f"{_of(path)} are no regular grid: {name} is {found[off.argmax()]:.7g} between steps of {step:.4g}"
        raise ThrongError("places", f"{what} (if it was converted, give the grid's own lat and lon, or x and y)")
    return Axis(float(found[0]), step, int(number[-1]) + 1)


def _spaced(values: Floats, part: int) -> tuple[float, Floats, Floats]:
    """Steps of a part of the smallest gap: how long they are, the number of each value, and how far off it is."""
    gaps = np.diff(values)
    number = np.append(0, np.rint(gaps * part / gaps.min()).cumsum())
    step = float((number @ (values - values[0])) / (number @ number))
    return step, number, np.abs(values - values[0] - number * step)


def _header(path: Path) -> tuple[list[str], str]:
    with opened(path) as lines:
        line = lines.readline()
    delimiter = delimiter_of(line)
    return [name.strip().lower() for name in next(csv.reader([line], delimiter=delimiter), [])], delimiter


def _bad_number(path: Path, delimiter: str, columns: list[int], names: tuple[str, ...]) -> ThrongError | None:
    """The first field that is no number."""
    with opened(path) as lines:
        rows: Iterator[list[str]] = csv.reader(lines, delimiter=delimiter)
        next(rows)
        for number, row in enumerate((row for row in rows if row), 1):
            for column, name in zip(columns, names, strict=True):
                text = row[column].strip() if column < len(row) else ""
                try:
                    float(text)
                except ValueError:
                    return ThrongError("places", f"{_of(path)}: row {number}: {name} is {text!r}, no number")
    return None


def _europe() -> Proj:
    """ETRS89-LAEA (EPSG:3035)."""
    return Proj(proj="laea", lat_0=52, lon_0=10, x_0=4_321_000, y_0=3_210_000, ellps="GRS80", units="m")
