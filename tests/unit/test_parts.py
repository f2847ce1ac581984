"""The records of dwell and visits: what is told of each zone and district, and what it says of itself."""

import msgspec
import numpy as np
import orjson
import pytest

from schemas.lengths import BUCKETS, CUT
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.released import FLOWS_SCHEMA
from schemas.topics import DWELL, FLOWS, VISITS
from streams.core.estimates import estimate
from streams.core.estimates.models import models_of
from streams.core.release.budget import sigma
from streams.core.release.release import Draw, next_record, publications, shut_record
from streams.core.release.render import Page
from streams.stores.released import redis_values
from tests.support.world import PLAN, epochs_at
from tests.unit.test_schemas import validator

EPOCH = epochs_at(1_772_420_400_000)[0]
PAGE = Page(PLAN, 0.95)
TRAVEL_TIMES = Measure("travel_times", "travel_times", "parent", 3_600_000, 32, 0.1)
NAMED = {measure.name: measure for measure in (*DEFAULT_MEASURES, TRAVEL_TIMES)}


def drawn(measure: Measure, parts: dict[int, list[int]]):
    """A pane in which the zones have these parts."""
    noisy = np.zeros((6, measure.keys(6, 2) // 6), np.int64)
    for zone, counts in parts.items():
        noisy[zone, : len(counts)] = counts
    draw = Draw(EPOCH, measure, 24, EPOCH.start_ms + 24 * EPOCH.pane_ms, noisy.ravel())
    return next_record(draw, None, None, PAGE, 0, "me")


def begun(measure: Measure, counts: list[int]) -> tuple[float, float]:
    """What is believed of a place with such parts in a first pane, all together: the estimate and its error."""
    level = estimate.begin(np.array(counts), sigma(measure, EPOCH), models_of(measure)).level
    return float(level.mean.sum()), float(level.variance.sum()) ** 0.5


def told(record, level: str = "zone") -> list[dict]:
    return [said for item in publications(record) if (said := orjson.loads(item.value))["level"] == level]


def test_dwell_is_told_by_length_with_all_of_it_and_the_median() -> None:
    record = drawn(NAMED["dwell"], {1: [0, 0, 3000, 2000, 1000, 0, 0, 500], 4: [0, 0, 150]})
    assert {item.topic for item in publications(record)} == {DWELL}
    whole, *parts = [said for said in told(record) if said["zone"] == "z1"]
    assert (whole["noisy"], whole["suppressed"], "bucket" in whole) == (6500, False, False)
    people, error = begun(NAMED["dwell"], [0, 0, 3000, 2000, 1000, 0, 0, 500])
    assert (whole["estimate"], whole["se"]) == (pytest.approx(people, abs=0.1), pytest.approx(error, abs=0.1))
    assert people == pytest.approx(6500, rel=0.01) and error <= sigma(NAMED["dwell"], EPOCH) * len(BUCKETS) ** 0.5
    assert whole["low"] < whole["estimate"] < whole["high"]
    assert 10 <= whole["median_low"] <= whole["median_min"] == 20 <= whole["median_high"] < 60
    assert [(p["bucket"], p.get("from_min"), p.get("to_min"), p["noisy"]) for p in parts] == [
        ("11_20", 10, 20, 3000),
        ("21_60", 20, 60, 2000),
        ("61_120", 60, 120, 1000),
        (BUCKETS[CUT].name, None, None, 500),
    ]


def test_a_place_too_small_speaks_through_its_district() -> None:
    record = drawn(NAMED["dwell"], {0: [0, 0, 0, 5000], 1: [0, 0, 0, 100]})
    whole = {said["zone"]: said for said in told(record) if "bucket" not in said}
    assert whole["z1"]["suppressed"] and whole["z1"]["speaks_through"] == "north"
    assert "noisy" not in whole["z1"] and "median_min" not in whole["z1"]
    assert whole["z4"]["suppressed"] and "speaks_through" not in whole["z4"]
    districts = {(said["zone"], said.get("bucket")): said for said in told(record, "parent")}
    assert districts["north", None]["noisy"] == districts["north", "21_60"]["noisy"] == 5100
    assert districts["south", None]["suppressed"]


def test_visits_are_told_by_number() -> None:
    record = drawn(NAMED["visits"], {3: [4000, 2000, 1000]})
    assert {item.topic for item in publications(record)} == {VISITS}
    whole, *parts = [said for said in told(record) if said["zone"] == "z3"]
    assert whole["noisy"] == 7000 and "median_min" not in whole
    assert [(p["visit"], p["noisy"]) for p in parts] == [("first", 4000), ("second", 2000), ("third_or_more", 1000)]


def test_travel_times_are_told_of_districts_by_band() -> None:
    noisy = np.array([[4000, 3000, 200, 0, 0, 900], [0, 0, 0, 0, 0, 0]], np.int64)
    draw = Draw(EPOCH, TRAVEL_TIMES, 24, EPOCH.start_ms + 24 * EPOCH.pane_ms, noisy.ravel())
    record = next_record(draw, None, None, PAGE, 0, "me")
    assert {item.topic for item in publications(record)} == {FLOWS}
    whole, *bands = [said for said in told(record, "parent") if said["zone"] == "north"]
    assert told(record) == [] and (whole["noisy"], whole["measure"], whole["schema"]) == (
        8100,
        "travel_times",
        FLOWS_SCHEMA,
    )
    assert whole["se"] == pytest.approx(begun(TRAVEL_TIMES, [4000, 3000, 200, 0, 0, 900])[1], abs=0.1)
    assert [(b["band"], b.get("from_min"), b.get("to_min"), b["noisy"]) for b in bands] == [
        ("under_10", 0, 10, 4000),
        ("10_20", 10, 20, 3000),
        ("20_40", 20, 40, 200),
        ("unknown", None, None, 900),
    ]
    assert [said["suppressed"] for said in told(record, "parent") if said["zone"] == "south"] == [True]
    for said in told(record, "parent"):
        validator("flows").validate(said)
    values = redis_values(publications(record), "travel_times")
    assert list(values) == ["released:flows:travel_times"] and len(orjson.loads(*values.values())) == 6


def test_a_lost_pane_of_travel_times_is_told_of_districts_alone() -> None:
    said = [orjson.loads(item.value) for item in publications(shut_record(EPOCH, TRAVEL_TIMES, 12, PAGE, 0, "me"))]
    assert [(each["zone"], each["suppressed"], each["state_lost"]) for each in said] == [
        ("north", True, True),
        ("south", True, True),
    ]


def test_stays_and_passes_stand_apart() -> None:
    record = drawn(NAMED["dwell"], {3: [9000, 8000, 3000, 100, 0, 0, 0, 1000], 4: [4000]})
    whole = {said["zone"]: said for said in told(record) if "bucket" not in said}
    for name, parts in (("passes", [9000, 8000]), ("stays", [3000, 100, 0, 0, 0])):
        people, error = begun(NAMED["dwell"], parts)
        assert whole["z3"][name] == pytest.approx(people, abs=0.1) and people == pytest.approx(sum(parts), rel=0.03)
        assert whole["z3"][f"{name}_se"] == pytest.approx(error, abs=0.1)
    assert whole["z3"]["estimate"] == pytest.approx(
        begun(NAMED["dwell"], [9000, 8000, 3000, 100, 0, 0, 0, 1000])[0], abs=0.1
    )
    assert 10 <= whole["z3"]["median_min"] <= 20
    assert whole["z4"]["passes"] == pytest.approx(4000, rel=0.01) and not {"stays", "median_min"} & whole["z4"].keys()


def test_stays_or_passes_of_fewer_than_k_are_not_told_of_a_place_that_is() -> None:
    """Though they are surely more than none: k is what holds for them as for any number."""
    noisy = np.zeros((6, len(BUCKETS)), np.int64)
    noisy[3, 0], noisy[3, 3], noisy[4, 0], noisy[4, 3] = 1000, 9000, 9000, 1000
    epoch = msgspec.structs.replace(EPOCH, k=2000)
    draw = Draw(epoch, NAMED["dwell"], 24, EPOCH.start_ms + 24 * EPOCH.pane_ms, noisy.ravel())
    found = told(next_record(draw, None, None, PAGE, 0, "me"))
    places = {zone: [said for said in found if said["zone"] == zone] for zone in ("z3", "z4")}
    assert [said.get("bucket") for zone in ("z3", "z4") for said in places[zone]] == [None, "21_60", None, "under_5"]
    (stayed, *_), (passed, *_) = places.values()
    assert "stays" in stayed and not {"passes", "passes_se"} & stayed.keys()
    assert "passes" in passed and not {"stays", "stays_se", "median_min", "median_low"} & passed.keys()


def test_redis_holds_all_records_of_a_place_together() -> None:
    record = drawn(NAMED["visits"], {3: [4000, 2000, 0]})
    values = redis_values(publications(record), "visits")
    places = [*(f"z{number}" for number in range(6)), "north", "south"]
    assert list(values) == [f"released:visits:visits:{place}" for place in places]
    assert [part.get("visit") for part in orjson.loads(values["released:visits:visits:z3"])] == [
        None,
        "first",
        "second",
    ]


@pytest.mark.parametrize("name", ["dwell", "visits"])
def test_a_pane_that_lost_its_state_is_told_to_be_so(name: str) -> None:
    record = shut_record(EPOCH, NAMED[name], 12, PAGE, 0, "me")
    said = [orjson.loads(item.value) for item in publications(record)]
    assert [each["zone"] for each in said] == [*(f"z{n}" for n in range(6)), "north", "south"]
    assert all(each["suppressed"] and each["state_lost"] and not each["complete"] for each in said)
    assert not any("noisy" in each for each in said)
