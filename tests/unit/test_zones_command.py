"""`throng zones build` and `show`, on files."""

import xml.etree.ElementTree as Tree
from pathlib import Path

import msgspec
import orjson
import pytest

from schemas.plan import NOWHERE, Correction, Places, Spill
from streams.cli import zones as command
from streams.cli.main import run
from streams.errors import ThrongError
from streams.places import extra
from streams.stores.plans import load_plan
from tests.unit.test_places import feature, geojson
from tests.unit.test_schemas import validator

CELLS = """radio,mcc,net,area,cell,lon,lat,range,azimuth,beam
LTE,1,1,1,1,9.005,50.005,300,,
LTE,1,1,1,2,9.015,50.005,300,90,120
LTE,1,1,1,3,9.2,50.2,300,,
LTE,1,1,1,4,,,,,
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    geojson(tmp_path / "z.geojson", feature("a", 9.0, name="<Market>"), feature("b", 9.01), feature("c", 9.012))
    (tmp_path / "cells.csv").write_text(CELLS)
    return [str(tmp_path / name) for name in ("plan.json", "z.geojson", "cells.csv", "plan.svg")]


def built(files: list[str], *more: str) -> int:
    plan, zones, cells, picture = files
    return run(["zones", "build", plan, "--zones", zones, "--cells", cells, "--picture", picture, *more])


def test_a_plan_is_built_drawn_and_told_of(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert built(files) == 0
    out, told = capsys.readouterr()
    plan = load_plan(Path(files[0]))
    said = orjson.loads(out.splitlines()[-1])
    assert (said["plan"], said["version"], said["zones"], said["cells"], said["nowhere"]) == (plan.hash(), 1, 3, 3, 1)
    assert [cell.zone for cell in plan.cells] == ["a", "c", NOWHERE]
    assert "1 cells without a position: 001-01-0000004" in told
    assert "1 pairs of zones that overlap" in told
    assert "1 zones without a cell" in told
    lines = told.splitlines()
    assert lines[-1].startswith(
        "warning: 1 of 3 zones have no cell: nobody is counted there; they are those with 0 cells in:"
    )
    assert lines[-1].endswith(f"throng zones show {files[0]}") and said["without_cells"] == 1
    assert "1 cells that are mostly in no zone" in told
    drawn = Tree.parse(files[3]).getroot()
    titles = [title.text for title in drawn.iter("{http://www.w3.org/2000/svg}title")]
    assert titles[0].startswith("<Market>: 100% inside")
    assert titles[1].endswith("no cell")


def test_zones_that_all_have_a_cell_are_not_warned_of(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    geojson(Path(files[1]), feature("a", 9.0), feature("b", 9.012))
    assert built(files) == 0
    out, told = capsys.readouterr()
    assert "warning" not in told and orjson.loads(out.splitlines()[-1])["without_cells"] == 0


def test_a_plan_in_which_no_zone_has_a_cell_is_refused_with_a_way_out(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    # Longitude and latitude in each other's column.
    Path(files[2]).write_text(CELLS.replace(",lon,lat,", ",lat,lon,"))
    assert built(files) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no zone has a cell: none of 3 cells is mostly in any of 3 zones" in line
    assert "same region, and 'lon' and 'lat' stand in their columns?" in line
    assert "Or are zones smaller than what cells reach?" in line and "range" not in line
    assert not Path(files[0]).exists()


def test_where_no_zone_has_a_cell_those_without_a_range_are_told_to_reach_far(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path(files[2]).write_text("radio,mcc,net,area,cell,lon,lat\nLTE,1,1,1,1,9.005,50.005\nLTE,1,1,1,2,9.2,50.2\n")
    assert built(files) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "2 cells have no 'range', so they are taken to reach" in line and "far beyond small zones" in line


@pytest.mark.parametrize(("resolution", "share"), [("7", "2 of 3 cells (67%)"), ("4", "")])
def test_cells_that_are_wider_than_the_hexagons_are_warned_of(
    files: list[str], capsys: pytest.CaptureFixture[str], resolution: str, share: str
) -> None:
    Path(files[2]).write_text(CELLS.replace("9.2,50.2,300", "9.2,50.2,3000"))
    assert run(["zones", "build", files[0], "--h3", resolution, "--cells", files[2]]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert any(f"warning: {share} are mostly in no zone" in line for line in told) == bool(share)


def test_a_plan_that_says_the_same_keeps_its_version_and_another_is_the_next(files: list[str]) -> None:
    assert built(files) == 0
    first = Path(files[0]).read_bytes()
    assert built(files) == 0
    assert Path(files[0]).read_bytes() == first
    Path(files[2]).write_text(CELLS.replace("9.2,50.2", "9.006,50.006"))
    assert built(files) == 0
    plan = load_plan(Path(files[0]))
    assert (plan.version, plan.cells[2].zone) == (2, "a")


def test_factors_stay_while_places_and_cells_do_and_are_said_to_be_left_out_else(
    files: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert built(files) == 0
    path = Path(files[0])
    factors = (Correction("present", "a", 1.2, 0.1), Correction("present", "b", 0.9, 0.1))
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(load_plan(path), version=2, calibration=factors)))
    capsys.readouterr()
    assert built(files) == 0
    assert (load_plan(path).version, load_plan(path).calibration) == (2, factors)
    assert "factors of counts" not in capsys.readouterr().err
    Path(files[2]).write_text(CELLS.replace("9.2,50.2", "9.006,50.006"))
    assert built(files) == 0
    assert (load_plan(path).version, load_plan(path).calibration) == (3, ())
    assert "2 factors of counts on site are left out" in capsys.readouterr().err


def test_zones_have_their_areas_and_a_plan_of_before_there_were_any_keeps_its_factors(files: list[str]) -> None:
    assert built(files) == 0
    path, factors = Path(files[0]), (Correction("present", "a", 1.2, 0.1),)
    plan = load_plan(path)
    side = 0.01 * 111_250  # of latitude at 50 degrees
    assert [zone.area_m2 for zone in plan.zones] == pytest.approx(
        [0.645 * side**2, 0.645 * side**2 / 5, 0.645 * side**2], rel=0.01
    ), "what b and c have in common is one's alone"
    bare = tuple(msgspec.structs.replace(zone, area_m2=None) for zone in plan.zones)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(plan, version=2, zones=bare, calibration=factors)))
    assert built(files) == 0
    again = load_plan(path)
    assert (again.version, again.calibration, again.zones) == (3, factors, plan.zones)


def test_what_consumers_may_know_of_a_plan_has_no_cells_and_is_what_its_schema_says(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built(files)
    places = tmp_path / "places.json"
    assert run(["zones", "show", files[0], "--publish", str(places)]) == 0
    assert b"001-01" not in places.read_bytes()
    validator("places").validate(orjson.loads(places.read_bytes()))
    plan = load_plan(Path(files[0]))
    assert msgspec.json.decode(places.read_bytes(), type=Places) == plan.places()
    validator("plan").validate(orjson.loads(Path(files[0]).read_bytes()))
    capsys.readouterr()
    assert run(["zones", "show", files[0], "--zone", "a"]) == 0
    zone = orjson.loads(capsys.readouterr().out)
    assert (zone["inside"], zone["cells"]) == (1.0, ["001-01-0000001"])
    assert 180 < zone["radius_m"] < 230


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--h3", "8"], "either --zones or --h3"), (["--timezone", "Mars"], "--timezone is 'Mars'")],
)
def test_wrong_usage_is_refused_before_anything_is_written(
    files: list[str], capsys: pytest.CaptureFixture[str], more: list[str], said: str
) -> None:
    assert built(files, *more) == 2
    assert said in capsys.readouterr().err
    assert not Path(files[0]).exists()


def test_missing_packages_are_named_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "find_spec", lambda name: None if name == "h3" else object())
    with pytest.raises(ThrongError, match=r"needs h3: pip install 'throng\[places\]'"):
        command.check_installed("throng zones build")


def test_weights_are_built_if_asked_for_and_a_plan_with_wrong_ones_is_refused(files: list[str]) -> None:
    assert built(files) == 0
    before = load_plan(Path(files[0]))
    assert built(files, "--weighted") == 0
    plan = load_plan(Path(files[0]))
    assert (before.weighted, plan.weighted, plan.version) == (False, True, 2)
    assert [zone.id for zone in plan.zones if not zone.counted] == ["b"], "no cell stands for it"
    assert all(0.5 < sum(part.share for part in zone.counted) <= 1.001 for zone in plan.zones if zone.counted)
    for other, share, why in (
        ("x", 0.1, "the unknown zone 'x'"),
        ("", 0.1, "the unknown zone ''"),
        ("a", 1.5, "no shares"),
    ):
        wrong = msgspec.structs.replace(plan.zones[0], counted=(Spill(other, share),))
        kept = msgspec.structs.replace(plan, zones=(wrong, *plan.zones[1:]))
        Path(files[0]).write_bytes(msgspec.json.encode(kept))
        with pytest.raises(ThrongError, match=why):
            load_plan(Path(files[0]))
    for step in (-0.1, 1.1):
        wrong = msgspec.structs.replace(plan.zones[0], step=step)
        kept = msgspec.structs.replace(plan, zones=(wrong, *plan.zones[1:]))
        Path(files[0]).write_bytes(msgspec.json.encode(kept))
        with pytest.raises(ThrongError, match=f"'a' has the step {step}; 0 to 1"):
            load_plan(Path(files[0]))


def test_the_pages_own_example_makes_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "zones.md").read_text(encoding="utf-8")
    places = page.split("```json\n")[1].split("```")[0]
    cells = next(block for block in page.split("```\n") if block.startswith("radio,") and "LTE," in block)
    (tmp_path / "places.geojson").write_text(places)
    (tmp_path / "cells.csv").write_text(cells)
    out, *given = (str(tmp_path / name) for name in ("plan.json", "places.geojson", "cells.csv"))
    for more in ([], ["--weighted"]):
        assert run(["zones", "build", out, "--zones", given[0], "--cells", given[1], *more]) == 0
        said = capsys.readouterr()
        made = orjson.loads(said.out.splitlines()[-1])
        assert (made["zones"], made["without_cells"], made["cells"], made["nowhere"]) == (2, 0, 3, 0) and not said.err
