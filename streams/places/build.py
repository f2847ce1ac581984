"""The zone plan from places and sites: `throng zones build` without files.

In: places (outlines in degrees), optionally districts of their own, and sites. Out: the plan, with what it knows of
each zone's uncertainty, the shapes to draw it by, and findings. The same input gives the same plan.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from schemas.plan import NO_ZONE, NOWHERE, Cell, Parent, Plan, Spill, Zone
from streams.errors import ThrongError
from streams.places.coverage import FARTHEST_M, Shapes, as_objects, coverage, plane, projected, radii
from streams.places.density import Grid, on_plane, tell_of
from streams.places.findings import Findings
from streams.places.meridian import seamless, usual
from streams.places.polygons import ALL, Place
from streams.places.served import Counted, where_counted
from streams.places.shares import NONE, Shares, assigned, disjoint, holes, shares_of
from streams.places.sites import Sites

ELSEWHERE: Final = ("elsewhere", "Elsewhere")
LEAST_SPILL: Final = 0.01
ASTRAY: Final = 10.0  # degrees of a meridian, 1,100 km: no cell reaches so far
DEGREES: Final = 6  # decimals: a tenth of a metre


class Built(NamedTuple):
    """A plan, and in metres: zones as counted (without overlaps), cells' coverage (None without position), and each
    cell's zone (NONE: nowhere)."""

    plan: Plan
    zones: Shapes
    coverage: Shapes
    zone_of: NDArray[np.int64]


def build(
    places: Sequence[Place],
    districts: Sequence[Place],
    sites: Sites,
    about: tuple[int, str, str],
    findings: Findings,
    weighted: bool = False,
    density: Grid | None = None,
) -> Built:
    """Build a plan; `about`: its version, name and time zone. `districts`: parents by outline, () by property.
    `weighted`: with where those in each zone are counted. `density`: where people are; evenly spread if there is none.

    Raises:
        ThrongError: `places` if there are too many zones, or no cell has a position,
            or they span half the globe, or the grid has nobody in any zone, or no zone has a cell, or a zone and a
            district have one id.
    """
    if len(places) >= NO_ZONE:
        raise ThrongError("places", f"{len(places)} zones; a plan has {NO_ZONE - 1} at most")
    if not sites.located.any():
        raise ThrongError("places", "no cell has a position: 'lon' and 'lat' are degrees, with a decimal point")
    given = as_objects([place.outline for place in places])
    named, sites = sites, _without(sites, astray(given, sites), findings)
    if not sites.located.any():
        raise _no_cell(places, named)
    given, lon = seamless(given, sites.lon)
    places = [place._replace(outline=outline) for place, outline in zip(places, given, strict=True)]
    sites = sites._replace(lon=lon)
    flat = plane(*_middles(given, sites))
    raw = projected(given, flat)
    outlines = disjoint(raw, [place.id for place in places], findings)
    x, y = flat(sites.lon, sites.lat)
    shapes = coverage(sites, x, y)
    people = None if density is None else on_plane(density, flat, flat(0, 0, inverse=True)[1])
    if people is not None:
        tell_of(outlines, people, [place.id for place in places], findings)
    shares = shares_of(shapes, outlines, people)
    zone_of, share = assigned(shares, len(sites.name))
    if places and (zone_of == NONE).all():
        raise _no_cell(places, named)
    _tell(places, outlines, sites, shapes, zone_of, flat, findings)
    parents, parent_of = _parents(places, raw, _flat(districts, flat), districts, findings)
    zones = _zones(places, parent_of, shares, zone_of, radii(shapes), shapely.area(outlines))
    if weighted:
        ids = [zone.id for zone in zones]
        zones = _weighted(zones, where_counted(sites, x, y, shapes, outlines, zone_of, ids, people))
    cells = _cells(named, places, zone_of, share)
    version, name, timezone = about
    return Built(Plan(version, name, timezone, parents, zones, cells), outlines, shapes, zone_of)


def astray(outlines: Shapes, sites: Sites) -> NDArray[np.bool_]:
    """Which cells are ASTRAY degrees or more from all zones, as far as the box around these tells."""
    west, south, east, north = shapely.total_bounds(outlines).tolist()
    middle, half = (west + east) / 2, (east - west) / 2
    beside = np.abs((sites.lon - middle + 180) % 360 - 180) - half
    above = np.maximum(sites.lat - north, south - sites.lat)
    beside = beside * np.cos(np.radians((south + north) / 2))
    return np.asarray(sites.located & (np.maximum(beside, above) >= ASTRAY))


def _without(sites: Sites, away: NDArray[np.bool_], findings: Findings) -> Sites:
    """The same cells, those that are away without a position: a plane that reached to them would be none of the zones',
    in which ranges and areas are as they are on the ground."""
    for number in np.flatnonzero(away).tolist():
        findings.add(
            "cells far from all zones (who is there is counted nowhere; is their position right?)", sites.name[number]
        )
    return sites._replace(lon=np.where(away, np.nan, sites.lon), lat=np.where(away, np.nan, sites.lat))


def _no_cell(places: Sequence[Place], sites: Sites) -> ThrongError:
    return ThrongError(
        "places",
        f"no zone has a cell: none of {sites.located.sum():,} cells is mostly in any of {len(places):,} zones; "
        "do both files show the same region, and 'lon' and 'lat' stand in their columns? "
        f"Or are zones smaller than what cells reach?{_far(sites)}",
    )


def _far(sites: Sites) -> str:
    far = int((sites.located & np.isnan(sites.range_m)).sum())
    reach = f"halfway to the next site, up to {FARTHEST_M / 1000:g} km: far beyond small zones"
    return f" {far:,} cells have no 'range', so they are taken to reach {reach}" if far else ""


def _middles(outlines: Shapes, sites: Sites) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    bounds = shapely.bounds(outlines)
    there = sites.located
    lon = np.concatenate([bounds[:, 0], bounds[:, 2], sites.lon[there]])
    return lon, np.concatenate([bounds[:, 1], bounds[:, 3], sites.lat[there]])


def _flat(districts: Sequence[Place], flat: object) -> Shapes:
    return projected(as_objects([district.outline for district in districts]), flat) if districts else as_objects([])


def _tell(
    places: Sequence[Place],
    outlines: Shapes,
    sites: Sites,
    shapes: Shapes,
    zone_of: NDArray[np.int64],
    flat: object,
    findings: Findings,
) -> None:
    for area, x, y in holes(outlines):
        lon, lat = flat(x, y, inverse=True)  # type: ignore[operator]
        findings.add("holes between zones", f"{area:,.0f} m2 at {lat:.5f},{lon:.5f}")
    heard = np.bincount(zone_of[zone_of != NONE], minlength=len(places))
    for number in np.flatnonzero(heard == 0).tolist():
        findings.add("zones without a cell of their own (nobody is ever counted there)", places[number].id)
    for number in np.flatnonzero((zone_of == NONE) & ~shapely.is_missing(shapes)).tolist():
        findings.add("cells that are mostly in no zone (who is there is counted nowhere)", sites.name[number])


def _parents(
    places: Sequence[Place], outlines: Shapes, wider: Shapes, districts: Sequence[Place], findings: Findings
) -> tuple[tuple[Parent, ...], list[str]]:
    """The districts in the order in which zones name them, and each zone's."""
    if districts:
        found = [ELSEWHERE if n == NONE else districts[n][:2] for n in _largest(outlines, wider)]
    elif any(place.parent for place in places):
        found = [(p.parent, p.parent_name or p.parent) if p.parent else ELSEWHERE for p in places]
    else:
        found = [ALL for _ in places]
    names: dict[str, str] = {}
    for place, (parent, name) in zip(places, found, strict=True):
        if names.setdefault(parent, name) == parent:
            names[parent] = name
        if parent == ELSEWHERE[0]:
            findings.add(f"zones in no district (put into '{ELSEWHERE[0]}')", place.id)
    both = next((place.id for place in places if place.id in names), None)
    if both is not None:
        remedy = "give one of them another; of zones within zones give the larger ones as --parents"
        raise ThrongError("places", f"{both!r} is the id of a zone and of a district: {remedy}")
    return tuple(Parent(*item) for item in names.items()), [parent for parent, _ in found]


def _largest(outlines: Shapes, wider: Shapes) -> list[int]:
    """Of each zone the district that has most of it, or NONE."""
    zone, district = shapely.STRtree(wider).query(outlines, predicate="intersects")
    area = shapely.area(shapely.intersection(outlines[zone], wider[district]))
    size = shapely.area(outlines)
    zone, district, part = zone[area > 0], district[area > 0], area[area > 0] / size[zone[area > 0]]
    chosen, _ = assigned(Shares(zone, district, np.minimum(part, 1.0)), len(outlines))
    return [int(number) for number in chosen.tolist()]


def _zones(
    places: Sequence[Place],
    parent_of: list[str],
    shares: Shares,
    zone_of: NDArray[np.int64],
    radius: NDArray[np.float64],
    area: NDArray[np.float64],
) -> tuple[Zone, ...]:
    """The zones with what is known of those who are counted there."""
    placed = zone_of != NONE
    cells = np.maximum(np.bincount(zone_of[placed], minlength=len(places)), 1).tolist()
    squares = np.bincount(zone_of[placed], radius[placed] ** 2, len(places))
    elsewhere: list[list[tuple[float, int]]] = [[] for _ in places]
    inside = np.zeros(len(places))
    home = zone_of[shares.cell]
    for counted, zone, share in _sums(home, shares.zone, shares.share, len(places)):
        if counted == zone:
            inside[zone] = share / cells[zone]
        elif share / cells[counted] >= LEAST_SPILL:
            elsewhere[counted].append((share / cells[counted], zone))
    heard = np.isin(np.arange(len(places)), zone_of)
    return tuple(
        Zone(
            id=place.id,
            name=place.name,
            parent=parent,
            kind=place.kind,
            lat=lat,
            lon=lon,
            inside=round(float(inside[n]), 4) if heard[n] else None,
            radius_m=round(float(np.sqrt(squares[n] / cells[n])), 1) if heard[n] else None,
            spill=tuple(
                Spill(places[zone].id, round(share, 4))
                for share, zone in sorted(elsewhere[n], key=lambda pair: (-pair[0], pair[1]))
            ),
            area_m2=round(float(area[n]), 1),
        )
        for n, (place, parent, (lat, lon)) in enumerate(zip(places, parent_of, map(_position, places), strict=True))
    )


def _weighted(zones: tuple[Zone, ...], found: list[Counted]) -> tuple[Zone, ...]:
    return tuple(
        msgspec.structs.replace(zone, counted=each.shares, step=each.step)
        for zone, each in zip(zones, found, strict=True)
    )


def _sums(
    home: NDArray[np.int64], zone: NDArray[np.int64], share: NDArray[np.float64], zones: int
) -> list[tuple[int, int, float]]:
    """(zone that counts, zone where they are, cells' worth of shares)."""
    placed = home != NONE
    pairs, which = np.unique(home[placed] * zones + zone[placed], return_inverse=True)
    sums = np.bincount(which, share[placed], len(pairs))
    return [(int(pair) // zones, int(pair) % zones, float(total)) for pair, total in zip(pairs, sums, strict=True)]


def _position(place: Place) -> tuple[float, float]:
    middle = place.outline.representative_point()
    return round(middle.y, DEGREES), round(usual(middle.x), DEGREES)


def _cells(
    sites: Sites, places: Sequence[Place], zone_of: NDArray[np.int64], share: NDArray[np.float64]
) -> tuple[Cell, ...]:
    return tuple(
        Cell(
            name,
            places[zone].id if zone != NONE else NOWHERE,
            round(lat, DEGREES),
            round(lon, DEGREES),
            round(part, 4) if zone != NONE else None,
        )
        for name, zone, lat, lon, part, known in zip(
            sites.name,
            zone_of.tolist(),
            sites.lat.tolist(),
            sites.lon.tolist(),
            share.tolist(),
            sites.located,
            strict=True,
        )
        if known
    )
