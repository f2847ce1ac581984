"""The cell plan: a CSV of network cells, with OpenCellID's columns or as many of them as are there.

In: rows with `radio`, `mcc`, `net`, `area`, `cell`, `lon`, `lat`, `range` (m), and where known `azimuth` and `beam`
(degrees) and `id` (another name by which data call the cell). A file without a header has OpenCellID's columns in
their order. Out: cells in columns, named as `schemas.attach` names them; and how many rows were no good, by reason.
A cell without position stays: the network knows it, though nobody knows where it is.
"""

import csv
import math
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.attach import pack_cell
from streams.errors import ThrongError
from streams.places.findings import Findings
from streams.tables import delimiter_of, opened

OPENCELLID: Final = "radio,mcc,net,area,cell,unit,lon,lat,range,samples,changeable,created,updated,averageSignal"
NEEDED: Final = ("mcc", "net", "cell")
# Countries whose network codes have three digits (ITU-T E.212, North America): others say --mnc-digits 3.
LONG_MNC: Final = frozenset([302, *range(310, 317)])
# Radio to (RAT, digits of the area, of the cell); the area is no part of a name where it has none.
RADIOS: Final = {
    "GSM": ("gsm", 4, 4),
    "UMTS": ("umts", 4, 4),
    "WCDMA": ("umts", 4, 4),
    "LTE": ("lte", 0, 7),
    "NR": ("nr", 0, 9),
    "5G": ("nr", 0, 9),
}
NO_CELL: Final = "rows that name no cell"
WIDEST: Final = 360.0
USUAL_BEAM: Final = 120.0


class Sites(NamedTuple):
    """Cells in columns: `name` (as in the attach topic), `alias` ('' if none), `rat`; `lon`, `lat` in degrees,
    `azimuth` (clockwise from north), `beam` and `range_m`, f64, NaN where it isn't known."""

    name: list[str]
    alias: list[str]
    rat: list[str]
    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    azimuth: NDArray[np.float64]
    beam: NDArray[np.float64]
    range_m: NDArray[np.float64]

    @property
    def located(self) -> NDArray[np.bool_]:
        """Which of them have a position."""
        return ~(np.isnan(self.lon) | np.isnan(self.lat))


class _Row(NamedTuple):
    name: str
    alias: str
    rat: str
    numbers: tuple[float, float, float, float, float]


def read_sites(path: Path, findings: Findings, mnc_digits: int | None = None) -> Sites:
    """Read a cell plan, *.csv or *.csv.gz. Rows that name no cell, and repeats, are left out and told in `findings`.

    Raises:
        ThrongError: `places` if the file can't be read, lacks a column that is needed, or has no cell.
    """
    rows: dict[str, _Row] = {}
    try:
        with opened(path) as lines:
            for number, fields in _records(path, lines):
                row = _cell(fields, mnc_digits)
                if isinstance(row, str):
                    findings.add(NO_CELL, f"row {number}: {row}")
                elif row.name in rows:
                    findings.add("cells that are there twice (the first counts)", row.name)
                else:
                    rows[row.name] = row
    except (OSError, EOFError, zlib.error) as error:
        raise ThrongError(
            "places", f"cannot read the cells {path}: {getattr(error, 'strerror', None) or error}"
        ) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ThrongError("places", f"the cells {path} are no CSV in UTF-8: {error}") from error
    if not rows:
        why = f" ({findings.firsts[NO_CELL][0]})" if NO_CELL in findings.firsts else ""
        raise ThrongError("places", f"the cells {path} hold no cell that could be used{why}")
    columns = np.array([row.numbers for row in rows.values()], np.float64).T
    names = ([row.name for row in rows.values()], [row.alias for row in rows.values()])
    sites = Sites(*names, [row.rat for row in rows.values()], *columns)
    for place in np.flatnonzero(~sites.located).tolist():
        findings.add("cells without a position", sites.name[place])
    return sites


def _records(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows by column, with their number in the file, from 1."""
    lines = iter(lines)
    line = next(lines, "")
    delimiter = delimiter_of(line)
    first = next(csv.reader([line], delimiter=delimiter), [])
    names = [name.strip().lower() for name in first]
    if first and first[0].strip().upper() in {*RADIOS, "CDMA"}:
        names = OPENCELLID.lower().split(",")
        yield 1, dict(zip(names, first, strict=False))
    elif lacking := [name for name in NEEDED if name not in names]:
        raise ThrongError("places", f"the cells {path} lack the column {lacking[0]}; expected are {OPENCELLID}")
    for number, row in enumerate(csv.reader(lines, delimiter=delimiter), 2):
        if any(row):
            yield number, dict(zip(names, row, strict=False))


def _cell(fields: dict[str, str], mnc_digits: int | None) -> _Row | str:
    """A row's cell, or what is wrong with it."""
    radio = fields.get("radio", "").strip().upper() or "LTE"
    if radio not in RADIOS:
        return f"the radio {radio} has no cell identity of 3GPP"
    rat, area_digits, cell_digits = RADIOS[radio]
    # 262.0 is how tables write it of a column in which some are missing.
    texts = {name: (fields.get(name) or "").strip().removesuffix(".0") for name in (*NEEDED, "area")}
    texts["area"] = texts["area"] or "0"
    wrong = [name for name, text in texts.items() if not text.isdecimal()]
    if wrong:
        return f"{wrong[0]} is no whole number from 0"
    mcc, net, cell, area = (int(text) for text in texts.values())
    digits = mnc_digits or (3 if net > 99 or mcc in LONG_MNC or len(texts["net"]) == 3 else 2)
    # OpenCellID has a UMTS cell with its controller in front (TS 25.331: RNC 12 bits, cell 16 bits).
    own = cell & 0xFFFF if rat == "umts" else cell
    parts = [f"{mcc:03d}", f"{net:0{digits}d}", f"{own:0{cell_digits}X}"]
    if area_digits:
        parts.insert(2, f"{area:0{area_digits}X}")
    name = "-".join(parts)
    try:
        pack_cell(name)
    except ValueError:
        return "mcc, net, area or cell is too large"
    return _Row(name, fields.get("id", "").strip(), rat, _numbers(fields))


def _numbers(fields: dict[str, str]) -> tuple[float, float, float, float, float]:
    lon, lat = _number(fields, "lon"), _number(fields, "lat")
    if not (abs(lon) <= 180 and abs(lat) <= 90) or (lon == 0 and lat == 0):
        lon = lat = math.nan
    azimuth, beam, reach = _number(fields, "azimuth"), _number(fields, "beam"), _number(fields, "range")
    if not 0 < beam <= WIDEST:
        beam = USUAL_BEAM
    return lon, lat, azimuth % WIDEST, beam, reach if reach > 0 else math.nan


def _number(fields: dict[str, str], name: str) -> float:
    try:
        value = float(fields.get(name) or "nan")
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan
