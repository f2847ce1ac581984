"""Grids of where people are: read from files, and what zone plans make of them."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.cli.main import run
from streams.errors import ThrongError
from streams.places.coverage import as_objects, coverage
from streams.places.density import CELLS, PEOPLED, TOO_COARSE, Axis, Grid, People, read_density, tell_of
from streams.places.findings import Findings
from streams.places.served import STEP_BY_GRID, where_counted
from streams.places.shares import NONE, assigned, shares_of
from streams.places.sites import Sites
from streams.simulate import make_town
from streams.simulate.people import NOWHERE, populate
from streams.stores.plans import load_plan
from tests.unit.test_places import feature, geojson
from validation.census import ERROR, census


def read(tmp_path: Path, text: str, name: str = "people.csv") -> Grid:
    (tmp_path / name).write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return read_density(tmp_path / name)


def people_where(cell_m: float, weight_at) -> People:
    return People(lambda points: weight_at(*points.T).astype(np.float64), cell_m**2)


EVENLY = people_where(10, lambda x, y: np.ones(len(x)))


class TestFiles:
    def test_a_point_has_the_weight_of_the_cell_that_holds_it_and_none_where_there_is_no_row(self, tmp_path: Path):
        text = "lat,lon,weight\n51.0,10.0,3\n51.0,10.001,5\n51.002,10.004,7.5\n"
        for grid in (read(tmp_path, text), read(tmp_path, text, "people.csv.gz")):
            lon = np.array([10.0004, 10.0006, 10.0044, 10.002, 12.0, 10.0, -349.9996])
            lat = np.array([51.0009, 50.9991, 51.0011, 51.0, 51.0, 50.99, 51.0])
            assert grid.at(lon, lat).tolist() == [3, 5, 7.5, 0, 0, 0, 3]
            assert grid.cell_m2(51) == pytest.approx(0.001 * 0.002 * 111_320**2 * 0.62932, rel=1e-4)

    def test_a_statistical_offices_grid_is_in_metres_with_columns_of_its_own(self, tmp_path: Path):
        # The false origin of EPSG:3035 is 52 N, 10 E.
        rows = ["\ufeffid;X;y;Weight", "a;4321050;3210050;10", "b;4321150;3210050;20", '"c";4321050;3210350;30']
        grid = read(tmp_path, "\r\n".join(rows))
        lat = 52 + np.array([50, 50, 350]) / 111_300
        lon = 10 + np.array([50, 150, 50]) / 68_700
        assert grid.at(lon, lat).tolist() == [10, 20, 30]
        assert grid.cell_m2(0) == 100 * 300

    def test_beside_a_grid_nobody_is_in_any_direction_nor_on_the_other_side_of_the_world_is_it_refused(
        self, tmp_path: Path
    ):
        grid = read(tmp_path, "lat,lon,weight\n-41,174,1\n-41,175,2\n-40,174,3\n-40,175,4\n")
        lon, lat = np.meshgrid([173.0, 174, 175, 176], [-42.0, -41, -40, -39])
        assert grid.at(lon.ravel(), lat.ravel()).reshape(4, 4).tolist() == [
            [0, 0, 0, 0],
            [0, 1, 2, 0],
            [0, 3, 4, 0],
            [0, 0, 0, 0],
        ]

    @pytest.mark.parametrize("places", [(0, 1, 5), (0, 2, 5), (0, 3, 7), (0, 4, 9, 18)])
    def test_a_sparse_grid_has_the_steps_that_its_gaps_are_made_of(self, tmp_path: Path, places: tuple[int, ...]):
        rows = "".join(f"{4_321_000 + 100 * at},{3_210_000 + 100 * at},{at + 1}\n" for at in places)
        grid = read(tmp_path, f"x,y,weight\n{rows}")
        assert (grid.x, grid.y) == (Axis(4_321_000, 100, places[-1] + 1), Axis(3_210_000, 100, places[-1] + 1))

    def test_numbers_may_be_quoted_and_of_two_kinds_of_coordinates_metres_are_taken(self, tmp_path: Path):
        rows = '"51","10","4321050","3210050","7"\n"51","10.1","4321150","3210150","8"\n'
        grid = read(tmp_path, f"lat,lon,x,y,weight\n{rows}")
        assert (grid.metric, grid.x.step, grid.weight.tolist()) == (True, 100, [7, 8])

    def test_two_spellings_of_one_coordinate_are_one(self, tmp_path: Path):
        rows = "4321000,3210000,1\n4321000.4,3210100,2\n4321099.8,3210000.3,3\n4321100,3210100,4\n"
        grid = read(tmp_path, f"x,y,weight\n{rows}")
        assert (grid.x.length, grid.y.length) == (2, 2)
        assert grid.x.step == pytest.approx(100, abs=0.5)
        assert grid.weight.tolist() == [1, 2, 3, 4]

    def test_coordinates_that_were_rounded_are_still_a_grid(self, tmp_path: Path):
        third = 1 / 1200  # 3 seconds of arc, as WorldPop has it
        at = [
            (round(51 + row * third, 6), round(10 + column * third, 6))
            for row in range(3)
            for column in range(0, 900, 7)
        ]
        grid = read(tmp_path, "lat,lon,weight\n" + "".join(f"{lat},{lon},{n + 1}\n" for n, (lat, lon) in enumerate(at)))
        lat, lon = np.array(at).T
        assert grid.at(lon, lat).tolist() == list(range(1, len(at) + 1))
        assert grid.x.step == pytest.approx(7 * third, rel=1e-5)

    @settings(max_examples=50)
    @given(
        st.dictionaries(st.tuples(st.integers(0, 20), st.integers(0, 20)), st.integers(0, 9), min_size=2),
        st.lists(st.tuples(st.integers(-3, 23), st.integers(-3, 23), st.floats(-0.4, 0.4)), min_size=1),
    )
    def test_it_is_what_a_table_says(self, tmp_path_factory, table, asked):
        there = list(table)
        lines = [sorted({at[axis] for at in there}) for axis in (0, 1)]
        if not all(1 in np.diff(each) for each in lines) or not any(table.values()):
            return  # sparse: its cells are taken to be larger, or it is taken for no grid
        folder = tmp_path_factory.mktemp("grid")
        text = "".join(f"{10 + 0.01 * x:.2f},{50 + 0.01 * y:.2f},{table[x, y]}\n" for x, y in there)
        grid = read(folder, "lon,lat,weight\n" + text)
        assert [round(axis.step * 100) for axis in (grid.x, grid.y)] == [1, 1]
        lon, lat = (np.array([base + 0.01 * (each[n] + each[2]) for each in asked]) for n, base in ((0, 10), (1, 50)))
        assert grid.at(lon, lat).tolist() == [table.get((x, y), 0) for x, y, _ in asked]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "lack columns: expected are weight, and lat and lon, or x and y"),
            ("lat,lon,people\n1,1,1\n", "lack columns"),
            ("lat,x,weight\n1,1,1\n", "lack columns"),
            ("lat,lon,weight\n", "are none"),
            ("lat,lon,weight\n51,10,1\n51,11,–\n", "row 2: weight is '–', no number"),
            ("lat,lon,weight\n51,ten,1\n51,11,1\n", "row 1: lon is 'ten', no number"),
            ("lat,lon,weight\n51,10,1\n51,11\n", "row 2: weight is '', no number"),
            ("lat,lon,weight\n51,10,1\n52,11,-99999\n", "row 2: weight is -99999, not 0 or more"),
            ("lat,lon,weight\n51,10,1\n52,11,nan\n", "row 2: weight is nan, not 0 or more"),
            ("lat,lon,weight\n51,10,1\n52,11,inf\n", "row 2: weight is inf, not 0 or more"),
            ("lat,lon,weight\n51,10,1\n91,11,1\n", "row 2: lat is 91, not -90 to 90"),
            ("x,y,weight\n4e6,3e6,1\n-4e6,3e6,1\n", "row 2: x is -4e\\+06, not 0 to 1e\\+07"),
            ("lat,lon,weight\n51,10,0\n52,11,0\n", "every weight is 0"),
            ("lat,lon,weight\n51,10,1\n52,10,1\n", "all have the same lon"),
            ("lat,lon,weight\n51,10,1\n", "all have the same lon"),
            (
                "lat,lon,weight\n51,10,1\n52,11,1\n52,11.37,1\n52,12,1\n52,12.9,1\n52,14.11,1\n52,15.8,1\n",
                "no regular grid: lon is .*own lat and lon",
            ),
            ("lat,lon,weight\n51,10,1\n52,11,1\n51.0,10.0,1\n", "row 3 is of the same cell as row 1"),
        ],
    )
    def test_what_is_no_grid_is_refused_by_row_and_field(self, tmp_path: Path, text: str, said: str):
        with pytest.raises(ThrongError, match=said):
            read(tmp_path, text)


class TestBelief:
    def test_a_grid_is_believed_of_areas_of_enough_cells_of_which_enough_have_anybody(self):
        half = np.repeat([0.0, 1.0], 64)
        people = people_where(100, lambda x, y: x)
        assert people.believed(CELLS * 1e4, half)
        assert not people.believed(CELLS * 1e4 - 1, half)
        few = np.zeros(256)
        few[: 256 * PEOPLED // 32] = 9
        assert people.believed(32e4, few)
        few[0] = 0
        assert not people.believed(32e4, few)

    def test_a_grid_that_is_too_coarse_for_all_zones_is_told_of_and_one_of_nobody_refused(self):
        zones = as_objects([shapely.box(0, 0, 300, 300), shapely.box(300, 0, 900, 300), shapely.Polygon()])
        names, findings = ["a", "b", "covered"], Findings()
        tell_of(zones, people_where(1000, lambda x, y: np.where(x < 300, 1, 0)), names, findings)
        assert findings.counts == {TOO_COARSE: 2}
        with pytest.raises(ThrongError, match="nobody in any zone"):
            tell_of(zones, people_where(1000, lambda x, y: 0 * x), names, Findings())

    def test_a_cell_is_shared_out_by_its_people_and_stands_for_where_most_are(self):
        zones = as_objects([shapely.box(0, 0, 400, 400), shapely.box(400, 0, 1000, 400)])
        cells = as_objects([shapely.box(0, 0, 1000, 400), None, shapely.box(10, 10, 300, 300)])
        west = people_where(10, lambda x, y: np.where(x < 400, 9, 1))
        by_people, by_area = shares_of(cells, zones, west), shares_of(cells, zones)
        assert by_area.share == pytest.approx([0.4, 0.6, 1])
        assert by_people.share == pytest.approx([3600 / 4200, 600 / 4200, 1], abs=0.02)
        assert assigned(by_area, 3)[0].tolist() == [1, NONE, 0]
        assert assigned(by_people, 3)[0].tolist() == [0, NONE, 0]
        # Of a grid as coarse as the cell nothing is believed.
        coarse = shares_of(cells, zones, west._replace(cell_m2=200.0**2))
        assert coarse.share.tolist() == by_area.share.tolist()

    def test_a_part_too_small_for_any_point_keeps_its_share_of_the_area(self):
        zones = as_objects([shapely.box(0, 0, 999.9, 400), shapely.box(999.9, 0, 1500, 400)])
        found = shares_of(as_objects([shapely.box(0, 0, 1000, 400)]), zones, EVENLY)
        assert found.zone.tolist() == [0, 1]
        assert found.share == pytest.approx([0.9999, 0.0001], rel=1e-3)

    @pytest.mark.parametrize("angle", range(0, 90, 9))
    def test_no_cell_has_more_people_in_zones_than_all_of_its_own(self, angle: int):
        whole = shapely.box(-2000, -2000, 2000, 2000)
        west = shapely.affinity.rotate(shapely.box(-9000, -9000, 130, 9000), angle, origin=(0, 0)) & whole
        zones = as_objects([west, whole - west])
        uneven = people_where(20, lambda x, y: np.where((x // 100 + y // 100) % 5 == 0, 100.0, 1.0))
        found = shares_of(as_objects([shapely.Point(20, 10).buffer(400)]), zones, uneven)
        assert found.share.sum() <= 1 + 1e-12
        assert found.share.sum() == pytest.approx(1, abs=0.1)

    def test_who_lives_in_no_zone_is_no_part_of_a_cells_shares(self):
        zones = as_objects([shapely.box(0, 0, 500, 400)])
        outside = people_where(10, lambda x, y: np.where(x > 500, 4, 1))
        found = shares_of(as_objects([shapely.box(0, 0, 1000, 400)]), zones, outside)
        assert found.share == pytest.approx([0.2], abs=0.02)
        assert assigned(found, 1)[0].tolist() == [NONE]

    def test_the_same_everywhere_is_area(self):
        zones = as_objects([shapely.box(0, 0, 400, 400), shapely.Point(700, 200).buffer(190)])
        cells = as_objects([shapely.Point(350, 200).buffer(300), shapely.box(450, 0, 1000, 400)])
        by_area = shares_of(cells, zones)
        found = shares_of(cells, zones, EVENLY)
        assert found.cell.tolist() == by_area.cell.tolist()
        assert found.share == pytest.approx(by_area.share)

    def test_people_far_from_the_border_are_less_counted_by_the_neighbour_and_weigh_in_with_the_whole_step(self):
        zones = as_objects([shapely.box(-500, -200, 400, 200), shapely.box(400, -200, 1500, 200)])
        nothing = np.zeros(2)
        sites = Sites(["a", "b"], ["", ""], ["lte"] * 2, nothing, nothing, nothing * np.nan, nothing, nothing + 500)
        x, number = np.array([0.0, 1000.0]), np.arange(2)
        args = (sites, x, nothing, coverage(sites, x, nothing), zones, number, ["z0", "z1"])
        evenly, same = where_counted(*args), where_counted(*args, EVENLY)
        far = where_counted(*args, people_where(50, lambda x, y: np.where(x > 900, 1, 0)))
        assert [each.step for each in evenly] == [None, None]
        assert [each.step for each in same] == [STEP_BY_GRID, STEP_BY_GRID]
        assert [each.step for each in far] == [None, STEP_BY_GRID], "nobody in the first zone"
        assert far[0] == evenly[0]
        by_first = [{part.zone: part.share for part in each[1].shares}.get("z0", 0) for each in (evenly, same, far)]
        assert by_first[1] == pytest.approx(by_first[0], abs=0.02)
        assert by_first[2] < 0.01 < 0.03 < by_first[0]


CELLS_CSV = "radio,mcc,net,area,cell,lon,lat,range\nLTE,1,1,1,1,9.0099,50.005,600\nLTE,1,1,1,2,9.017,50.005,300\n"


def built(tmp_path: Path, rows: str) -> int:
    geojson(tmp_path / "z.geojson", feature("a", 9.0), feature("b", 9.01), feature("c", 9.5))
    (tmp_path / "cells.csv").write_text(CELLS_CSV)
    (tmp_path / "people.csv").write_text("lon,lat,weight\n" + rows)
    files = [str(tmp_path / name) for name in ("plan.json", "z.geojson", "cells.csv", "people.csv")]
    plan, zones, cells, people = files
    return run(["zones", "build", plan, "--zones", zones, "--cells", cells, "--density", people, "--weighted"])


def rows_of(weight: int, west: float) -> str:
    return "".join(
        f"{west + 0.001 * column:.4f},{50.0005 + 0.001 * row:.4f},{weight}\n"
        for column in range(10)
        for row in range(10)
    )


def test_a_plan_is_built_by_where_people_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert built(tmp_path, rows_of(9, 9.0005) + rows_of(1, 9.0105)) == 0
    said = capsys.readouterr().err
    assert "1 zones of which the density has too few cells" in said
    assert "spread evenly there): c" in said
    plan = load_plan(tmp_path / "plan.json")
    assert [zone.step for zone in plan.zones] == [1, 1, None]
    assert plan.cells[0].zone == "a"
    assert plan.cells[0].share > 0.8
    # Nobody lives in the first zone: the cell in its middle stands for the second.
    assert built(tmp_path, rows_of(1, 9.0105)) == 0
    plan = load_plan(tmp_path / "plan.json")
    assert (plan.version, plan.cells[0].zone) == (2, "b")


def test_a_grid_of_elsewhere_and_a_bad_one_leave_no_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert built(tmp_path, rows_of(1, 19.0)) == 1
    assert "the density has nobody in any zone" in capsys.readouterr().err
    assert built(tmp_path, "9.0,50.0,1\n9.1,50.1,many\n") == 1
    assert "row 2: weight is 'many', no number" in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()


def test_a_towns_census_is_of_as_many_others_and_off_by_its_errors() -> None:
    town = make_town(5, 3000, 20)
    grid = census(town)
    reach = np.arange(-town.layout.half_side + 50.0, town.layout.half_side, 100)
    weight = grid.at(np.stack(np.meshgrid(reach, reach), axis=-1).reshape(-1, 2))
    people, _, _ = populate(town)
    assert weight.sum() == pytest.approx(3000 + (people["work"] != NOWHERE).sum(), rel=0.2)
    assert ((weight == 0) | (weight >= 3)).all()
    assert 0.05 < ERROR < 0.3
    assert grid.at(np.array([[1e6, 0.0]])).tolist() == [0]
