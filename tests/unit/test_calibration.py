"""Factors from counts on site: the laws of what is found, how records tell of it, and the command."""

import csv
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.cohorts import COHORTS
from schemas.lengths import BUCKETS
from schemas.measures import DEFAULT_MEASURES
from schemas.plan import Correction, Hours, Plan, Spill
from streams.cli.main import run
from streams.cli.released import calibratable
from streams.core.calibration import calibration
from streams.core.calibration.calibration import (
    ALIKE,
    BY_ITSELF,
    LEAST,
    MOST,
    PARTS_OF_DAY,
    SPREAD,
    Erring,
    Evidence,
    Told,
    by_part_of_day,
    found,
    odd,
    told_from,
)
from streams.core.calibration.evidence import OnSite, Paired, Pairing
from streams.core.estimates.factors import Factors, correction_of, factors_of, hour_of, key_of, place_numbers
from streams.core.estimates.view import View
from streams.core.release.release import Draw, next_record, publications
from streams.core.release.render import Page
from streams.core.times import rfc3339
from streams.errors import ThrongError
from streams.stores.plans import load_plan
from tests.support.world import PLAN, epochs_at
from tests.unit.test_schemas import validator

EPOCH = epochs_at(1_772_420_400_000)[0]
NAMED = {measure.name: measure for measure in DEFAULT_MEASURES}
HOUR_MS = 3_600_000
ONE = np.zeros(1, np.int64)
SURELY = Told(40.0, 20.0)


def of_one(on_site: list[float], noisy: list[float], se: float, told: list[bool] | None = None) -> Evidence:
    """Panes of one place."""
    panes = len(on_site)
    return Evidence(
        np.zeros(panes, np.int64),
        np.array(on_site, np.float64),
        np.array(told or [True] * panes, np.bool_),
        np.array(noisy, np.float64),
        np.full(panes, float(se)),
        np.full(panes, 12),
    )


counts = st.lists(st.floats(500, 5000), min_size=2, max_size=12)
shares = st.floats(0.3, 3.0)


@given(st.integers(1, 4))
def test_without_evidence_there_is_no_factor(keys: int) -> None:
    of = found(of_one([], [], 20), np.zeros(keys, np.int64), SURELY, 0.05)
    assert of.factor.tolist() == [1.0] * keys
    assert not of.panes.any() and not of.se.any()


@given(counts, shares)
def test_of_exact_evidence_the_factor_is_the_ratio(on_site: list[float], share: float) -> None:
    of = found(of_one(on_site, [share * each for each in on_site], 1e-3), ONE, SURELY, 0.0)
    assert of.factor[0] == pytest.approx(1 / share, rel=1e-4)
    assert of.se[0] < 1e-4
    assert (of.panes[0], of.told[0]) == (len(on_site), len(on_site))


@given(counts, shares, st.floats(5, 500))
def test_thin_evidence_stays_between_none_and_the_ratio_and_errors_never_grow(
    on_site: list[float], share: float, se: float
) -> None:
    noisy = [share * each for each in on_site]
    of, more = (found(of_one(on_site * times, noisy * times, se), ONE, SURELY, 0.05) for times in (1, 4))
    for each in (of, more):
        low, high = sorted((1.0, 1 / share))
        assert low - 1e-6 <= each.factor[0] <= high + 1e-6
    assert abs(more.factor[0] - 1 / share) <= abs(of.factor[0] - 1 / share) + 1e-6
    assert more.se[0] * share <= of.se[0] * max(share, 1.0) / of.factor[0] + SPREAD


@given(counts, shares, st.floats(5, 100), st.floats(0.1, 10))
def test_the_unit_of_counting_does_not_matter(on_site: list[float], share: float, se: float, unit: float) -> None:
    noisy = [share * each for each in on_site]
    one = found(of_one(on_site, noisy, se), ONE, SURELY, 0.05)
    told = Told(SURELY.least * unit, SURELY.se * unit)
    other = found(of_one([unit * n for n in on_site], [unit * n for n in noisy], se * unit), ONE, told, 0.05)
    assert other.factor[0] == pytest.approx(one.factor[0], rel=1e-6)
    assert other.se[0] == pytest.approx(one.se[0], rel=1e-6)


@settings(max_examples=30)
@given(st.floats(1e-6, 1e6), st.booleans())
def test_no_factor_is_beyond_the_bounds(ratio: float, told: bool) -> None:
    of = found(of_one([1e4] * 3, [ratio * 1e4] * 3, 1.0, [True, True, told]), ONE, SURELY, 0.0)
    assert LEAST <= of.factor[0] <= MOST
    assert np.isfinite(of.se[0])


def test_a_place_that_was_told_once_has_no_factor_nor_one_with_few_people() -> None:
    assert not found(of_one([900, 900], [500, 0], 20, [True, False]), ONE, SURELY, 0.05).panes.any()
    assert not found(of_one([39, 39, 39], [59, 59, 59], 20), ONE, SURELY, 0.05).panes.any()


@given(counts, shares)
def test_panes_that_err_alike_are_worth_less_than_as_many_that_do_not(on_site: list[float], share: float) -> None:
    evidence = of_one(on_site, [share * each for each in on_site], 100)
    of, alike = (found(evidence, ONE, SURELY, 0.0, Erring(worth, 0.0)) for worth in (1.0, 0.05))
    assert alike.se[0] * of.factor[0] ** 2 >= of.se[0] * alike.factor[0] ** 2
    assert abs(alike.factor[0] - 1) <= abs(of.factor[0] - 1) + 1e-9
    twenty = of_one(on_site * 20, [share * each for each in on_site * 20], 100)
    assert found(twenty, ONE, SURELY, 0.0, Erring(0.05, 0.0)).factor[0] == pytest.approx(of.factor[0], rel=1e-4)


@given(counts, shares)
def test_what_counters_err_by_is_each_panes_own_even_where_estimates_err_alike(
    on_site: list[float], share: float
) -> None:
    """So a place that is told exactly has the factor, and the error, of as many counts as were made there."""
    evidence = of_one(on_site, [share * each for each in on_site], 1e-3)
    of, alike = (found(evidence, ONE, SURELY, 0.05, Erring(worth, 0.0)) for worth in (1.0, 0.05))
    assert alike.factor[0] == pytest.approx(of.factor[0], rel=1e-6)
    assert alike.se[0] == pytest.approx(of.se[0], rel=1e-6)


def test_a_factor_errs_as_a_places_borders_are_seen() -> None:
    of = [found(of_one([people] * 40, [people] * 40, 1e-3), ONE, SURELY, 0.0, ALIKE) for people in (5e3, 2e4)]
    assert of[0].se[0] == pytest.approx(np.sqrt(ALIKE.a_head / (ALIKE.worth * 40 * 5e3)), rel=0.05)
    assert of[1].se[0] == pytest.approx(of[0].se[0] / 2, rel=0.05), "the more people, the less"


def test_of_estimates_a_places_full_hours_say_more_than_half_empty_ones() -> None:
    on_site = [5000.0] * 20 + [1000.0] * 20
    evidence = of_one(on_site, [5000.0] * 20 + [1100.0] * 20, 30)
    assert 1 / found(evidence, ONE, SURELY, 0.05, ALIKE).factor[0] == pytest.approx(6100 / 6000, abs=0.005)


def test_panes_withheld_say_that_fewer_were_counted() -> None:
    told = of_one([120] * 3, [90] * 3, 20)
    some = of_one([120] * 6, [90] * 6, 20, [True] * 3 + [False] * 3)
    assert found(some, ONE, Told(70, 20), 0.05).factor[0] > found(told, ONE, Told(70, 20), 0.05).factor[0] * 1.1


def many(share: np.ndarray, on_site: np.ndarray, panes: int = 24, se: float = 40.0) -> tuple[Evidence, Told]:
    """Panes of places, those below what can be told withheld."""
    noisy = np.random.default_rng(1).normal(share * on_site, se, (panes, len(share)))
    told = Told(20 + 1.645 * se, se)
    evidence = Evidence(
        np.tile(np.arange(len(share)), panes),
        np.tile(on_site, panes),
        (noisy >= told.least).ravel(),
        noisy.ravel(),
        np.full(noisy.size, se),
        np.full(noisy.size, 12),
    )
    return evidence, told


@pytest.mark.parametrize("share", [0.5, 1.0, 1.6])
def test_withholding_small_numbers_does_not_bias_the_factors(share: float) -> None:
    """Told ones alone would be 10 to 30 % too many, as noise has made them large."""
    evidence, told = many(np.full(400, share), np.random.default_rng(2).uniform(60, 300, 400))
    of = found(evidence, np.zeros(400, np.int64), told, 0.0)
    assert (of.panes > 0).sum() > 100
    assert np.median(of.factor[of.panes > 0]) * share == pytest.approx(1, abs=0.04)


def test_shares_are_within_the_errors_stated_as_often_as_they_should() -> None:
    rng = np.random.default_rng(3)
    share = np.clip(rng.normal(1, 0.3, 1000), 0.3, 2)
    evidence, told = many(share, rng.uniform(100, 1000, 1000), panes=6)
    of = found(evidence, np.zeros(1000, np.int64), told, 0.0)
    has = of.panes > 0
    off = (1 / of.factor - share)[has] / (of.se / of.factor**2)[has]
    assert has.sum() > 900
    assert np.mean(np.abs(off) < 1.96) == pytest.approx(0.95, abs=0.015)


def by_hours(share: np.ndarray, on_site: np.ndarray, days: int = 2, se: float = 40.0, seed: int = 1) -> tuple:
    """Of places the found factors of the day and of its parts. `share`: f64[24 hours, places]."""
    hours, places = share.shape
    noisy = np.random.default_rng(seed).normal(share * on_site, se, (days, hours, places))
    surely = Told(20 + 1.645 * se, se)
    evidence = Evidence(
        np.tile(np.arange(places), days * hours),
        np.tile(on_site, days * hours),
        (noisy >= surely.least).ravel(),
        noisy.ravel(),
        np.full(noisy.size, se),
        np.tile(np.repeat(np.arange(hours), places), days),
    )
    of = found(evidence, np.zeros(places, np.int64), surely, 0.0)
    return of, by_part_of_day(evidence, of, surely, 0.0, BY_ITSELF)


IN_PART = [[hour for hour in range(24) if (hour - begin) % 24 < (end - begin) % 24] for begin, end in PARTS_OF_DAY]


def test_the_parts_of_the_day_are_all_of_it_once() -> None:
    assert sorted(hour for part in IN_PART for hour in part) == list(range(24))


def test_parts_of_the_day_have_their_own_factors_where_places_differ_by_the_hour() -> None:
    rng = np.random.default_rng(5)
    share = np.empty((24, 50))
    for part in IN_PART:
        share[part] = np.clip(rng.normal(0.8, 0.15, 50), 0.4, 1.3)
    of_day = by_hours(share, np.full(50, 2000.0))[1]
    for part, hours in enumerate(IN_PART):
        assert of_day.factor[part] == pytest.approx(1 / share[hours[0]], rel=0.05)
    assert np.ptp(of_day.factor, axis=0).max() > 0.3
    assert (of_day.se < 0.05).all()


def test_where_a_place_is_seen_alike_all_day_its_parts_hardly_differ_from_the_whole() -> None:
    """A part has less evidence than the day: by itself it would err more, and drawn to the day it does not."""
    share = np.tile(np.random.default_rng(6).uniform(0.5, 1.5, 200), (24, 1))
    of, of_day = by_hours(share, np.full(200, 150.0))
    has = of.panes > 0
    apart = np.abs(of_day.factor / of.factor - 1)[:, has]
    assert np.median(apart) < 0.01 and apart.max() < 0.1
    assert (of_day.se[:, has] >= of.se[has] * 0.9).all(), "and they are no better known"


def test_the_shares_of_parts_are_within_the_errors_stated() -> None:
    rng = np.random.default_rng(7)
    share = np.empty((24, 400))
    day = np.clip(rng.normal(1, 0.2, 400), 0.5, 1.8)
    for part in IN_PART:
        share[part] = day * rng.normal(1, 0.08, 400)
    of, of_day = by_hours(share, rng.uniform(150, 800, 400))
    off = np.concatenate(
        [
            ((1 / of_day.factor[part] - share[hours[0]]) / (of_day.se[part] / of_day.factor[part] ** 2))[of.panes > 0]
            for part, hours in enumerate(IN_PART)
        ]
    )
    assert np.mean(np.abs(off) < 1.96) == pytest.approx(0.95, abs=0.025)


def test_a_part_of_the_day_that_nobody_counted_has_the_factor_of_the_day_and_is_less_sure() -> None:
    evidence = of_one([900.0] * 20, [450.0] * 20, 20)
    of = found(evidence, ONE, SURELY, 0.05)
    of_day = by_part_of_day(evidence, of, SURELY, 0.05, BY_ITSELF)
    counted = next(part for part, hours in enumerate(IN_PART) if evidence.hour[0] in hours)
    others = [part for part in range(len(IN_PART)) if part != counted]
    assert of_day.factor[:, 0] == pytest.approx(of.factor[0], rel=0.02)
    assert (of_day.factor[others, 0] == of.factor[0]).all()
    assert (of_day.se[others, 0] > of_day.se[counted, 0]).all()


def test_what_is_told_says_from_how_many_people_on_it_is() -> None:
    estimates = np.array([20 + 1.645 * 40, 200.0, 300.0])
    assert told_from(20, estimates, np.full(3, 40.0)) == pytest.approx((20 + 1.645 * 40, 40.0))
    with pytest.raises(ValueError):
        told_from(20, np.empty(0), np.empty(0))


def test_the_hazard_is_right_far_out() -> None:
    assert calibration._hazard(np.array([0.0, 3.0])) == pytest.approx([0.797885, 0.004438], rel=1e-3)
    around = calibration._hazard(np.array([-12.0 + 1e-9, -12.0 - 1e-9, -50.0]))
    assert around == pytest.approx([12.0822, 12.0822, 50.01998], rel=1e-5)


def test_odd_factors_are_named_and_panes_that_contradict_each_other() -> None:
    group = np.zeros(7, np.int64)
    factor = np.array([1.0, 1.1, 0.95, 1.05, 1.0, 2.5, 4.0])
    of = calibration.Found(factor, factor / 20, np.full(7, 5.0), np.full(7, 5.0), np.array([1.0] * 6 + [30.0]))
    beyond, apart = odd(of, group)
    assert np.flatnonzero(beyond).tolist() == [5, 6]
    assert np.flatnonzero(apart).tolist() == [6]
    few = calibration.Found(*(column[3:6] for column in of))
    assert not odd(few, group[:3])[0].any(), "three places are too few to say which is odd"


CALIBRATED = msgspec.structs.replace(
    PLAN,
    calibration=(
        Correction("dwell", "z1", 2.0, 0.1, part="under_5"),
        Correction("dwell", "z4", 0.5, 0.05, part="under_5"),
        Correction("trips_zone", "z1", 1.5, 0.1, destination="z4"),
        Correction("trips_parent", "north", 1.2, 0.1, destination="south"),
        Correction("visits", "z1", 1.25, 0.1, part="first"),
        Correction("dwell", "z1", 2.0, 0.1, part="a_week"),
        Correction("present", "z1", 2.0, 0.1),
        Correction("present", "north", 2.0, 0.1),
        Correction("no_such_measure", "z1", 2.0, 0.1),
    ),
)
VIEWS = {"dwell": View(0.4, 2.0, 0.1, 1.0), "trips_zone": View(0.2)}


def record_of(plan: Plan, name: str, noisy: np.ndarray, views=None, number: int = 24, last=None, present=None):
    end_ms = EPOCH.start_ms + number * EPOCH.pane_ms
    return next_record(
        Draw(msgspec.structs.replace(EPOCH, plan=plan.hash()), NAMED[name], number, end_ms, noisy),
        last,
        present,
        Page(plan, 0.95, views),
        0,
        "me",
    )


def told(plan: Plan, name: str, noisy: np.ndarray, views=None, number: int = 24) -> list[dict]:
    return [orjson.loads(item.value) for item in publications(record_of(plan, name, noisy, views, number))]


def pairs_of(name: str, noisy: np.ndarray) -> list[tuple[dict, dict]]:
    """Records without and with factors, side by side."""
    return list(zip(told(PLAN, name, noisy, VIEWS), told(CALIBRATED, name, noisy, VIEWS), strict=True))


def plain(record: dict) -> dict:
    return {name: value for name, value in record.items() if name != "plan"}


def test_a_flows_estimate_is_multiplied_and_its_record_says_so() -> None:
    for before, after in pairs_of("trips_zone", np.full(36, 5000)):
        validator("flows").validate(after)
        if (after.get("origin"), after.get("destination")) != ("z1", "z4"):
            assert plain(before) == plain(after)
            continue
        assert after["calibrated"] is True and "calibrated" not in before
        assert after["noisy"] == before["noisy"]
        for name in ("estimate", "se", "low", "high"):
            assert after[name] == pytest.approx(1.5 * before[name], abs=0.2)
        people = before["estimate"]
        assert after["view_se"] == pytest.approx(np.hypot(0.2 * 1.5 * people, 0.1 * people), rel=1e-3)
    district = [after for _, after in pairs_of("trips_parent", np.full(4, 5000)) if after.get("calibrated")]
    assert [(each["origin"], each["destination"]) for each in district] == [("north", "south")]


def test_dwells_parts_are_multiplied_and_their_sums_and_medians_follow() -> None:
    noisy = np.full((6, len(BUCKETS)), 3000)
    pairs = pairs_of("dwell", noisy.ravel())
    by = {(after["level"], after["zone"], after.get("bucket")): (before, after) for before, after in pairs}
    before, after = by["zone", "z1", "under_5"]
    validator("dwell").validate(after)
    assert (after["estimate"], after["se"]) == pytest.approx((2 * before["estimate"], 2 * before["se"]), abs=0.2)
    own = np.hypot(0.1 * 2 * before["estimate"], np.sqrt(2 * before["estimate"]))
    assert after["view_se"] == pytest.approx(np.hypot(own, 0.1 * before["estimate"]), rel=1e-3)
    gained = after["estimate"] - before["estimate"]
    for key in (("zone", "z1", None), ("parent", "north", None), ("parent", "north", "under_5")):
        sum_before, sum_after = by[key]
        assert sum_after["estimate"] == pytest.approx(sum_before["estimate"] + gained, abs=0.5)
        assert sum_after["se"] > sum_before["se"] and sum_after["calibrated"] is True
    zone_before, zone_after = by["zone", "z1", None]
    assert zone_after["passes"] == pytest.approx(zone_before["passes"] + gained, abs=0.2)
    assert (zone_after["stays"], zone_after["median_min"]) == (zone_before["stays"], zone_before["median_min"])
    assert plain(by["zone", "z0", None][0]) == plain(by["zone", "z0", None][1])
    assert plain(by["zone", "z1", "11_20"][0]) == plain(by["zone", "z1", "11_20"][1])


def test_no_factor_helps_a_place_over_k_and_one_below_1_holds_it_back() -> None:
    noisy = np.zeros((6, len(BUCKETS)), np.int64)

    def zones_told(plan: Plan, people: int) -> set[str]:
        noisy[[0, 1, 4], 0] = people
        said = told(plan, "dwell", noisy.ravel())
        return {each["zone"] for each in said if each["level"] == "zone" and each.get("bucket") == "under_5"}

    least = next(people for people in range(100, 1000) if zones_told(PLAN, people))
    assert zones_told(PLAN, least) == {"z0", "z1", "z4"}
    assert zones_told(CALIBRATED, least - 1) == set(), "twice what is withheld stays withheld"
    assert zones_told(CALIBRATED, least) == {"z0", "z1"}, "half of what is just told is not"
    assert zones_told(CALIBRATED, 2 * least) == {"z0", "z1", "z4"}


def test_without_factors_nothing_is_changed_and_a_plan_keeps_its_hash() -> None:
    assert PLAN.hash() == msgspec.structs.replace(PLAN, calibration=()).hash() != CALIBRATED.hash()
    assert factors_of(CALIBRATED, NAMED["present"]).key.tolist() == [1], "districts are sums of their zones"
    assert factors_of(CALIBRATED, NAMED["present_cohort"]).key.tolist() == list(range(COHORTS, 2 * COHORTS))
    assert factors_of(CALIBRATED, NAMED["dwell"]).key.tolist() == [8, 32]
    noisy = np.full(6, 5000)
    before, after = (record_of(plan, "present", noisy) for plan in (PLAN, CALIBRATED))
    assert before.state == after.state
    assert record_of(PLAN, "dwell", np.full(48, 900)).state == record_of(CALIBRATED, "dwell", np.full(48, 900)).state


BY_HOURS = msgspec.structs.replace(
    PLAN,
    calibration=(
        Correction("present", "z1", 2.0, 0.1, hours=(Hours(22, 4, 1.5, 0.2), Hours(4, 9, 1.2, 0.05))),
        Correction("present", "z2", 1.1, 0.1),
        Correction("dwell", "z0", 2.0, 0.1, part="under_5", hours=(Hours(5, 6, 0.5, 0.02),)),
    ),
)


def test_a_factor_may_be_another_one_at_some_hours() -> None:
    of = factors_of(BY_HOURS, NAMED["present"])
    assert [of.at(hour).factor.tolist() for hour in (23, 0, 3)] == [[1.5, 1.1]] * 3
    assert [of.at(hour).factor.tolist() for hour in (4, 8)] == [[1.2, 1.1]] * 2
    assert [of.at(hour).factor.tolist() for hour in (9, 21)] == [[2.0, 1.1]] * 2, "at all others that of the day"
    assert (of.at(4).se.tolist(), of.at(9).se.tolist()) == ([0.05, 0.1], [0.1, 0.1])
    assert factors_of(BY_HOURS, NAMED["present_cohort"]).at(3).factor.tolist() == [1.5] * COHORTS + [1.1] * COHORTS
    plain_ = factors_of(CALIBRATED, NAMED["dwell"])
    assert all(plain_.at(hour).factor.tolist() == [2.0, 0.5] for hour in range(24))


def test_a_day_of_one_span_is_all_hours() -> None:
    whole = Correction("dwell", "z0", 2.0, 0.1, part="under_5", hours=(Hours(4, 4, 3.0, 0.1),))
    of = factors_of(msgspec.structs.replace(PLAN, calibration=(whole,)), NAMED["dwell"])
    assert {of.at(hour).factor[0] for hour in range(24)} == {3.0}


def test_a_plan_of_before_there_were_hours_is_read_as_ever() -> None:
    before = msgspec.structs.replace(PLAN, calibration=(Correction("dwell", "z1", 2.0, 0.1, part="under_5"),))
    said = msgspec.to_builtins(before)
    for each in said["calibration"]:
        del each["hours"], each["foretold"]
    assert msgspec.convert(said, Plan) == before
    assert before.hash() == "0c90281630cbc9b18cfd0d4ffcec8752"
    other = msgspec.structs.replace(before.calibration[0], hours=(Hours(4, 9, 1.0, 0.1),))
    assert msgspec.structs.replace(before, calibration=(other,)).hash() != before.hash()


def test_records_have_the_factor_of_the_local_hour_of_their_panes_middle() -> None:
    """The epoch begins at 04:00 in Berlin; 60 panes of 5 minutes later it is 09:00."""

    def factor(name: str, zone: str, part: str | None, number: int) -> float:
        keys = 6 * (1 if part is None else len(BUCKETS))
        said = told(BY_HOURS, name, np.full(keys, 9000), number=number)
        one = next(each for each in said if each["zone"] == zone and each.get("bucket") == part)
        assert one["calibrated"]
        return round(one["estimate"] / 9000, 1)

    present = [factor("present", "z1", None, number) for number in (1, 60, 61, 216, 217, 288)]
    assert present == [1.2, 1.2, 2.0, 2.0, 1.5, 1.5], "the pane that ends at 09:00 is of before"
    assert [factor("dwell", "z0", "under_5", 12 * hour) for hour in (1, 2, 3)] == [2.0, 0.5, 2.0]


def test_those_at_the_end_are_those_at_the_start_and_who_came_less_who_left_where_factors_turn() -> None:
    """Of a quarter of an hour that begins where another factor does: all of it has the one it has at its middle."""
    start = record_of(BY_HOURS, "present", np.full(6, 4000), number=60)
    end = record_of(BY_HOURS, "present", np.full(6, 4500), number=63, last=start)
    arrivals = record_of(BY_HOURS, "arrivals", np.full(6, 2000), number=63, present=end)
    said = [orjson.loads(item.value) for record in (end, arrivals) for item in publications(record)]
    by = {each["measure"]: each["estimate"] for each in said if each["zone"] == "z1"}
    assert by["footfall"] - by["departures"] == pytest.approx(by["present"], abs=0.3)


def test_what_a_factor_does_is_known_of_each_estimate_and_nothing_errs_by_fewer_than_nobody() -> None:
    factors = Factors(np.array([1, 3]), np.array([2.0, 0.5]), np.array([0.1, 0.05]))
    mean, se, of = factors.put_on(np.array([30.0, 40.0, -10.0]), np.array([5.0, 6.0, 7.0]), np.array([0, 1, 3]))
    assert (mean.tolist(), se.tolist()) == ([30, 80, -5], [5, 12, 3.5])
    assert (of.mean.tolist(), of.se.tolist()) == ([30, 40, -10], [5, 6, 7]), "as counted"
    assert of.off == pytest.approx([0, 4, 0])
    assert (of.people.tolist(), of.times.tolist()) == ([0, 80, 0], [0, 1, 1])


def test_a_sum_gains_what_its_keys_gain_and_errs_by_as_much_more_as_they_do_apart() -> None:
    factors = Factors(np.array([0, 1, 2]), np.array([2.0, 3.0, 1.5]), np.array([0.3, 0.1, 0.2]))

    def in_pairs(values: np.ndarray) -> np.ndarray:
        return values.reshape(-1, 2).sum(axis=1)

    keys_se, sums_se = np.array([3.0, 4.0, 5.0, 0.0, 0.0, 0.0]), np.array([4.0, 4.5, 6.0])
    mean, sums = np.array([10.0, 40.0, 20.0, 5.0, 0.0, 9.0]), np.array([52.0, 22.0, 9.0])
    told_ = factors.put_on_sums(mean, keys_se, sums, sums_se, in_pairs)
    assert told_.mean == pytest.approx([52 + 10 + 80, 22 + 10, 9])
    assert told_.se == pytest.approx([4 * np.hypot(2 * 3, 3 * 4) / 5, 4.5 * 1.5, 6])
    assert (told_.corrected.mean.tolist(), told_.corrected.se.tolist()) == (sums.tolist(), sums_se.tolist())
    assert told_.corrected.off == pytest.approx([np.hypot(0.3 * 10, 0.1 * 40), 0.2 * 20, 0])
    assert told_.corrected.people.tolist() == [140, 30, 0]
    assert told_.corrected.times.tolist() == [2, 1, 0]
    alone = factors.put_on(mean, keys_se, np.arange(6))[2].summed(in_pairs)
    assert alone.mean.tolist() == [50, 25, 9]
    assert alone.se == pytest.approx([5, 5, 0])


def test_a_pane_that_begins_amid_an_hour_has_the_factor_of_the_hour_of_its_middle() -> None:
    """In Kolkata, half an hour off: 03:00 to 04:00 in UTC is 08:30 to 09:30."""
    four = 1_772_424_000_000
    assert hour_of(HOUR_MS, four, "Asia/Kolkata") == 9
    assert hour_of(HOUR_MS, four, "UTC") == 3


def test_a_factor_of_what_the_measure_does_not_count_is_none() -> None:
    dwell, trips = NAMED["dwell"], NAMED["trips_zone"]
    places = place_numbers(PLAN, dwell)
    said = (
        (dwell, Correction("dwell", "z1", 1.0, 0.1, "", "5_10", True, (Hours(4, 9, 1.0, 0.1),)), 9),
        (dwell, Correction("dwell", "z1", 1.0, 0.1, destination="z2", part="5_10"), None),
        (dwell, Correction("dwell", "z1", 1.0, 0.1), None),
        (trips, Correction("trips_zone", "z1", 1.0, 0.1, "z2", "", True, (Hours(4, 9, 1.0, 0.1),)), 8),
        (trips, Correction("trips_zone", "z1", 1.0, 0.1), None),
        (trips, Correction("trips_zone", "z1", 1.0, 0.1, destination="z9"), None),
        (trips, Correction("trips_zone", "z1", 1.0, 0.1, destination="z2", part="5_10"), None),
    )
    for measure, correction, key in said:
        assert key_of(measure, places, correction) == key
        if key is not None:
            assert correction_of(PLAN, measure, key, 1.0, 0.1, correction.foretold, correction.hours) == correction
    for statistic in ("travel_times", "passes", "home"):
        other = msgspec.structs.replace(dwell, name=statistic, statistic=statistic)
        plan = msgspec.structs.replace(PLAN, calibration=(Correction(statistic, "z1", 2.0, 0.1),))
        assert factors_of(plan, other) is None, "no count on site can be of it"


def test_the_belief_goes_on_as_counted_and_keys_from_data_take_their_own_factors() -> None:
    draw = Draw(EPOCH, NAMED["trips_zone"], 24, EPOCH.start_ms + 24 * EPOCH.pane_ms, np.array([3000, 3000]))
    occurring = draw._replace(keys=np.array([1 * 6 + 4, 1 * 6 + 5], np.uint32))
    said = [
        orjson.loads(item.value)
        for item in publications(next_record(occurring, None, None, Page(CALIBRATED, 0.95), 0, "me"))
    ]
    assert [each.get("estimate") for each in said] == [4500.0, 3000.0, None]


def test_of_people_all_that_is_told_of_a_zone_has_its_factor_and_districts_are_their_sums() -> None:
    """Present, by cohort, arrivals, footfall and departures; and those at the end are those at the start and who came,
    less who left."""
    noisy = {
        "present": np.array([4000, 3000, 3000, 3000, 3000, 3000]),
        "present_cohort": np.full(6 * COHORTS, 3000),
        "arrivals": np.array([2000, 2500, 2000, 2000, 2000, 2000]),
    }
    said = {}
    for plan in (PLAN, CALIBRATED):
        start = record_of(plan, "present", noisy["present"], number=9)
        end = record_of(plan, "present", noisy["present"] + 500, number=12, last=start)
        records = [
            end,
            record_of(plan, "present_cohort", noisy["present_cohort"], number=12),
            record_of(plan, "arrivals", noisy["arrivals"], number=12, present=end),
        ]
        told_ = [orjson.loads(item.value) for record in records for item in publications(record)]
        said[plan] = {(each["measure"], each["zone"], each.get("age_band"), each.get("gender")): each for each in told_}
        at_start = [orjson.loads(item.value) for item in publications(start)]
        said[plan]["start"] = {each["zone"]: each for each in at_start}
    before, after = said[PLAN], said[CALIBRATED]
    assert before.keys() == after.keys()
    for key in before.keys() - {"start"}:
        place = key[1]
        validator("footfall").validate(after[key])
        factor = {"z1": 2.0, "north": None}.get(place, 1.0)
        assert after[key].get("calibrated", False) == (factor != 1.0), key
        assert after[key]["noisy"] == before[key]["noisy"]
        for name in ("estimate", "se", "low", "high"):
            if factor is not None:
                assert after[key][name] == pytest.approx(factor * before[key][name], abs=0.2), (key, name)
    people = {name: after[name, "z1", None, None]["estimate"] for name in ("present", "footfall", "departures")}
    assert people["footfall"] - people["departures"] == pytest.approx(people["present"], abs=0.3)
    start, arrived = after["start"]["z1"]["estimate"], after["arrivals", "z1", None, None]["estimate"]
    assert people["footfall"] == pytest.approx(start + arrived, abs=0.3)
    parts = {
        name: (before["present", name, None, None], after["present", name, None, None]) for name in ("z1", "north")
    }
    gained = parts["z1"][1]["estimate"] - parts["z1"][0]["estimate"]
    assert parts["north"][1]["estimate"] == pytest.approx(parts["north"][0]["estimate"] + gained, abs=0.3)
    in_north = [zone.id for zone in PLAN.zones if zone.parent == "north"]
    together = sum(after["present", zone, None, None]["estimate"] for zone in in_north)
    assert parts["north"][1]["estimate"] == pytest.approx(together, abs=0.5)
    assert parts["north"][0]["se"] < parts["north"][1]["se"] < 2 * parts["north"][0]["se"]


def test_a_factor_is_put_on_what_the_plan_has_weighted() -> None:
    counted = tuple(msgspec.structs.replace(zone, counted=(Spill(zone.id, 1.0),)) for zone in PLAN.zones)
    weighted, both = (msgspec.structs.replace(plan, zones=counted) for plan in (PLAN, CALIBRATED))
    for name, keys, factor in (("visits", 18, 1.25), ("trips_parent", 4, 1.2), ("present", 6, 2.0)):
        before, after = (told(plan, name, np.full(keys, 5000)) for plan in (weighted, both))
        changed = [(one, other) for one, other in zip(before, after, strict=True) if plain(one) != plain(other)]
        one, other = max(changed, key=lambda pair: pair[1]["estimate"] / pair[0]["estimate"])
        assert other["weighted"] and other["calibrated"] and other["noisy"] == one["noisy"]
        assert other["estimate"] == pytest.approx(factor * one["estimate"], abs=0.2)
    assert any(each.get("calibrated") for each in told(both, "dwell", np.full(48, 5000)))


# Counts on site beside what was released.


def counted(name: str, place: str, people: float, *, to: str = "", part: str = "", number: int = 24) -> OnSite:
    end_ms = EPOCH.start_ms + number * EPOCH.pane_ms
    return OnSite(name, place, to, part, end_ms - NAMED[name].pane_ms, end_ms, people)


def paired(name: str, plan: Plan, on_site: list[OnSite], records: list[dict]) -> Paired:
    pairing = Pairing(NAMED[name], plan, on_site)
    for record in calibratable(BytesIO(b"\n".join(map(orjson.dumps, records)))):
        if record is not None:
            pairing.take(record)
    return pairing.paired()


def test_what_was_told_withheld_and_not_known_stand_apart_and_numbers_are_as_counted() -> None:
    noisy = np.zeros((6, len(BUCKETS)), np.int64)
    noisy[0, 1], noisy[1, 0], noisy[4, 0] = 3000, 4000, 900
    on_site = [
        counted("dwell", "z0", 3100, part="5_10"),
        counted("dwell", "z1", 7900, part="under_5"),
        counted("dwell", "z2", 30, part="over_240"),
        counted("dwell", "z1", 7900, part="under_5", number=36),
    ]
    as_counted = [each for each in told(PLAN, "dwell", noisy.ravel()) if each["level"] == "zone" and "bucket" in each]
    estimates, se = np.array([(each["estimate"], each["se"]) for each in as_counted if not each["suppressed"]]).T
    assert len(estimates) == 3, "one of which nobody counted on site"
    of = paired("dwell", CALIBRATED, on_site, told(CALIBRATED, "dwell", noisy.ravel()))
    assert of.evidence.key.tolist() == [1, 8, 22]
    assert of.evidence.on_site.tolist() == [3100, 7900, 30]
    assert (of.evidence.told.tolist(), of.unknown) == ([True, True, False], 1)
    assert of.evidence.noisy.tolist() == [3000, 4000, 0]
    assert of.evidence.se[:2] == pytest.approx(se[:2], rel=0.01)
    assert of.evidence.se[2] > 0
    assert of.erring == BY_ITSELF
    k = as_counted[0]["k"]
    assert of.told == pytest.approx(told_from(k, estimates, se), rel=0.01)
    nobody = paired("dwell", CALIBRATED, on_site, told(CALIBRATED, "dwell", 0 * noisy.ravel()))
    assert nobody.told is None
    assert nobody.evidence.told.tolist() == [False] * 3


def test_the_highest_k_of_the_records_is_the_one_that_holds() -> None:
    noisy = np.full(6 * len(BUCKETS), 3000)
    records = told(PLAN, "dwell", noisy)
    tighter = [
        each | {"k": 500} | ({"se": 2 * each["se"]} if "se" in each else {})
        for each in told(PLAN, "dwell", noisy, number=36)
    ]
    on_site = [counted("dwell", "z0", 3100, part="5_10")]
    one, other = (paired("dwell", PLAN, on_site, each).told for each in (tighter + records, records + tighter))
    of = [each["estimate"] for each in records + tighter if each.get("bucket") and each["level"] == "zone"]
    se = [each["se"] for each in records + tighter if each.get("bucket") and each["level"] == "zone"]
    assert one == other == pytest.approx(told_from(500, np.array(of), np.array(se)), rel=1e-6)


def test_a_pair_without_a_record_was_withheld_where_the_panes_summary_is_there() -> None:
    noisy = np.zeros(36, np.int64)
    noisy[1 * 6 + 4], noisy[4 * 6 + 1] = 3000, 900
    on_site = [counted("trips_zone", "z1", 4500, to="z4"), counted("trips_zone", "z2", 20, to="z3")]
    records = told(CALIBRATED, "trips_zone", noisy)
    of = paired("trips_zone", CALIBRATED, on_site, records)
    assert (of.evidence.key.tolist(), of.evidence.told.tolist(), of.unknown) == ([10, 15], [True, False], 0)
    assert of.evidence.noisy.tolist() == [3000, 0]
    pairs = [each for each in records if "destination" in each]
    by_time = [each | {"band": "10_20", "noisy": 7} for each in pairs]
    assert paired("trips_zone", CALIBRATED, on_site, records + by_time).evidence.noisy.tolist() == [3000, 0]
    alone = paired("trips_zone", CALIBRATED, on_site, pairs)
    assert (alone.evidence.key.tolist(), alone.unknown) == ([10], 1)


def test_estimates_are_held_against_counts_of_people_present_and_of_what_is_weighted() -> None:
    shares = tuple(msgspec.structs.replace(zone, counted=(Spill(zone.id, 0.8),)) for zone in PLAN.zones)
    weighted = msgspec.structs.replace(PLAN, zones=shares)
    for name, part, plan, erring in (
        ("present", "", PLAN, ALIKE),
        ("visits", "first", weighted, ALIKE),
        ("visits", "first", PLAN, BY_ITSELF),
        ("dwell", "5_10", weighted, BY_ITSELF),
    ):
        keys = NAMED[name].keys(6, 2)
        noisy = np.where(np.arange(keys) < keys // 2, 3000, 0)
        on_site = [counted(name, "z0", 3100, part=part), counted(name, "z5", 9, part=part)]
        records = told(plan, name, noisy)
        of = paired(name, plan, on_site, records)
        names = ("zone", "z0", part or None)
        said = next(each for each in records if names == (each["level"], each["zone"], of_part(each)))
        assert of.erring == erring
        assert of.evidence.told.tolist() == [True, False], "the other is withheld"
        assert of.evidence.noisy[0] == pytest.approx(said["estimate" if erring == ALIKE else "noisy"])
        other = [each | {"measure": "another"} for each in records]
        assert paired(name, plan, on_site, other).unknown == 2, "of another measure nothing is known by it"


def of_part(record: dict) -> str | None:
    return record.get("bucket") or record.get("visit")


# The command, on a day of three zones.


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """Of everybody under 5 minutes in z0 half is counted, in z1 all, in z3 a third from time to time."""
    paths = {name: tmp_path / name for name in ("counts.csv", "released.ndjson", "plan.json", "next.json")}
    rng = np.random.default_rng(3)
    lines, rows = [], []
    for hour in range(2, 12):
        noisy = np.zeros((6, len(BUCKETS)), np.int64)
        people = {"z0": 900 + 50 * hour, "z1": 2000, "z3": 60}
        for zone, share in (("z0", 0.5), ("z1", 1.0), ("z3", 0.3)):
            noisy[int(zone[1]), 0] = round(people[zone] * share + rng.normal(0, 60))
        lines += [item.value for item in publications(record_of(PLAN, "dwell", noisy.ravel(), number=12 * hour))]
        trips = np.zeros(36, np.int64)
        trips[4] = 700
        lines += [item.value for item in publications(record_of(PLAN, "trips_zone", trips, number=12 * hour))]
        end_ms = EPOCH.start_ms + 12 * hour * EPOCH.pane_ms
        for zone, there in people.items():
            rows.append(("dwell", zone, "", "under_5", rfc3339(end_ms - HOUR_MS), rfc3339(end_ms), there))
        rows.append(("trips_zone", "z0", "z4", "", rfc3339(end_ms - HOUR_MS), rfc3339(end_ms), 1000))
    paths["released.ndjson"].write_bytes(b"\n".join(lines) + b"\n")
    paths["plan.json"].write_bytes(msgspec.json.encode(PLAN))
    write(paths["counts.csv"], rows)
    return paths


COLUMNS = ("measure", "place", "destination", "part", "start", "end", "people")


def write(path: Path, rows: list[tuple]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def calibrate(files: dict[str, Path], *more: str) -> int:
    options = {"--on-site": "counts.csv", "--released": "released.ndjson", "--plan": "plan.json", "--to": "next.json"}
    return run(["calibrate", *(part for name, file in options.items() for part in (name, str(files[file]))), *more])


def test_the_command_writes_the_next_plan_with_the_factors_it_found(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(files) == 0
    out, _ = capsys.readouterr()
    plan = load_plan(files["next.json"])
    said = orjson.loads(out.splitlines()[-1])
    assert said == {"plan": plan.hash(), "version": 2, "counts": 40, "factors": 3, "foretold": 0}
    assert "under_5" in out and "trips_zone" in out and "…" not in out
    factors = {(each.measure, each.place): each for each in plan.calibration}
    assert set(factors) == {("dwell", "z0"), ("dwell", "z1"), ("trips_zone", "z0")}, "z3 was never told"
    assert factors["dwell", "z0"].factor == pytest.approx(2.0, abs=0.15)
    assert factors["dwell", "z1"].factor == pytest.approx(1.0, abs=0.05)
    assert factors["trips_zone", "z0"].factor == pytest.approx(1 / 0.7, abs=0.1)
    assert 0 < factors["dwell", "z0"].se < 0.2
    assert msgspec.structs.replace(plan, version=1, calibration=()) == PLAN
    validator("plan").validate(orjson.loads(files["next.json"].read_bytes()))
    noisy = np.zeros((6, len(BUCKETS)), np.int64)
    noisy[0, 0] = 5000
    record = next(each for each in told(plan, "dwell", noisy.ravel()) if each.get("bucket") == "under_5")
    assert record["calibrated"] is True and record["plan"] == plan.hash()
    assert record["estimate"] == pytest.approx(5000 * factors["dwell", "z0"].factor, rel=0.01)


def test_what_was_released_with_factors_gives_the_same_ones(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert calibrate(files) == 0
    first = load_plan(files["next.json"])
    again = []
    for line in files["released.ndjson"].read_bytes().splitlines():
        record = orjson.loads(line) | {"plan": first.hash()}
        key = next(
            (f for f in first.calibration if record.get("zone") == f.place and record.get("bucket") == f.part), None
        )
        if key is not None:
            record |= {name: record[name] * key.factor for name in ("estimate", "se")}
        again.append(orjson.dumps(record))
    files["released.ndjson"].write_bytes(b"\n".join(again))
    files["plan.json"].write_bytes(files["next.json"].read_bytes())
    assert calibrate(files) == 0
    second = load_plan(files["next.json"])
    assert (second.version, len(second.calibration)) == (3, len(first.calibration))
    for one, other in zip(first.calibration, second.calibration, strict=True):
        assert (one.place, one.part) == (other.place, other.part)
        assert other.factor == pytest.approx(one.factor, rel=0.01)
    capsys.readouterr()


def test_the_command_finds_factors_by_the_hour_and_finds_them_again_of_what_was_released_with_them(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of z0 half is counted until 09:00 and nine in ten from then on; of z1 all is."""
    rows: list[tuple] = []

    def release(plan: Plan) -> None:
        lines, rng = [], np.random.default_rng(8)
        rows.clear()
        for hour in range(1, 14):
            noisy = np.zeros((6, len(BUCKETS)), np.int64)
            for zone, share in (("z0", 0.5 if hour <= 5 else 0.9), ("z1", 1.0)):
                noisy[int(zone[1]), 0] = round(6000 * share + rng.normal(0, 60))
                end_ms = EPOCH.start_ms + 12 * hour * EPOCH.pane_ms
                rows.append(("dwell", zone, "", "under_5", rfc3339(end_ms - HOUR_MS), rfc3339(end_ms), 6000))
            lines += [item.value for item in publications(record_of(plan, "dwell", noisy.ravel(), number=12 * hour))]
        files["released.ndjson"].write_bytes(b"\n".join(line for line in lines))
        files["plan.json"].write_bytes(msgspec.json.encode(plan))
        write(files["counts.csv"], rows)

    release(PLAN)
    assert calibrate(files) == 0
    first = load_plan(files["next.json"])
    z0, z1 = first.calibration
    assert [(each.from_hour, each.to_hour) for each in z0.hours] == list(PARTS_OF_DAY)
    assert [each.factor for each in z0.hours[:2]] == pytest.approx([2.0, 1 / 0.9], rel=0.04)
    assert 1 / 0.9 < z0.factor < 2.0
    assert [each.factor for each in z1.hours] == pytest.approx([1.0] * 3, abs=0.03)
    noisy = np.zeros((6, len(BUCKETS)), np.int64)
    noisy[0, 0] = 3000
    for hour, factor in ((5, z0.hours[0].factor), (6, z0.hours[1].factor)):
        said = told(first, "dwell", noisy.ravel(), number=12 * hour)
        one = next(each for each in said if each.get("bucket") == "under_5")
        assert one["estimate"] == pytest.approx(3000 * factor, rel=0.001)
    release(first)
    assert calibrate(files) == 0
    again = load_plan(files["next.json"])
    assert (again.version, len(again.calibration)) == (3, 2)
    for one, other in zip(first.calibration, again.calibration, strict=True):
        factors = [[of.factor, *(each.factor for each in of.hours)] for of in (one, other)]
        assert factors[0] == pytest.approx(factors[1], rel=0.005)
    capsys.readouterr()


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ((Hours(4, 9, 9.0, 0.1),), "has the factor 9 with the error 0.1: 0.25 to 4 are possible"),
        ((Hours(4, 24, 1.0, 0.1),), "has hours that a day has not: 0 to 23 are possible"),
        ((Hours(4, 9, 1.0, 0.1), Hours(20, 5, 1.0, 0.1)), "has an hour twice"),
    ],
)
def test_a_plan_whose_hours_can_not_be_is_refused(tmp_path: Path, hours: tuple[Hours, ...], said: str) -> None:
    wrong = Correction("present", "z1", 1.0, 0.1, hours=hours)
    path = tmp_path / "plan.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(PLAN, calibration=(wrong,))))
    with pytest.raises(ThrongError, match=f"the calibration of 'present' at 'z1' {said}"):
        load_plan(path)


def test_people_present_are_held_against_estimates_and_districts_say_nothing(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Of those in z0 a half is counted and of those in z1 all; a day of five minutes is worth some hours."""
    lines, rows, last = [], [], None
    rng = np.random.default_rng(4)
    for number in range(1, 289):
        noisy = np.array([1500, 3000, 0, 0, 0, 0]) + np.rint(rng.normal(0, 79, 6)).astype(np.int64)
        last = record_of(PLAN, "present", noisy, number=number, last=last)
        lines += [item.value for item in publications(last)]
        end_ms = EPOCH.start_ms + number * EPOCH.pane_ms
        for zone in ("z0", "z1"):
            rows.append(("present", zone, "", "", rfc3339(end_ms - EPOCH.pane_ms), rfc3339(end_ms), 3000))
    files["released.ndjson"].write_bytes(b"\n".join(lines))
    write(files["counts.csv"], rows)
    assert calibrate(files) == 0
    capsys.readouterr()
    factors = {each.place: each for each in load_plan(files["next.json"]).calibration}
    assert factors["z0"].factor == pytest.approx(2.0, abs=0.1)
    assert factors["z1"].factor == pytest.approx(1.0, abs=0.02)
    assert 0.002 < factors["z1"].se < 0.05, "no pane errs by itself"


def test_records_of_another_plan_or_of_incomplete_panes_are_no_evidence(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [orjson.loads(line) for line in files["released.ndjson"].read_bytes().splitlines()]
    for change in ({"plan": "another"}, {"complete": False}, {"state_lost": True}, {"covered": 0.9}):
        files["released.ndjson"].write_bytes(b"\n".join(orjson.dumps(each | change) for each in lines))
        assert calibrate(files) == 1
        assert (
            f"of 40 counts 0 are of released panes, and the records must be of that time, whole, under {PLAN.hash()}"
            in capsys.readouterr().err
        )
    assert not files["next.json"].exists()
    whole = [each for each in lines if each.get("bucket") is not None]
    files["released.ndjson"].write_bytes(b"\n".join(orjson.dumps(each) for each in whole))
    assert calibrate(files) == 0
    assert "20 counts are of panes that the records don't tell of" in capsys.readouterr().err, "without the places' own"


GOOD = ("dwell", "z0", "", "under_5", "2026-03-02T08:00+01:00", "2026-03-02T09:00+01:00", "5")


@pytest.mark.parametrize(
    ("field", "said", "expected"),
    [
        ("measure", "dwel", "one that factors are for: dwell, present, trips_parent, trips_zone, visits"),
        ("measure", "arrivals", "one that factors are for"),
        ("place", "z9", "a zone of the plan, by its id"),
        ("destination", "z1", "nothing: it is for flows"),
        ("part", "", "one of under_5, 5_10, 11_20, 21_60, 61_120, 121_240, over_240"),
        ("part", "cut", "one of under_5"),
        ("start", "2026-03-02T08:00", "a time with an offset, such as 2026-03-02T08:00+01:00"),
        ("end", "2026-03-02T08:30+01:00", "60 minutes after start, as long as a pane of dwell"),
        ("people", "-1", "a number, 0 or more"),
        ("people", "many", "a number, 0 or more"),
        ("people", "nan", "a number, 0 or more"),
    ],
)
def test_a_wrong_count_is_refused_by_row_field_and_what_was_expected(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], field: str, said: str, expected: str
) -> None:
    wrong = tuple(said if name == field else value for name, value in zip(COLUMNS, GOOD, strict=True))
    write(files["counts.csv"], [GOOD, wrong])
    assert calibrate(files) == 2
    error = capsys.readouterr().err
    assert f"row 3: {field} is {said!r}, expected {expected}" in error


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_counts_of_a_spreadsheet_count_the_same(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], delimiter: str
) -> None:
    assert calibrate(files) == 0
    plain = capsys.readouterr().out
    text = files["counts.csv"].read_text().replace(",", delimiter) + f"{delimiter * 6}\n"
    files["counts.csv"].write_text(text, encoding="utf-8-sig")
    files["next.json"].unlink()
    assert calibrate(files) == 0
    assert capsys.readouterr().out == plain
    files["counts.csv"].write_text(f"{text}{delimiter.join(GOOD[:-1])}{delimiter}5,5\n", encoding="utf-8-sig")
    assert calibrate(files) == 2
    assert f"row {text.count(chr(10)) + 1}: people is '5,5', expected a number, 0 or more" in capsys.readouterr().err


def test_the_plan_that_was_counted_by_is_not_written_over(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before = files["plan.json"].read_bytes()
    assert calibrate(files | {"next.json": files["plan.json"]}) == 2
    assert "--to is the plan itself" in capsys.readouterr().err
    assert files["plan.json"].read_bytes() == before


def test_other_wrong_files_are_refused(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    write(files["counts.csv"], [GOOD, GOOD])
    assert calibrate(files) == 2
    assert "each pane of a place once" in capsys.readouterr().err
    files["counts.csv"].write_text("measure,place,start,end\n")
    assert calibrate(files) == 2
    assert "no column 'people'" in capsys.readouterr().err
    files["counts.csv"].write_bytes(b"measure,place,start,end,people\n\xff\xfe\n")
    assert calibrate(files) == 2
    assert "no CSV" in capsys.readouterr().err
    write(files["counts.csv"], [GOOD])
    files["released.ndjson"].write_text("{")
    assert calibrate(files) == 2
    assert "line 1 is no released record" in capsys.readouterr().err
    wrong = msgspec.structs.replace(PLAN, calibration=(Correction("dwell", "z9", 9.0, 0.1, part="under_5"),))
    files["plan.json"].write_bytes(msgspec.json.encode(wrong))
    assert calibrate(files) == 1
    assert "the calibration of 'dwell' names the unknown place 'z9'" in capsys.readouterr().err
