"""Outlooks from released records: which panes are taken, and the command on files."""

from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from schemas.outlook import Outlook
from schemas.plan import Parent, Places, Zone
from schemas.released import Footfall
from schemas.topics import FOOTFALL
from streams.cli.main import run
from streams.core.derived.outlook import Outlooks, Said, words
from streams.core.derived.usual import A_WEEK, AHEAD, QUARTER_MS, Clock, Compared, Forecasts
from streams.core.times import rfc3339
from tests.support.recorded import recorded
from tests.unit.test_derived import SAID, flow
from tests.unit.test_schemas import validator
from tests.unit.test_usual import MONDAY, made

PLACES = Places(
    "the plan", 1, "t", "UTC", (Parent("north", "North"),), (Zone("a", "A", "north"), Zone("b", "B", "north"))
)
THREE = (("a", "zone"), ("b", "zone"), ("north", "parent"))
DAYS = made(2, 2)


def record(zone: str, number: int, people: float | None, level: str = "zone", late_ms: int = 0) -> Footfall:
    end_ms = MONDAY + number * QUARTER_MS + late_ms
    return Footfall(
        schema="footfall/1",
        measure="present",
        level=level,  # type: ignore[arg-type]
        zone=zone,
        suppressed=people is None,
        estimate=people,
        se=None if people is None else 20.0,
        start=rfc3339(end_ms - 300_000),
        end=rfc3339(end_ms),
        **SAID,
    )


def pane(number: int) -> list[Footfall]:
    one, other = (round(float(people), 1) for people in DAYS[number])
    return [record("a", number, one), record("b", number, other), record("north", number, one + other, "parent")]


def taken(outlooks: Outlooks, records: Iterable[Footfall]) -> list[Outlook]:
    return [found for each in records for found in outlooks.take(each)]


@pytest.fixture(scope="module")
def profile() -> bytes:
    """Of one week."""
    outlooks = Outlooks(PLACES)
    assert taken(outlooks, (each for number in range(A_WEEK) for each in pane(number))) == []
    return outlooks.profile()


def test_a_whole_pane_is_told_of_at_once(profile: bytes) -> None:
    outlooks = Outlooks(PLACES, profile)
    records = pane(A_WEEK)
    assert taken(outlooks, records[:2]) == []
    found = taken(outlooks, records[2:])
    assert [(each.level, each.zone) for each in found] == [("zone", "a"), ("zone", "b"), ("parent", "north")]
    assert found[0].usual == pytest.approx(DAYS[0, 0], abs=0.1)
    assert [ahead.minutes for ahead in found[0].forecasts] == [15 * step for step in range(1, 9)]
    assert found[0].forecasts[0].at == rfc3339(MONDAY + (A_WEEK + 1) * QUARTER_MS)
    assert found[0].forecasts[0].mean_error is None
    again = taken(outlooks, pane(A_WEEK + 1))[0].forecasts
    assert again[0].scored == 1 and again[0].covered in (0.0, 1.0)
    assert again[1].mean_error is None


def test_an_outlook_says_each_of_its_numbers_as_it_was_worked_out() -> None:
    nan = np.nan
    compared = Compared(
        np.array([0.4, nan, 812.34]), np.array([3.16, nan, 44.44]), np.array([1.8, 0.0, 2.44]),
        np.array([2.345, nan, -1.5]), np.array([3, 2, 2]),
    )  # fmt: skip
    steps = np.full((AHEAD, 3), nan)

    def ahead(first: float, second: float) -> np.ndarray:
        return np.concatenate([[[first, nan, nan], [second, nan, nan]], steps[2:]])

    columns = ((10.06, 500.04), (20.0, 50.0), (0.6, 0.0), (7.77, nan), (0.6666, nan), (9.99, nan))
    forecasts = Forecasts(*(ahead(*column) for column in columns))
    now, se = np.array([2.5, 7.0, 700.0]), np.array([5.0, 6.0, 31.0])
    clock = Clock(MONDAY, tuple(range(AHEAD + 1)))
    places = [("zone", "a"), ("zone", "b"), ("parent", "north")]
    small, district = words(Said(places, "an end", "a plan", "a purpose", clock, now, se, compared, forecasts))
    assert (small.zone, small.level, small.end, small.plan, small.purpose) == (
        "a",
        "zone",
        "an end",
        "a plan",
        "a purpose",
    )
    assert (small.estimate, small.se, small.usual, small.usual_se) == (2.5, 5.0, 0.4, 3.2)
    assert (small.weeks, small.ratio, small.deviation) == (1.8, 2.5, 2.35), "a ratio is to one at least"
    assert small.congestion == "busier"
    assert (district.zone, district.ratio, district.deviation, district.forecasts) == ("north", 0.86, -1.5, ())
    first, second = small.forecasts
    assert (first.at, second.at) == (rfc3339(MONDAY + QUARTER_MS), rfc3339(MONDAY + 2 * QUARTER_MS))
    assert (first.minutes, second.minutes) == (15, 30)
    assert (first.estimate, first.se, first.low, first.high) == (10.1, 20.0, 0.0, 49.3), "no fewer than nobody"
    assert (second.estimate, second.low, second.high) == (500.0, 402.0, 598.0)
    assert (first.scored, first.mean_error, first.covered, first.mean_error_of_now) == (0.6, 7.8, 0.667, 10.0)
    assert (second.scored, second.mean_error, second.covered, second.mean_error_of_now) == (0.0, None, None, None)


def test_what_comes_twice_or_late_or_between_quarters_is_left_out(profile: bytes) -> None:
    outlooks = Outlooks(PLACES, profile)
    assert taken(outlooks, [record("a", A_WEEK, 900.0, late_ms=300_000)] * 3) == []
    once = taken(outlooks, pane(A_WEEK))
    state = outlooks.profile()
    assert taken(outlooks, [*pane(A_WEEK), *pane(3)]) == [] and list(outlooks.close()) == []
    assert outlooks.profile() == state and len(once) == 3


def test_a_pane_that_is_not_whole_is_taken_when_the_next_begins(profile: bytes) -> None:
    outlooks = Outlooks(PLACES, profile)
    assert taken(outlooks, [*pane(A_WEEK)[:1], record("b", A_WEEK, None)]) == []
    assert [each.zone for each in taken(outlooks, pane(A_WEEK + 1)[:1])] == ["a"]
    assert taken(outlooks, pane(A_WEEK)) == []
    assert [each.zone for each in outlooks.close()] == ["a"]


@pytest.mark.parametrize("change", [{"complete": False}, {"covered": 0.99}])
def test_a_pane_that_is_not_whole_teaches_nothing(profile: bytes, change: dict[str, float]) -> None:
    outlooks = Outlooks(PLACES, profile)
    assert taken(outlooks, [msgspec.structs.replace(each, **change) for each in pane(A_WEEK)]) == []
    later = [msgspec.structs.replace(each, end=rfc3339(MONDAY + 2 * A_WEEK * QUARTER_MS)) for each in pane(A_WEEK)]
    usual = [each.usual for each in taken(Outlooks(PLACES, profile), later)]
    assert [each.usual for each in taken(outlooks, later)] == usual and len(usual) == 3


def test_an_hour_that_comes_twice_tells_of_and_teaches_its_first_time_alone() -> None:
    """Berlin's clocks show 2 to 3 twice, from 00:00Z and from 01:00Z: the second time is no week after the first."""
    night = 1_792_886_400_000  # 2026-10-25T00:00Z
    a_week = A_WEEK + 4  # of this one the quarters

    def told(quarters: Iterable[int], people: float) -> list[tuple[str, float, float]]:
        numbers = ((night - MONDAY) // QUARTER_MS + quarter for quarter in quarters)
        found = taken(outlooks, (record(zone, n, people, level) for n in numbers for zone, level in THREE))
        return [(each.end, each.usual, each.weeks) for each in found if each.zone == "a"]

    outlooks = Outlooks(msgspec.structs.replace(PLACES, timezone="Europe/Berlin"))
    assert told(range(4), 100.0) == told(range(4, 8), 900.0) == told(range(8, 12), 300.0) == []
    at = [rfc3339(night + (a_week + quarter) * QUARTER_MS) for quarter in range(8)]
    usual = [(end, people, 1.0) for end, people in zip(at, [100.0] * 4 + [300.0] * 4, strict=True)]
    assert told(range(a_week, a_week + 8), 500.0) == usual


def test_a_new_plan_keeps_what_is_usual_of_old_places(profile: bytes) -> None:
    anew = msgspec.structs.replace(PLACES, zones=(Zone("c", "C", "north"), PLACES.zones[1]))
    outlooks = Outlooks(anew, profile)
    records = [record("c", A_WEEK, 500.0), *pane(A_WEEK)]
    assert [each.zone for each in taken(outlooks, records)] == ["b", "north"]


def test_the_command_goes_on_from_its_profile(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], profile: bytes
) -> None:
    places, kept, records = tmp_path / "places.json", tmp_path / "usual", tmp_path / "records"
    places.write_bytes(msgspec.json.encode(PLACES))
    command = ["outlook", "--places", str(places), "--profile", str(kept), str(records)]
    first = [flow("a", "b", 100, 20), *(each for number in range(A_WEEK) for each in pane(number))]
    records.write_bytes(b"\n".join(map(msgspec.json.encode, first)))
    assert run(command) == 0
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("no record could be compared: none is both new to the profile")
    records.write_bytes(b"\n".join(map(msgspec.json.encode, [*first, *pane(A_WEEK)])))
    assert run(command) == 0
    lines = [orjson.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["zone"] for line in lines] == ["a", "b", "north"]
    for line in lines:
        validator("outlook").validate(line)
    expected = taken(Outlooks(PLACES, profile), pane(A_WEEK))
    assert lines[0]["forecasts"][3]["estimate"] == pytest.approx(expected[0].forecasts[3].estimate, rel=1e-3)
    assert run(command) == 0 and capsys.readouterr().out == ""
    # The same of a recording, whose partitions hold places that are told at the same times.
    kept.unlink()
    every = [each for number in range(A_WEEK + 1) for each in pane(number)]
    recorded(records, FOOTFALL, [[each for each in every if (each.zone == "a") == first] for first in (True, False)])
    assert run(command) == 0
    assert [orjson.loads(line)["zone"] for line in capsys.readouterr().out.splitlines()] == ["a", "b", "north"]


def test_a_profile_that_is_none_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places, kept = tmp_path / "places.json", tmp_path / "usual"
    places.write_bytes(msgspec.json.encode(PLACES))
    kept.write_bytes(b"something else")
    assert run(["outlook", "--places", str(places), "--profile", str(kept), str(places)]) == 2
    assert "was not written by 'throng outlook'" in capsys.readouterr().err
    assert kept.read_bytes() == b"something else"
    with pytest.raises(ValueError, match="no profile"):
        Outlooks(PLACES, np.arange(3).tobytes())
