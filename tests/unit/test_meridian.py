"""Zones and cells on both sides of the 180th meridian."""

import h3
import numpy as np
import pytest
import shapely

from streams.errors import ThrongError
from streams.places.build import build
from streams.places.findings import Findings
from streams.places.polygons import Place, h3_around
from streams.places.sites import Sites

NO = float("nan")


def sites_at(*lon: float, lat: float = -16.8) -> Sites:
    many = len(lon)
    names = [f"001-01-{n + 1:07X}" for n in range(many)]
    nothing = np.full(many, NO)
    return Sites(
        names, names, ["lte"] * many, np.array(lon), np.full(many, lat), nothing, nothing, np.full(many, 300.0)
    )


def place(own: str, outline: shapely.Geometry) -> Place:
    return Place(own, own, "", "", "", outline)


def built(places: list[Place], sites: Sites, weighted: bool = False):
    return build(places, [], sites, (1, "x", "UTC"), Findings(), weighted)


def moved(places: list[Place], by: float) -> list[Place]:
    return [each._replace(outline=shapely.transform(each.outline, lambda xy: np.add(xy, [by, 0]))) for each in places]


def test_a_plan_across_the_meridian_is_that_of_the_same_places_elsewhere():
    # Taveuni lies on it: a zone cut in two there, as RFC 7946 has it, and one on each side.
    cut = shapely.MultiPolygon([shapely.box(179.99, -16.81, 180, -16.79), shapely.box(-180, -16.81, -179.99, -16.79)])
    there = [
        place("west", shapely.box(179.97, -16.81, 179.99, -16.79)),
        place("middle", cut),
        place("east", shapely.box(-179.99, -16.81, -179.97, -16.79)),
    ]
    whole = [there[0], place("middle", shapely.box(179.99, -16.81, 180.01, -16.79)), moved([there[2]], 360)[0]]
    lon = np.array([179.98, 179.995, -179.995, -179.98])
    here = built(moved(whole, -170), sites_at(*(np.where(lon < 0, lon + 360, lon) - 170)), weighted=True).plan
    found = built(there, sites_at(*lon), weighted=True).plan
    assert [cell.zone for cell in found.cells] == ["west", "middle", "middle", "east"]
    assert [cell.lon for cell in found.cells] == lon.tolist(), "as they were given"
    for one, other in zip(found.zones, here.zones, strict=True):
        assert (one.inside, one.radius_m) == pytest.approx((other.inside, other.radius_m), rel=1e-3)
        assert [part.zone for part in one.counted] == [part.zone for part in other.counted]
        assert [part.share for part in one.counted] == pytest.approx([p.share for p in other.counted], abs=0.02)
        assert -180 <= one.lon <= 180
        assert abs(one.lon) > 179.9


def test_h3_cells_across_the_meridian_are_as_large_as_others():
    sites = sites_at(179.9999, -179.9999)
    places = h3_around(sites, 7)
    found = built(places, sites)
    area = shapely.area(found.zones).sum()
    assert area == pytest.approx(sum(h3.cell_area(each.id, "m^2") for each in places), rel=0.01)
    assert all(cell.zone for cell in found.plan.cells)


def test_what_spans_half_the_globe_is_refused():
    places = [place(f"z{west}", shapely.box(west, 0, west + 1, 1)) for west in (0, 120, -120)]
    with pytest.raises(ThrongError, match="span half the globe or more: build a plan for each part") as refused:
        built(places, sites_at(0.5, -119.5, lat=0.5))
    assert "\n" not in str(refused.value)
