"""The threshold, the filter, and the records that leave."""

import msgspec
import numpy as np
import orjson
import pytest
import zstandard

from schemas.measures import DEFAULT_MEASURES, Measure
from streams.core.estimates import estimate
from streams.core.estimates.factors import Corrected
from streams.core.estimates.rollup import added
from streams.core.release.release import Draw, State, _state, next_record, publications, shut_record
from streams.core.release.render import Estimates, Page
from streams.stores.released import redis_values
from tests.support.world import PLAN, epochs_at

START = 1_772_420_400_000
EPOCH = epochs_at(START)[0]
PAGE = Page(PLAN, 0.95)
MADE_OF_ARRIVALS = ("arrivals", "footfall", "departures")
PRESENT, ARRIVALS, TRIPS_ZONE, TRIPS_PARENT, COHORT = DEFAULT_MEASURES[:5]


def drawn(measure, noisy, number: int = 12, last=None, present=None, covered: float = 1.0):
    end_ms = EPOCH.start_ms + number * EPOCH.pane_ms
    draw = Draw(EPOCH, measure, number, end_ms, np.array(noisy, np.int64), covered=covered)
    return next_record(draw, last, present, PAGE, 0, "me")


def told(record) -> list[dict]:
    return [orjson.loads(item.value) for item in publications(record)]


def test_what_is_not_surely_at_least_k_has_no_number() -> None:
    records = told(drawn(PRESENT, [1000, 5, 0, 0, 100, -80]))
    by_zone = {record["zone"]: record for record in records}
    assert by_zone["z0"]["noisy"] == 1000 and not by_zone["z0"]["suppressed"]
    for zone in ("z1", "z2", "z3", "z4", "z5"):
        assert by_zone[zone]["suppressed"]
        assert not {"noisy", "estimate", "se", "low", "high"} & by_zone[zone].keys()
    assert by_zone["z1"]["speaks_through"] == "north" == by_zone["north"]["zone"]
    assert "speaks_through" not in by_zone["z4"] and by_zone["south"]["suppressed"]
    assert by_zone["north"]["noisy"] == 1005


def test_exactly_k_is_told_and_less_is_not() -> None:
    mean, certain = np.array([5.0, np.nextafter(5.0, 0)]), Estimates(np.zeros(2, np.int64), np.zeros(2), np.zeros(2))
    assert PAGE.told(certain._replace(mean=mean), 5).tolist() == [True, False]
    # As told and as counted: a factor lifts nobody over k, nor is anybody told whom it lowers below.
    counted = Corrected(mean[::-1], np.zeros(2), np.zeros(2), np.zeros(2), np.ones(2))
    assert not PAGE.told(certain._replace(mean=mean, corrected=counted), 5).any()
    assert PAGE.told(certain._replace(mean=mean, corrected=counted._replace(mean=mean)), 5).tolist() == [True, False]


def test_a_record_says_what_it_covers() -> None:
    record = told(drawn(PRESENT, [1000] * 6, number=14))[0]
    assert record["start"] < record["end"] and record["end"].endswith("Z")
    assert (record["window_s"], record["epsilon"], record["k"], record["covered"]) == (300, 2.0, 5, 1.0)
    assert record["complete"] and record["plan"] == PLAN.hash()
    assert (record["policy"], record["purpose"]) == ("Test", "marketing")
    assert record["low"] < record["estimate"] < record["high"]
    # From when on everyone there has been heard since counting began: after a silence of 13 panes.
    assert [told(drawn(PRESENT, [1000] * 6, number=number))[0]["complete"] for number in (12, 13)] == [False, True]


def test_flows_are_told_by_pair_with_a_summary() -> None:
    noisy = np.zeros(36)
    noisy[1 * 6 + 4] = 5000
    records = told(drawn(TRIPS_ZONE, noisy))
    assert [(r["origin"], r["destination"]) for r in records[:-1]] == [("z1", "z4")]
    assert (records[-1]["published_pairs"], records[-1]["suppressed_pairs"]) == (1, 35)
    districts = told(drawn(TRIPS_PARENT, [0, 4000, 0, 0]))
    assert (districts[0]["origin"], districts[0]["destination"]) == ("north", "south")


HOME = Measure("home", "home", "zone", 3_600_000, 16, 0.05)


@pytest.mark.parametrize("measure", [*DEFAULT_MEASURES, HOME], ids=lambda measure: measure.name)
def test_of_zones_where_nobody_is_counted_nothing_is_said_whatever_the_noise(measure: Measure) -> None:
    epoch, every = msgspec.structs.replace(EPOCH, measures=(*DEFAULT_MEASURES, HOME)), {f"z{n}" for n in range(6)}
    noisy, present = np.full(measure.keys(6, 2), 5000), drawn(PRESENT, [3000] * 6, number=9)
    draw = Draw(epoch, measure, 12, EPOCH.start_ms + 12 * EPOCH.pane_ms, noisy)
    for page, zones in ((PAGE, every), (Page(PLAN, 0.95, excluded=("hospital",)), every - {"z2"})):
        for record in (next_record(draw, None, present, page, 0, "me"), shut_record(epoch, measure, 12, page, 0, "me")):
            records = told(record)
            named = {each[key] for each in records for key in ("zone", "origin", "destination") if key in each}
            assert named & every in (set(), zones) and records
            pairs = [each for each in records if "origin" in each]
            assert records[-1].get("published_pairs", 0) == len(pairs)


def test_a_windows_footfall_is_present_at_its_start_and_arrivals_in_it() -> None:
    present = drawn(PRESENT, [3000] * 6, number=9)
    present = drawn(PRESENT, [5000] * 6, number=12, last=present)
    records = told(drawn(ARRIVALS, [2000] * 6, number=12, present=present))
    footfall = [r for r in records if r["measure"] == "footfall"]
    assert len(footfall) == 6
    there = estimate.unpack_level(_state(present).levels[0]).mean[0]
    came = next(r for r in records if r["measure"] == "arrivals")["estimate"]
    assert footfall[0]["estimate"] == pytest.approx(there + came, abs=0.1)
    assert footfall[0]["estimate"] == pytest.approx(5000, rel=0.01)
    assert footfall[0]["se"] > next(r for r in records if r["measure"] == "arrivals")["se"]


def test_footfall_of_an_hour_finds_who_was_present_at_its_start_twelve_panes_before() -> None:
    hourly, present = msgspec.structs.replace(ARRIVALS, pane_ms=3_600_000), None
    for number in range(1, 25):
        present = drawn(PRESENT, [3000] * 6, number=number, last=present)
    found = told(drawn(hourly, [2000] * 6, number=24, present=present))
    footfall = [record for record in found if record["measure"] == "footfall"]
    assert [record["estimate"] for record in footfall] == [pytest.approx(5000, rel=0.01)] * 6
    departures = [record for record in found if record["measure"] == "departures"]
    assert [record["estimate"] for record in departures] == [pytest.approx(2000, rel=0.01)] * 6


def test_noise_below_zero_of_people_present_takes_nobody_off_who_arrived() -> None:
    present = drawn(PRESENT, [-400] * 6, number=12, last=drawn(PRESENT, [-400] * 6, number=9))
    assert all(estimate.unpack_level(level).mean[0] < -1 for level in _state(present).levels)
    arrivals = told(drawn(ARRIVALS, [2000] * 6, number=12, present=present))
    came, footfall, gone = (next(r for r in arrivals if r["measure"] == name) for name in MADE_OF_ARRIVALS)
    assert (footfall["estimate"], gone["estimate"]) == (came["estimate"], came["estimate"])


@pytest.mark.parametrize(
    ("at_start", "arrived", "at_end", "said"),
    [(0.5, 1.0, 1.0, (1.0, 0.5, 0.5)), (1.0, 0.75, 1.0, (0.75, 0.75, 0.75)), (1.0, 1.0, 0.25, (1.0, 1.0, 0.25))],
)
def test_what_is_made_of_several_panes_covers_what_the_least_whole_of_them_does(
    at_start, arrived, at_end, said
) -> None:
    present = drawn(PRESENT, [3000] * 6, number=9, covered=at_start)
    present = drawn(PRESENT, [3000] * 6, number=12, last=present, covered=at_end)
    assert {record["covered"] for record in told(present)} == {at_end}
    arrivals = drawn(ARRIVALS, [2000] * 6, number=12, present=present, covered=arrived)
    found = {name: {r["covered"] for r in told(arrivals) if r["measure"] == name} for name in MADE_OF_ARRIVALS}
    assert found == {name: {share} for name, share in zip(MADE_OF_ARRIVALS, said, strict=True)}


def test_what_was_not_whole_is_remembered_as_long_as_its_pane() -> None:
    last = None
    for number in range(1, 20):
        last = drawn(PRESENT, [3000] * 6, number=number, last=last, covered=0.5 if number == 4 else 1.0)
        state = _state(last)
        assert state is not None
        of_four = EPOCH.start_ms + 4 * EPOCH.pane_ms
        assert state.covered == ({of_four: 0.5} if of_four in state.ends_ms else {})
    assert last is not None and of_four not in state.ends_ms


def test_a_state_of_before_any_could_be_less_than_whole_is_read() -> None:
    state = msgspec.to_builtins(_state(drawn(PRESENT, [3000] * 6)), builtin_types=(bytes,))
    del state["covered"]
    assert msgspec.convert(state, State).covered == {}


def test_where_nobody_counts_people_present_no_window_is_said_to_be_lost() -> None:
    """Of rules of which people present were never a part, or are not any more."""
    alone = msgspec.structs.replace(EPOCH, epoch=EPOCH.epoch + 1, measures=(ARRIVALS,))
    draw = Draw(alone, ARRIVALS, 12, EPOCH.start_ms + 12 * EPOCH.pane_ms, np.array([2000] * 6, np.int64))
    for present in (None, drawn(PRESENT, [3000] * 6)):
        records = told(next_record(draw, None, present, PAGE, 0, "me"))
        assert {record["measure"] for record in records} == {"arrivals"}
    withdrawn = shut_record(EPOCH, PRESENT, 12, PAGE, 0, "me")
    now = draw._replace(epoch=msgspec.structs.replace(EPOCH, measures=(ARRIVALS,)))
    records = told(next_record(now, None, msgspec.structs.replace(withdrawn, reason="policy"), PAGE, 0, "me"))
    assert not any(record.get("state_lost") for record in records)
    assert {record["measure"] for record in records} == {"arrivals", "footfall", "departures"}


def test_departures_are_what_was_there_and_came_and_is_not_there_any_more() -> None:
    present = drawn(PRESENT, [3000] * 6, number=9)
    present = drawn(PRESENT, [4000] * 6, number=12, last=present)
    before, shown = (estimate.unpack_level(level).mean[0] for level in _state(present).levels)
    arrivals = drawn(ARRIVALS, [2000] * 6, number=12, present=present)
    departures = [r for r in told(arrivals) if r["measure"] == "departures"]
    assert len(departures) == 6
    came, footfall = (next(r for r in told(arrivals) if r["measure"] == name) for name in ("arrivals", "footfall"))
    assert departures[0]["estimate"] == pytest.approx(before + came["estimate"] - shown, abs=0.2)
    assert departures[0]["se"] > footfall["se"]
    assert "released:footfall:departures:z0" in redis_values(publications(arrivals), "arrivals")


def test_cohorts_are_told_by_age_band_and_gender() -> None:
    noisy = np.zeros(6 * 28)
    noisy[3 * 28 + 9] = 3000
    record = drawn(COHORT, noisy)
    assert [(r["zone"], r["age_band"], r["gender"]) for r in told(record)] == [("z3", "25-34", "female")]
    assert list(redis_values(publications(record), "present_cohort")) == [
        "released:footfall:present_cohort:z3:25-34:female"
    ]


def test_the_filter_goes_on_from_the_ledger_and_begins_anew_with_an_epoch() -> None:
    first = drawn(PRESENT, [1000] * 6, number=1)
    second = drawn(PRESENT, [2000] * 6, number=2, last=first)
    assert 1000 < told(second)[0]["estimate"] < 2000
    other = msgspec.structs.replace(EPOCH, epoch=20260303)
    anew = next_record(Draw(other, PRESENT, 1, EPOCH.end_ms + 300_000, np.full(6, 2000)), second, None, PAGE, 0, "me")
    assert told(anew)[0]["estimate"] == pytest.approx(2000, rel=0.01)
    first = next_record(Draw(other, PRESENT, 1, EPOCH.end_ms + 300_000, np.full(6, 2000)), None, None, PAGE, 0, "me")
    assert (anew.state, anew.publish) == (first.state, first.publish)


def test_what_is_told_of_a_district_is_the_sum_of_its_zones_while_a_tide_lifts_them() -> None:
    record = None
    for number in range(1, 13):
        record = drawn(PRESENT, [400 + 15 * number + zone for zone in range(6)], number=number, last=record)
        said = {each["zone"]: each for each in told(record)}
        for district, zones in (("north", PAGE.parent_of == 0), ("south", PAGE.parent_of == 1)):
            own = [said[PAGE.zones[zone]] for zone in np.flatnonzero(zones)]
            assert said[district]["estimate"] == pytest.approx(sum(each["estimate"] for each in own), abs=0.3)
            assert said[district]["noisy"] == sum(each["noisy"] for each in own)
    kept = estimate.unpack_level(_state(record).levels[-1])
    assert said["z0"]["estimate"] == pytest.approx(kept.mean[0], abs=0.05)
    alone = added(estimate.unpack(_state(record).belief).level.mean, PAGE.parent_of, 2)
    assert said["south"]["estimate"] > alone[1] + 1


def test_a_ledger_of_before_districts_were_followed_is_gone_on_with() -> None:
    first = drawn(PRESENT, [1000] * 6, number=1)
    without = msgspec.structs.replace(_state(first), districts=b"")
    old = msgspec.structs.replace(first, state=zstandard.compress(msgspec.msgpack.encode(without)))
    said = {each["zone"]: each for each in told(drawn(PRESENT, [2000] * 6, number=2, last=old))}
    assert said["north"]["estimate"] == pytest.approx(sum(said[f"z{zone}"]["estimate"] for zone in range(3)), abs=0.3)


def test_passes_are_flows_under_their_own_name_and_a_lost_pane_of_them_is_a_summary() -> None:
    passes = Measure("passes", "passes", "parent", 3_600_000, 48, 0.1)
    flow, summary = told(drawn(passes, [10, 4000, 0, 0], number=12))
    assert (flow["measure"], flow["origin"], flow["destination"], flow["noisy"]) == ("passes", "north", "south", 4000)
    assert (summary["published_pairs"], summary["suppressed_pairs"]) == (1, 3)
    (lost,) = told(shut_record(EPOCH, passes, 12, PAGE, 0, "me"))
    assert (lost["measure"], lost["state_lost"], lost["suppressed_pairs"]) == ("passes", True, 4)
    large = msgspec.structs.replace(passes, level="zone")
    assert large.keys_from_data(317, 20) and not large.keys_from_data(316, 20)
