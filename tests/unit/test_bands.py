"""Flows by distance: bands of what is told, by the middles of places."""

from pathlib import Path

import msgspec
import orjson
import pytest

from schemas.plan import Parent, Places, Zone
from schemas.released import Flow
from schemas.topics import FLOWS
from streams.cli.main import run
from streams.core.derived.bands import ENDS_KM, Band, by_distance, distances, great_circle_km
from tests.support.recorded import recorded
from tests.unit.test_derived import flow, told
from tests.unit.test_schemas import validator

# A thousandth of a degree of latitude is 111.195 m.
ZONES = (("a", "north", 0.0), ("b", "north", 0.009), ("c", "south", 0.03), ("far", "abroad", 1.0))
PLACES = Places(
    *("p", 1, "town", "UTC", tuple(Parent(name, name) for name in ("north", "south", "abroad", "unknown"))),
    (*(Zone(name, name, parent, "", lat, 9.0) for name, parent, lat in ZONES), Zone("lost", "lost", "unknown")),
)


def trips(*told: tuple[str, str, float, float], level: str = "zone") -> list[Flow]:
    return [msgspec.structs.replace(flow(*each), plan="p", level=level) for each in told]


def filled(bands: list[Band]) -> dict[tuple[float | None, float | None], tuple[float, float, int]]:
    return {(b.from_km, b.to_km): (b.estimate, b.se, b.pairs) for b in bands if b.pairs}


def test_trips_are_told_by_how_far_apart_their_places_are() -> None:
    # 1.001, 3.336, 2.335 and 111.2 km
    bands = by_distance(
        trips(("a", "b", 500, 40), ("a", "c", 300, 30), ("b", "c", 100, 40), ("far", "a", 100, 30)), PLACES
    )
    assert [(band.from_km, band.to_km) for band in bands] == list(zip((0, *ENDS_KM), (*ENDS_KM, None), strict=True))
    assert filled(bands) == {(1, 2): (500, 40, 1), (2, 5): (400, pytest.approx(50), 2), (50, None): (100, 30, 1)}
    assert [band.share for band in bands] == [0, 0.5, 0.4, 0, 0, 0, 0.1]


def test_one_pairs_panes_err_alike_and_ends_belong_to_the_longer_band() -> None:
    exactly = great_circle_km((0.0, 9.0), (0.009, 9.0))
    bands = by_distance(trips(("a", "b", 100, 30), ("a", "b", 50, 30), ("b", "a", 50, 80)), PLACES, (exactly,))
    assert filled(bands) == {(exactly, None): (200, pytest.approx(100), 2)}


def test_the_networks_view_goes_through_as_the_noise_does_and_is_known_where_all_have_it() -> None:
    def seen(origin: str, destination: str, view_se: float | None) -> Flow:
        return msgspec.structs.replace(trips((origin, destination, 50, 5))[0], view_se=view_se)

    known = [seen("a", "b", 10.0), seen("a", "b", 20.0), seen("b", "a", 40.0), seen("a", "c", 7.04)]
    by_band = {band.to_km: band for band in by_distance(known, PLACES)}
    assert by_band[2].view_se == pytest.approx(50), "30 of one pair's panes and 40 of another pair"
    assert (by_band[5].view_se, by_band[1].view_se) == (7.04, 0)
    (line,) = distances([*known, seen("far", "a", None)], PLACES)
    assert [band.view_se for band in line.bands] == [0, 50, 7, 0, 0, 0, None], "one record doesn't tell of it"


def test_districts_lie_amid_their_zones_and_a_trip_within_one_is_of_no_distance() -> None:
    told = trips(("north", "south", 200, 10), ("south", "south", 100, 10), level="parent")
    assert filled(by_distance(told, PLACES)) == {(2, 5): (200, 10, 1), (0, 1): (100, 10, 1)}


def test_places_without_a_position_stand_apart() -> None:
    bands = by_distance(trips(("a", "lost", 30, 10), ("lost", "a", 10, 5), ("a", "b", 60, 9)), PLACES)
    assert bands[-1] == (None, None, 40, pytest.approx(125**0.5), 0.4, 2, None)
    within = trips(("unknown", "unknown", 30, 10), level="parent")
    assert filled(by_distance(within, PLACES)) == {(0, 1): (30, 10, 1)}


def test_nothing_told_is_nothing_in_each_band() -> None:
    assert [(band.estimate, band.se, band.share) for band in by_distance([], PLACES)] == [(0, 0, 0)] * 7


def test_the_great_circle_is_that_of_known_cities() -> None:
    berlin, munich = (52.5200, 13.4050), (48.1351, 11.5820)
    assert great_circle_km(berlin, munich) == pytest.approx(504.2, abs=1)
    assert great_circle_km((0.0, 0.0), (0.0, 180.0)) == pytest.approx(20_015, abs=1)
    assert great_circle_km((10.0, 179.9), (10.0, -179.9)) == pytest.approx(21.9, abs=0.1)


def test_flows_of_another_plan_and_bands_that_do_not_rise_are_refused() -> None:
    with pytest.raises(ValueError, match="plan"):
        by_distance([flow("a", "b", 1, 1)], PLACES)
    for ends in ((1.0, 1.0), (0.0,), (3.0, 2.0)):
        with pytest.raises(ValueError, match="rise"):
            by_distance([], PLACES, ends)


def test_each_measure_is_told_by_itself_and_of_one_place_if_asked() -> None:
    flows = trips(("a", "b", 500, 40), ("b", "a", 300, 30), ("c", "b", 100, 40))
    flows.append(msgspec.structs.replace(flows[0], measure="passes", estimate=70.0, start="2026-03-02T05:00:00Z"))
    passes, all_trips = distances(flows, PLACES)
    assert (passes.measure, all_trips.measure, all_trips.flows, passes.bands[1].estimate) == (
        *("passes", "trips_zone", 3, 70.0),
    )
    assert (passes.start, all_trips.end) == ("2026-03-02T05:00:00Z", flows[0].end)
    hours = [msgspec.structs.replace(flow("a", "b", 1, 1, hour), plan="p") for hour in (5, 7, 3)]
    (of_three,) = distances(hours, PLACES)
    assert (of_three.start, of_three.end) == ("1970-01-01T03:00:00Z", "1970-01-01T08:00:00Z"), "in whatever order"
    assert of_three.flows == 3, "records, though all are of one pair"
    (to_b,) = distances(flows[:3], PLACES, destination="b")
    assert [(band.from_km, band.estimate, band.share) for band in to_b.bands if band.pairs] == [
        (1.0, 500.0, 0.8333),
        (2.0, 100.0, 0.1667),
    ]
    assert distances(flows, PLACES, origin="far") == []
    flows[1] = msgspec.structs.replace(flows[1], covered=0.5)
    assert [line.covered for line in distances(flows, PLACES)] == [1.0, 0.5], "what the least whole of them covers"


def test_the_command_refuses_a_place_that_the_plan_does_not_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "places.json").write_bytes(msgspec.json.encode(PLACES))
    (tmp_path / "records").write_bytes(msgspec.json.encode(trips(("a", "b", 500, 40))[0]))
    asked = ["distances", "--places", str(tmp_path / "places.json"), str(tmp_path / "records")]
    for option in ("--origin", "--destination"):
        assert run([*asked, option, "nope"]) == 2
        assert capsys.readouterr().err.endswith(f"{option}: {tmp_path / 'places.json'} has no place 'nope'\n")
        assert run([*asked, option, "north"]) == 0, "nothing went there, but there it is"
        assert capsys.readouterr().err.endswith(
            f"no flow {'from' if option == '--origin' else 'to'} north is told in these records\n"
        )


def test_the_command_tells_how_far_people_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "places.json").write_bytes(msgspec.json.encode(PLACES))
    records = [*trips(("a", "b", 500, 40), ("b", "c", 90, 30)), flow("a", "b", 1, 1), told("present", 1, 5.0, 1.0)]
    (tmp_path / "records").write_bytes(b"\n".join(map(msgspec.json.encode, records)) + b"\n\n")
    asked = ["distances", "--places", str(tmp_path / "places.json"), str(tmp_path / "records")]
    assert run([*asked, "--origin", "a"]) == 0
    out, said = capsys.readouterr()
    (line,) = map(orjson.loads, out.splitlines())
    validator("distances").validate(line)
    assert (line["origin"], line["flows"]) == ("a", 1)
    assert line["bands"][1] == {"from_km": 1, "to_km": 2, "estimate": 500, "se": 40, "share": 1, "pairs": 1}
    assert said == "left out: 1 records of no pair of places, 1 of other plans than p\n"
    recorded(tmp_path / "records", FLOWS, [[records[0], records[3]], [records[1], None, records[2]]])
    assert run([*asked, "--origin", "a"]) == 0
    assert capsys.readouterr() == (out, said)
    recorded(tmp_path / "records", "dwell", [records])
    assert run(asked) == 1
    assert "holds no records of flows: record that topic" in capsys.readouterr().err
    (tmp_path / "records").write_text('{"schema": "flows/1", "destination": "a"}\n')
    assert run(asked) == 2
    assert "line 1 is no released record" in capsys.readouterr().err
