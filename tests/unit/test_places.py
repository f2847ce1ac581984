"""Zone plans from polygons and cells: on shapes whose areas one can work out by hand."""

import gzip
import math
from pathlib import Path

import numpy as np
import orjson
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.attach import pack_cell
from schemas.plan import NOWHERE, Cell, Parent, Plan, Zone
from streams.core.gateway.zones import EXCLUDED, CellTable
from streams.errors import ThrongError
from streams.places.build import build
from streams.places.coverage import as_objects, coverage, plane, radii, regions, sectors
from streams.places.density import read_density
from streams.places.findings import Findings
from streams.places.polygons import Place, h3_around, read_places
from streams.places.shares import NONE, assigned, disjoint, holes, shares_of
from streams.places.sites import OPENCELLID, Sites, read_sites


def boxes(*bounds: tuple[float, float, float, float]) -> np.ndarray:
    return as_objects([shapely.box(*each) for each in bounds])


def numbers(*values: float) -> np.ndarray:
    return np.array(values, np.float64)


def sites_at(x: list[float], azimuth: list[float], reach: list[float], rat: str = "lte") -> Sites:
    count = len(x)
    nothing = np.zeros(count)
    beam = np.full(count, 120.0)
    names = [f"001-01-{n + 1:07X}" for n in range(count)]
    return Sites(names, [""] * count, [rat] * count, nothing, nothing, numbers(*azimuth), beam, numbers(*reach))


def read(tmp_path: Path, text: str, **options: int) -> tuple[Sites, Findings]:
    path = tmp_path / "cells.csv"
    path.write_text(text)
    findings = Findings()
    return read_sites(path, findings, **options), findings


class TestSites:
    def test_opencellid_rows_are_named_as_the_attach_topic_names_cells(self, tmp_path: Path) -> None:
        rows = [
            "GSM,262,1,4660,22136,0,13.4,52.5,1000,7,1,1,1,0",
            "UMTS,262,2,17,69999123,0,13.4,52.5,1000,7,1,1,1,0",
            "LTE,310,260,1,26385408,0,-74.0,40.7,1000,7,1,1,1,0",
            "NR,262,1,1,1099511,0,13.5,52.6,1000,7,1,1,1,0",
        ]
        for text in ("\n".join([OPENCELLID, *rows]), "\n".join(rows)):
            sites, _ = read(tmp_path, text)
            ci = 69999123 & 0xFFFF
            assert sites.name == ["262-01-1234-5678", f"262-02-0011-{ci:04X}", "310-260-1929C00", "262-01-00010C6F7"]
            assert sites.rat == ["gsm", "umts", "lte", "nr"]
            assert all(pack_cell(name) for name in sites.name)
            assert sites.lon[0] == 13.4
            assert np.isnan(sites.azimuth).all()

    def test_a_packed_file_reads_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "cells.csv.gz"
        path.write_bytes(gzip.compress(b"radio,mcc,net,area,cell,lon,lat\nLTE,1,1,1,5,9,50\n"))
        assert read_sites(path, Findings()).name == ["001-01-0000005"]

    @pytest.mark.parametrize("head", ["radio,mcc,net,area,cell,lon,lat\n", ""])
    @pytest.mark.parametrize("delimiter", [",", ";", "\t"])
    def test_a_file_of_a_spreadsheet_reads_the_same(self, tmp_path: Path, delimiter: str, head: str) -> None:
        row = "LTE,1,1,1,5,9,50\n" if head else "LTE,1,1,1,5,,9,50,,,,,,\n"
        text = (head + row + "," * 6 + "\n").replace(",", delimiter).replace("\n", "\r\n")
        sites, findings = read(tmp_path, "\ufeff" + text)
        assert (sites.name, sites.lon.tolist(), findings.counts) == (["001-01-0000005"], [9.0], {})

    def test_rows_that_are_no_good_are_counted_and_the_first_named(self, tmp_path: Path) -> None:
        text = "radio,mcc,net,area,cell,lon,lat,azimuth,beam\n"
        text += "CDMA,310,1,1,5,9,50,,\nLTE,x,1,1,5,9,50,,\nLTE,1,1,1,268435456,9,50,,\nLTE,1,1,1,-5,9,50,,\n"
        text += "LTE,1,1,1,5,9,50,-90,400\nLTE,1,1,1,5,8,50,,\nLTE,1,1,1,6,,,,\nLTE,1,1,1,7,0,0,,\n"
        sites, findings = read(tmp_path, text)
        assert sites.name == ["001-01-0000005", "001-01-0000006", "001-01-0000007"]
        assert findings.counts == {
            "rows that name no cell": 4,
            "cells that are there twice (the first counts)": 1,
            "cells without a position": 2,
        }
        assert findings.firsts["rows that name no cell"][0] == "row 2: the radio CDMA has no cell identity of 3GPP"
        assert (sites.azimuth[0], sites.beam[0]) == (270.0, 120.0)
        assert sites.located.tolist() == [True, False, False]

    def test_digits_of_a_network_code_can_be_said(self, tmp_path: Path) -> None:
        text = "radio,mcc,net,area,cell,lon,lat\nLTE,334,20,1,5,9,50\n"
        assert read(tmp_path, text)[0].name == ["334-20-0000005"]
        assert read(tmp_path, text, mnc_digits=3)[0].name == ["334-020-0000005"]

    def test_a_network_code_has_three_digits_where_it_is_written_so_or_large_or_american(self, tmp_path: Path) -> None:
        text = "mcc,net,cell\n262,99,5\n262,100,5\n262,099,6\n316,10,5\n317,10,5\n302,10,5\n"
        sites, _ = read(tmp_path, text)
        codes = ["262-99", "262-100", "262-099", "316-010", "317-10", "302-010"]
        assert [name.rsplit("-", 1)[0] for name in sites.name] == codes
        assert sites.rat == ["lte"] * 6, "as nothing else is said"

    def test_names_are_read_in_either_case_and_with_spaces_around(self, tmp_path: Path) -> None:
        sites, _ = read(tmp_path, "Radio, MCC ,Net,Area,Cell,LON,Lat,ID\n wcdma ,1,1,10,69999123, 9 ,50, east \n")
        assert (sites.name, sites.rat, sites.alias) == ([f"001-01-000A-{69999123 & 0xFFFF:04X}"], ["umts"], ["east"])
        assert (sites.lon.tolist(), sites.lat.tolist()) == ([9.0], [50.0])
        for first, count in (("lte,1,1,1,5,,9,50", 2), ("CDMA,1,1,1,5,,9,50", 1)):
            sites, findings = read(tmp_path, f"{first}\nLTE,1,1,1,6,,9,50\n")
            assert len(sites.name) == count, "OpenCellID's columns, without a header"
            assert findings.counts.get("rows that name no cell", 0) == 2 - count

    def test_what_can_be_no_position_range_or_beam_is_not_known(self, tmp_path: Path) -> None:
        head = "mcc,net,cell,lon,lat,range,azimuth,beam\n"
        rows = ("180,-90,1,360,360", "-180,90,0,0,0", "0,50,-5,-10,-1", "9,0,inf,inf,360.5", "181,50,x,y,z")
        rows += ("9,91,,,", "9,,,,", ",50,,,")
        sites, _ = read(tmp_path, head + "".join(f"1,1,{number},{row}\n" for number, row in enumerate(rows)))
        assert sites.located.tolist() == [True] * 4 + [False] * 4
        assert sites.lon[:4].tolist() == [180, -180, 0, 9]
        assert np.isnan(sites.lon[4:]).all()
        assert np.isnan(sites.lat[4:]).all()
        assert sites.range_m[:5] == pytest.approx([1, *[math.nan] * 4], nan_ok=True)
        assert sites.azimuth[:5] == pytest.approx([0, 0, 350, math.nan, math.nan], nan_ok=True)
        assert sites.beam[:5].tolist() == [360, 120, 120, 120, 120]
        with pytest.raises(ThrongError, match=r"row 2: cell is no whole number from 0"):
            read(tmp_path, head + "1,1,²,9,50,,,\n")

    def test_whole_numbers_may_be_written_as_tables_write_them_where_some_are_missing(self, tmp_path: Path) -> None:
        text = "radio,mcc,net,area,cell,lon,lat\nLTE,262.0,1.0,,5.0,9,50\n"
        assert read(tmp_path, text)[0].name == ["262-01-0000005"]

    def test_a_file_of_no_good_row_says_why_of_the_first(self, tmp_path: Path) -> None:
        with pytest.raises(ThrongError, match=r"no cell that could be used \(row 2: net is no whole number from 0\)"):
            read(tmp_path, "radio,mcc,net,area,cell,lon,lat\nLTE,262,1.5,1,5,9,50\n")

    def test_a_packed_file_that_is_damaged_is_said_to_be(self, tmp_path: Path) -> None:
        rows = "".join(f"LTE,262,1,1,{n * 7919 % 100_003},9,50\n" for n in range(20_000))
        packed = gzip.compress(f"radio,mcc,net,area,cell,lon,lat\n{rows}".encode())
        (tmp_path / "cells.csv.gz").write_bytes(packed[:3000] + b"\0\xff" * 60 + packed[3120:])
        with pytest.raises(ThrongError, match="cannot read the cells .*cells.csv.gz"):
            read_sites(tmp_path / "cells.csv.gz", Findings())

    @pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "radio,mcc,net,cell\n"])
    def test_a_file_without_cells_is_refused_in_a_line(self, tmp_path: Path, text: str) -> None:
        with pytest.raises(ThrongError, match=r"cells\.csv"):
            read(tmp_path, text)


class TestCoverage:
    def test_a_sector_looks_where_its_azimuth_says(self) -> None:
        east, whole = sectors(numbers(0, 0), numbers(0, 0), numbers(90, 0), numbers(120, 360), numbers(1000, 1000))
        assert east.area == pytest.approx(math.pi * 1e6 / 3, rel=0.01)
        assert east.contains(shapely.Point(900, 0))
        assert not east.intersects(shapely.Point(-10, 0))
        assert east.contains(shapely.Point(500, 800))
        assert not east.contains(shapely.Point(500, 900))
        assert whole.area == pytest.approx(math.pi * 1e6, rel=0.02)
        assert whole.is_valid

    def test_regions_meet_halfway_and_the_same_spot_shares_one(self) -> None:
        left, right, same = regions(numbers(0, 1000, 1000), numbers(0, 0, 0))
        assert left.bounds[2] == pytest.approx(500)
        assert right.bounds[0] == pytest.approx(500)
        assert right.equals(same)
        assert regions(numbers(5), numbers(5))[0].contains(shapely.Point(5, 5))
        assert left.contains(shapely.Point(-34_000, 34_000)), "out to where any cell may reach"
        one, other, _ = regions(numbers(0, 0.4, 1000), numbers(0, 0.4, 0))
        assert one.equals(other), "masts are known to a metre"

    def test_a_cell_is_as_far_as_it_is_known_to_be(self) -> None:
        nan = math.nan
        sites = sites_at([0, 1000, 1000], [90, nan, 270], [400, 300, nan])
        sector, disc, cut = coverage(sites, numbers(0, 1000, 1000), numbers(0, 0, 0))
        assert sector.bounds == pytest.approx(
            (0, -400 * math.sin(math.pi / 3), 400, 400 * math.sin(math.pi / 3)), abs=1
        )
        assert disc.area == pytest.approx(math.pi * 300**2, rel=0.02)
        assert cut.bounds[0] == pytest.approx(500)  # to the other site's region, and no farther
        assert cut.bounds[2] == pytest.approx(1000)

    def test_no_cell_reaches_farther_than_the_farthest_that_any_can(self) -> None:
        nan = math.nan
        sites = sites_at([0, 0, 0], [90, 90, nan], [100_000, nan, nan])
        there = numbers(0, 0, 0)
        for shape, whole in zip(coverage(sites, there, there), (1 / 3, 1 / 3, 1), strict=True):
            assert shape.bounds[2] == pytest.approx(35_000)
            assert shape.area == pytest.approx(whole * math.pi * 35_000**2, rel=0.02)

    def test_the_plane_lies_around_the_middle_on_whichever_side_of_the_180th_meridian(self) -> None:
        for lon, middle in ((numbers(9, 13), 11), (numbers(178, -178), 180), (numbers(-179, math.nan, 177), 179)):
            assert plane(lon, numbers(50, 52, 50)[: len(lon)])(middle, 51) == pytest.approx((0, 0), abs=1e-6)

    def test_radios_are_layers_of_their_own(self) -> None:
        nan = math.nan
        sites = sites_at([0, 1000], [nan, nan], [nan, nan])._replace(rat=["lte", "nr"])
        one, other = coverage(sites, numbers(0, 1000), numbers(0, 0))
        assert one.area == pytest.approx(other.area)
        assert one.contains(shapely.Point(1000, 0))

    def test_the_radius_of_a_square_is_its_side_by_the_root_of_six_wherever_it_lies(self) -> None:
        square = boxes((0, 0, 600, 600), (800_000, -700_000, 800_060, -699_940))
        assert radii(square) == pytest.approx([600 / 6**0.5, 60 / 6**0.5], rel=1e-6)
        apart = shapely.box(0, 0, 600, 600) | shapely.box(2000, 0, 2600, 600)
        found = radii(as_objects([None, apart, square[1]]))
        assert found == pytest.approx([math.nan, (600**2 / 6 + 1000**2) ** 0.5, 60 / 6**0.5], rel=1e-6, nan_ok=True)


class TestShares:
    def test_a_cell_across_a_border_has_a_part_on_each_side_and_stands_for_the_larger(self) -> None:
        zones = boxes((0, 0, 100, 100), (100, 0, 200, 100))
        cells = boxes((60, 0, 110, 100), (90, 0, 110, 100), (-200, 0, 100, 100), (0, 500, 9, 509), (10, 10, 20, 20))
        shares = shares_of(cells, zones)
        triples = zip(*(column.tolist() for column in shares), strict=True)
        found = {(cell, zone): share for cell, zone, share in triples}
        expected = {(0, 0): 0.8, (0, 1): 0.2, (1, 0): 0.5, (1, 1): 0.5, (2, 0): 1 / 3, (4, 0): 1.0}
        assert found == pytest.approx(expected)
        zone, share = assigned(shares, len(cells))
        assert zone.tolist() == [0, 0, NONE, NONE, 0]
        assert share == pytest.approx([0.8, 0.5, 0, 0, 1])

    def test_a_cell_stands_for_none_only_if_more_than_half_of_it_is_in_no_zone(self) -> None:
        zones = boxes((0, 0, 100, 100), (200, 0, 300, 100))
        cells = boxes((50, 0, 150, 100), (51, 0, 151, 100), (70, 0, 240, 100))
        shares = shares_of(cells, zones)
        zone, share = assigned(shares, len(cells))
        assert zone.tolist() == [0, NONE, NONE]
        assert share == pytest.approx([0.5, 0, 0])
        zone, share = assigned(shares_of(boxes((70, 0, 240, 100)), boxes((0, 0, 120, 100), (200, 0, 300, 100))), 1)
        assert zone.tolist() == [0], "half and more of it is in some, though in none of them half"
        assert share == pytest.approx([50 / 170])

    def test_overlaps_and_gaps_as_thin_as_a_drawn_line_are_not_worth_a_word(self) -> None:
        findings = Findings()
        zones = boxes((0, 0, 100, 100), (99.995, 0, 190, 100))
        larger, smaller = disjoint(zones, ["larger", "smaller"], findings)
        assert list(findings.lines()) == []
        assert shapely.area(shapely.intersection(larger, smaller)) == pytest.approx(0, abs=1e-6), "but counted once"
        gaps = (0.9, 20, 5)
        outline = shapely.box(0, 0, 1000, 100)
        for number, side in enumerate(gaps):
            outline -= shapely.box(100 * number + 50, 50, 100 * number + 50 + side, 50 + side)
        told = holes(as_objects([outline]))
        assert [area for area, _, _ in told] == pytest.approx([400, 25]), "the largest first"
        ring = shapely.box(0, 0, 100, 100) - (shapely.box(10, 10, 90, 90) - shapely.box(10, 10, 80, 80))
        ((_, x, y),) = holes(as_objects([ring]))
        assert shapely.box(10, 10, 90, 90).contains(shapely.Point(x, y))
        assert not ring.intersects(shapely.Point(x, y)), "it is within, whatever the gap's form"

    def test_where_outlines_overlap_the_smaller_has_it(self) -> None:
        findings = Findings()
        district, shop, beside = disjoint(
            boxes((0, 0, 100, 100), (40, 40, 60, 60), (100, 0, 200, 100)), ["district", "shop", "beside"], findings
        )
        assert (district.area, shop.area, beside.area) == (9600, 400, 10_000)
        assert list(findings.lines()) == [
            "1 pairs of zones that overlap (the smaller one has it): district and shop (400 m2)"
        ]

    def test_a_gap_that_zones_enclose_is_found(self) -> None:
        ring = shapely.box(0, 0, 100, 100) - shapely.box(40, 40, 60, 60)
        ((area, x, y),) = holes(as_objects([ring]))
        assert area == 400
        assert 40 < x < 60
        assert 40 < y < 60

    @settings(max_examples=60)
    @given(st.data())
    def test_the_shares_of_a_cell_sum_to_one_at_most(self, data: st.DataObject) -> None:
        side = st.floats(0, 100, width=32)
        length = st.floats(1, 60, width=32)
        zones = data.draw(st.lists(st.tuples(side, side, length, length), min_size=1, max_size=8))
        cells = data.draw(st.lists(st.tuples(side, side, st.floats(0, 359), st.floats(5, 360), length), min_size=1))
        outlines = boxes(*[(x, y, x + w, y + h) for x, y, w, h in zones])
        shapes = sectors(*np.array(cells).T)
        shares = shares_of(shapes, disjoint(outlines, [""] * len(zones), Findings()))
        sums = np.bincount(shares.cell, shares.share, len(cells))
        assert (sums <= 1 + 1e-9).all()
        assert ((shares.share > 0) & (shares.share <= 1)).all()
        whole = shapely.area(shapely.intersection(shapes, shapely.union_all(outlines))) / shapely.area(shapes)
        assert sums == pytest.approx(whole, abs=1e-6)


SQUARE_M = 0.01  # degrees


def feature(own_id: str, west: float, **properties: str) -> dict:
    ring = [[west, 50], [west + SQUARE_M, 50], [west + SQUARE_M, 50.01], [west, 50.01], [west, 50]]
    return {
        "type": "Feature",
        "properties": {"id": own_id, **properties},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def geojson(path: Path, *features: dict) -> Path:
    path.write_bytes(orjson.dumps({"type": "FeatureCollection", "features": features}))
    return path


class TestPlan:
    def test_a_plan_knows_what_the_network_cannot(self, tmp_path: Path) -> None:
        zones = geojson(
            tmp_path / "z.geojson",
            feature("a", 9.0, name="A", kind="shops", parent="p"),
            feature("b", 9.01, parent="p"),
        )
        # Two sites, so their regions meet at 9.0125: a quarter of b is nearer to the cell in a, and much is outside.
        sites, findings = read(
            tmp_path,
            "radio,mcc,net,area,cell,lon,lat,range\nLTE,1,1,1,1,9.005,50.005,200\nLTE,1,1,1,2,9.01,50.005,400\n",
        )
        plan = build(read_places(zones, findings), [], sites, (1, "t", "Europe/Berlin"), findings).plan
        a, b = plan.zones
        assert plan.parents == (Parent("p", "p"),)
        assert (a.name, a.kind, a.parent, b.name) == ("A", "shops", "p", "b")
        assert a.inside == 1.0
        assert a.spill == ()
        assert a.radius_m == pytest.approx(200 / 2**0.5, rel=0.02)
        # The second stands on the border, its region cut at 9.0075: more of it is in b.
        assert plan.cells[1].zone == "b"
        assert b.inside == plan.cells[1].share
        assert b.spill[0].zone == "a"
        assert b.inside + b.spill[0].share == pytest.approx(1, abs=0.001)
        assert plan.places().plan == plan.hash()

    def test_cells_in_no_zone_are_nowhere_and_zones_without_cells_are_told(self, tmp_path: Path) -> None:
        zones = geojson(tmp_path / "z.geojson", feature("a", 9.0), feature("b", 9.5))
        sites, findings = read(
            tmp_path,
            "radio,mcc,net,area,cell,lon,lat,range\nLTE,1,1,1,1,9.005,50.005,200\nLTE,1,1,1,2,9.2,50,200\nLTE,1,1,1,3,,,\n",
        )
        plan = build(read_places(zones, findings), [], sites, (1, "t", "Europe/Berlin"), findings).plan
        assert [cell.zone for cell in plan.cells] == ["a", NOWHERE]
        assert plan.zones[1].inside is None
        assert list(findings.counts.values()) == [1, 1, 1]
        assert plan.parents == (Parent("all", "All"),)

    def test_parents_come_of_a_file_by_the_larger_part(self, tmp_path: Path) -> None:
        zones = geojson(tmp_path / "z.geojson", feature("a", 9.0), feature("b", 9.01), feature("far", 12.0))
        wider = geojson(tmp_path / "w.geojson", feature("west", 8.997), feature("east", 9.007))
        sites, findings = read(tmp_path, "radio,mcc,net,area,cell,lon,lat,range\nLTE,1,1,1,1,9.005,50.005,200\n")
        places, districts = read_places(zones, findings), read_places(wider, findings)
        plan = build(places, districts, sites, (1, "t", "Europe/Berlin"), findings).plan
        assert [zone.parent for zone in plan.zones] == ["west", "east", "elsewhere"]

    def test_a_zone_and_a_district_may_not_have_one_id(self, tmp_path: Path) -> None:
        zones = geojson(tmp_path / "z.geojson", feature("a", 9.0), feature("west", 9.01))
        wider = geojson(tmp_path / "w.geojson", feature("west", 8.997))
        sites, findings = read(tmp_path, "radio,mcc,net,area,cell,lon,lat,range\nLTE,1,1,1,1,9.005,50.005,200\n")
        places, districts = read_places(zones, findings), read_places(wider, findings)
        with pytest.raises(ThrongError, match="'west' is the id of a zone and of a district"):
            build(places, districts, sites, (1, "t", "Europe/Berlin"), findings)

    def test_h3_cells_have_their_parents_two_above(self, tmp_path: Path) -> None:
        sites, findings = read(tmp_path, "radio,mcc,net,area,cell,lon,lat,range\nLTE,1,1,1,1,9.005,50.005,100\n")
        (hexagon,) = h3_around(sites, 8)
        listed = tmp_path / "list.csv"
        listed.write_text(f"h3,name\n{hexagon.id},Market\n")
        assert read_places(listed, findings) == [hexagon._replace(name="Market")]
        plan = build([hexagon], [], sites, (1, "t", "Europe/Berlin"), findings).plan
        assert plan.zones[0].parent == hexagon.parent == plan.parents[0].id
        assert plan.cells[0].zone == hexagon.id

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"[", "no GeoJSON"),
            (b'{"type":"FeatureCollection","features":[{"type":"Feature","properties":{}}]}', "feature 1 has no id"),
            (b'{"type":"Feature","properties":{"id":""}}', "feature 1 has no id"),
            (b'{"type":"Feature","properties":{"id":" "}}', "feature 1 has no id"),
            (b'{"type":"Feature","properties":{"id":"x"},"geometry":{"type":"Point"}}', "feature 1 is no polygon"),
            (
                b'{"type":"Feature","properties":{"id":"x"},"geometry":{"type":"Polygon","coordinates":[[[500000,0],'
                b"[500000,9],[500009,9],[500000,0]]]}}",
                "not in degrees",
            ),
            (b'{"type":"FeatureCollection","features":[]}', "hold no zone"),
            (b'{"type":"FeatureCollection","features":null}', "no GeoJSON"),
            (b'{"type":"FeatureCollection","features":{"a":1}}', "no GeoJSON"),
            (b'{"type":"FeatureCollection","features":[null]}', "feature 1 is no feature"),
            (b'{"type":"Feature","properties":[1]}', "feature 1 is no feature"),
            (
                b'{"type":"Feature","id":7,"properties":{"id":null},"geometry":null}',
                r"no polygon \('7'\), it has no geometry",
            ),
            (
                b'{"type":"Feature","properties":{"id":"x"},"geometry":{"type":"Polygon","coordinates":[[[9,50],'
                b"[9.1,50.1],[9,50],[9,50]]]}}",
                "an outline without an area",
            ),
            (b'{"type":"FeatureCollection","crs":{"name":"urn:ogc:def:crs:EPSG::104326"},"features":[]}', "ogr2ogr"),
            (b'{"type":"FeatureCollection","crs":{"name":"EPSG:25832"},"features":[]}', "WGS 84"),
        ],
    )
    def test_what_is_wrong_with_a_file_of_zones_is_said_in_a_line(
        self, tmp_path: Path, content: bytes, said: str
    ) -> None:
        path = tmp_path / "z.geojson"
        path.write_bytes(content)
        with pytest.raises(ThrongError, match=said):
            read_places(path, Findings())

    @pytest.mark.parametrize("code", ["OGC:1.3:CRS84", "EPSG::4326", "EPSG::4258", "EPSG::4269"])
    def test_degrees_of_other_continents_are_degrees(self, tmp_path: Path, code: str) -> None:
        name = {"crs": {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{code}"}}}
        path = tmp_path / "z.geojson"
        path.write_bytes(orjson.dumps({"type": "FeatureCollection", "features": [feature("a", 9.0)], **name}))
        assert len(read_places(path, Findings())) == 1

    def test_a_number_is_a_parent_too(self, tmp_path: Path) -> None:
        zero = feature("a", 9.0) | {"properties": {"id": 1, "name": 0, "parent": 0}}
        (place,) = read_places(geojson(tmp_path / "z.geojson", zero), Findings())
        assert (place.id, place.name, place.parent) == ("1", "0", "0")

    @pytest.mark.parametrize(
        "lines", ['"h3","name"\n"881f1d48bbfffff","x"\n', "881f1d48bbfffff;x\n", "881F1D48BBFFFFF\tx"]
    )
    def test_a_list_of_h3_cells_is_read_as_tables_write_it(self, tmp_path: Path, lines: str) -> None:
        (tmp_path / "h.csv").write_text(lines)
        assert [place.name for place in read_places(tmp_path / "h.csv", Findings())] == ["x"]

    @pytest.mark.parametrize("line", ["613158889268314111", "881f1d48bbffff0", "0x881f1d48bbfff", "Märkt"])
    def test_what_is_no_h3_cell_is_refused_in_a_line(self, tmp_path: Path, line: str) -> None:
        (tmp_path / "h.csv").write_text(f"881f1d48bbfffff\n{line}\n")
        with pytest.raises(ThrongError, match="line 2 is no H3 cell"):
            read_places(tmp_path / "h.csv", Findings())

    def test_a_cell_at_the_other_end_of_the_world_changes_nothing_here(self, tmp_path: Path) -> None:
        cells = "radio,mcc,net,area,cell,lon,lat,range\nLTE,1,1,1,1,9.005,50.005,200\nLTE,1,1,1,2,9.015,50.005,200\n"
        astray = "LTE,1,1,1,3,151.2,-33.9,400\nLTE,1,1,1,4,-91,33,400\n"
        places = read_places(geojson(tmp_path / "z.geojson", feature("a", 9.0), feature("b", 9.01)), Findings())
        about = (1, "t", "Europe/Berlin")
        alone = build(places, [], read(tmp_path, cells)[0], about, Findings()).plan
        sites, findings = read(tmp_path, cells + astray)
        plan = build(places, [], sites, about, findings).plan
        assert plan.zones == alone.zones
        assert plan.cells[:2] == alone.cells
        assert [(cell.zone, cell.lon, cell.share) for cell in plan.cells[2:]] == [
            (NOWHERE, 151.2, None),
            (NOWHERE, -91.0, None),
        ]
        assert [named for kind, named in findings.firsts.items() if "far from all zones" in kind] == [
            list(sites.name[2:])
        ]
        with pytest.raises(ThrongError, match="no zone has a cell: none of 1 cells"):
            build(places, [], read(tmp_path, cells.partition("\n")[0] + "\n" + astray[:28])[0], about, Findings())

    def test_a_zone_that_smaller_ones_cover_takes_a_density(self, tmp_path: Path) -> None:
        places = read_places(geojson(tmp_path / "z.geojson", feature("a", 9.0), feature("same", 9.0)), Findings())
        sites, findings = read(tmp_path, "radio,mcc,net,area,cell,lon,lat,range\nLTE,1,1,1,1,9.005,50.005,200\n")
        grid = tmp_path / "grid.csv"
        rows = [f"{50 + n / 2000},{9 + m / 2000},1" for n in range(20) for m in range(20)]
        grid.write_text("\n".join(["lat,lon,weight", *rows]))
        plan = build(places, [], sites, (1, "t", "UTC"), findings, True, read_density(grid)).plan
        assert (plan.cells[0].zone, plan.zones[1].area_m2, plan.zones[1].counted) == ("a", 0.0, ())

    def test_an_outline_that_crosses_itself_is_made_valid(self, tmp_path: Path) -> None:
        bow = feature("bow", 9.0)
        bow["geometry"]["coordinates"] = [[[9, 50], [9.01, 50.01], [9.01, 50], [9, 50.01], [9, 50]]]
        findings = Findings()
        (place,) = read_places(geojson(tmp_path / "z.geojson", bow), findings)
        assert isinstance(place, Place)
        assert place.outline.is_valid
        assert len(findings.counts) == 1


class TestTable:
    PLAN = Plan(
        1,
        "p",
        "UTC",
        (Parent("x", "X"),),
        (Zone("a", "A", "x"),),
        (Cell("001-01-0000001", "a"), Cell("001-01-0000002", NOWHERE)),
    )

    def test_nowhere_reads_as_a_zone_where_nobody_is_counted(self) -> None:
        cells = np.array([pack_cell(cell.cell) for cell in self.PLAN.cells], np.uint64)
        assert CellTable(self.PLAN).zones(cells, self.PLAN.hash()).tolist() == [0, EXCLUDED]

    def test_a_plan_without_uncertainty_has_the_hash_that_it_always_had(self) -> None:
        plan = Plan(
            1, "p", "UTC", (Parent("x", "X"),), (Zone("a", "A", "x", "k", 1.0, 2.0),), (Cell("001-01-0000001", "a"),)
        )
        assert plan.hash() == "64a9fe0de653efeef26be16fb3551c4d"
        assert self.PLAN.hash() != plan.hash()
