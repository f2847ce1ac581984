"""Zones as they are given: GeoJSON polygons (RFC 7946: WGS 84, longitude first), or H3 cells.

In: a GeoJSON file of features with properties `id`, `name`, and optionally `kind`, `parent`, `parent_name`; or a file
of H3 indexes, one a line, a name after a comma if there is one; or a resolution, for the H3 cells in which the
network's own cells stand. Out: places with their outlines in degrees.
"""

import csv
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import h3
import orjson
import shapely
from shapely.geometry import shape

from streams.errors import ThrongError
from streams.places.findings import Findings
from streams.places.sites import Sites
from streams.tables import delimiter_of

POLYGONAL: Final = ("Polygon", "MultiPolygon")
GEOJSON: Final = (".geojson", ".json")
# Longitude and latitude that are WGS 84's within some metres: of RFC 7946, GPS, Europe, North America, Australia.
DEGREES: Final = re.compile(r"CRS84|(?<![0-9])(4326|4258|4269|4283|7844)(?![0-9])")
# A parent that many H3 resolutions above its zones has 49 of them.
H3_STEPS_UP: Final = 2
H3_DIGITS: Final = 15
ALL: Final = ("all", "All")
_HEX: Final = re.compile(f"[0-9a-fA-F]{{{H3_DIGITS}}}")


class Place(NamedTuple):
    """A zone or a district: its outline in degrees, and its parent's id and name ('' where none is given)."""

    id: str
    name: str
    kind: str
    parent: str
    parent_name: str
    outline: Any


def read_places(path: Path, findings: Findings, id_property: str = "id", name_property: str = "name") -> list[Place]:
    """The places of a file: GeoJSON if it ends so, else H3 indexes.

    Raises:
        ThrongError: `places`, naming the feature or line that is no good.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ThrongError("places", f"cannot read the zones {path}: {error.strerror}") from error
    if path.suffix.lower() in GEOJSON:
        places = list(_features(path, content, findings, id_property, name_property))
    else:
        places = list(_indexes(path, content))
    seen: set[str] = set()
    for place in places:
        if place.id in seen:
            remedy = "make one feature of its parts, a MultiPolygon, or name another property with --id-property"
            remedy = f": {remedy}" if path.suffix.lower() in GEOJSON else ""
            raise ThrongError("places", f"the zones {path}: the id {place.id!r} is there twice{remedy}")
        seen.add(place.id)
    if not places:
        raise ThrongError("places", f"the zones {path} hold no zone")
    return places


def h3_around(sites: Sites, resolution: int) -> list[Place]:
    """The H3 cells in which the network's cells stand, in the order of their indexes."""
    there = sites.located
    points = zip(sites.lat[there].tolist(), sites.lon[there].tolist(), strict=True)
    return [_hexagon(index, index) for index in sorted({h3.latlng_to_cell(*point, resolution) for point in points})]


def _features(path: Path, content: bytes, findings: Findings, id_property: str, name_property: str) -> Iterator[Place]:
    try:
        document = orjson.loads(content.removeprefix(BOM_UTF8))
        features = document["features"] if document["type"] == "FeatureCollection" else [document]
        if not isinstance(features, list):
            raise TypeError
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ThrongError("places", f"the zones {path} are no GeoJSON ({_why_not(error)})") from error
    if (crs := document.get("crs")) and not DEGREES.search(str(crs)):
        remedy = "convert them first: ogr2ogr -t_srs EPSG:4326 -lco RFC7946=YES out.geojson in.geojson"
        raise ThrongError("places", f"the zones {path} are not in WGS 84 (longitude, latitude): {remedy}")
    for number, feature in enumerate(features, 1):
        yield _place(path, number, feature, findings, id_property, name_property)


def _why_not(error: Exception) -> str:
    """What an error of reading says, in words: a KeyError has its key alone."""
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r} in it"
    return str(error) if isinstance(error, orjson.JSONDecodeError) else "it is no object"


def _place(
    path: Path, number: int, feature: Mapping[str, Any], findings: Findings, id_property: str, name_property: str
) -> Place:
    where = f"the zones {path}: feature {number}"
    properties = (feature.get("properties") or {}) if isinstance(feature, Mapping) else None
    if not isinstance(properties, Mapping):
        raise ThrongError("places", f"{where} is no feature as GeoJSON has it, with properties and a geometry")
    own_id = properties.get(id_property)
    if own_id is None:
        own_id = feature.get("id")
    if own_id is None or not str(own_id).strip():  # a cell with the zone "" stands for none
        raise ThrongError("places", f"{where} has no id: name the property that holds it with --id-property")
    outline = _outline(where, str(own_id), feature.get("geometry"), findings)
    text = {name: _text(properties.get(name)) for name in ("kind", "parent", "parent_name")}
    return Place(str(own_id), _text(properties.get(name_property)) or str(own_id), outline=outline, **text)


def _text(value: Any) -> str:
    """A property, '' where there is none; 0 is one."""
    return "" if value is None else str(value)


def _outline(where: str, own_id: str, geometry: Any, findings: Findings) -> Any:
    what = geometry.get("type") if isinstance(geometry, dict) else None
    if what not in POLYGONAL:
        found = (
            "it has no geometry" if geometry is None else f"it is a {what}" if isinstance(what, str) else "it is none"
        )
        remedy = f"{found}: leave it out, or give it the outline of the place"
        raise ThrongError("places", f"{where} is no polygon ({own_id!r}), {remedy}")
    try:
        outline = shape(geometry)
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, IndexError) as error:
        raise ThrongError("places", f"{where} has coordinates that make no polygon") from error
    west, south, east, north = outline.bounds if not outline.is_empty else (999.0, 0.0, 0.0, 0.0)
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        raise ThrongError("places", f"{where} is empty or not in degrees of longitude and latitude")
    if not outline.is_valid:
        findings.add("zones whose outline crosses itself (made valid)", own_id)
        # What is left of it may have lines and points besides.
        parts = shapely.get_parts(shapely.make_valid(outline))
        outline = shapely.union_all(parts[shapely.area(parts) > 0])
        if outline.is_empty:
            raise ThrongError("places", f"{where} ({own_id!r}) has an outline without an area: a line there and back")
    return outline


def _indexes(path: Path, content: bytes) -> Iterator[Place]:
    lines = content.decode("utf-8-sig", "replace").splitlines()
    for number, row in enumerate(csv.reader(lines, delimiter=delimiter_of(lines[0] if lines else "")), 1):
        index, name = ([part.strip() for part in row] + ["", ""])[:2]
        if not index or (number == 1 and len(index) != H3_DIGITS):  # a header
            continue
        if not _HEX.fullmatch(index) or not h3.is_valid_cell(index):
            raise ThrongError(
                "places",
                f"the zones {path}: line {number} is no H3 cell: expected are its 15 hexadecimal digits, "
                "and a name behind a comma if there is one",
            )
        yield _hexagon(index, name or index)


def _hexagon(index: str, name: str) -> Place:
    outline = shapely.Polygon([(lon, lat) for lat, lon in h3.cell_to_boundary(index)])
    above = h3.get_resolution(index) - H3_STEPS_UP
    parent = h3.cell_to_parent(index, above) if above >= 0 else ALL[0]
    return Place(index, name, "", parent, parent, outline)
