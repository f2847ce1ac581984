"""What the filter knows of yesterday: how much it takes of the noise's error, and that it hurts on no other day.

`golden/days_after.npz` holds the exact counts of people present on the days after those of `golden/days.npz`
(`benchmarks/accuracy.py --save`). The noise is seeded.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, LedgerRecord
from schemas.measures import DEFAULT_MEASURES
from schemas.topics import DAY_MS
from streams.core.estimates import estimate
from streams.core.estimates.models import PRESENT, models_of
from streams.core.estimates.yesterday import Days, Drawn, Profile, smoothed
from streams.core.release import release
from streams.core.release.budget import sigma
from streams.core.release.ledger import Account
from streams.core.release.release import Draw, Profiles, _state, next_record, profiles, publications
from streams.core.release.render import Page
from tests.support.world import PLAN, epochs_at
from tests.unit.test_weights import WEIGHTED

GOLDEN = Path(__file__).parents[1] / "golden"
SIGMA = 78.6
AN_HOUR = 12
# What is left of the error. At 5,000 people the noise is a hundredth to begin with.
LEAVES = {50: 0.8, 500: 0.8, 5000: 0.95}
# At 50 intervals are a little too wide, for on a day that is another they must not be too narrow.
MOST_COVERED = {50: 98.0, 500: 97.0, 5000: 97.0}
MONDAY = 1_772_420_400_000
YESTERDAY, TODAY = (
    msgspec.structs.replace(epoch, measures=DEFAULT_MEASURES[:1]) for epoch in epochs_at(MONDAY, MONDAY + DAY_MS)
)
OF_PEOPLE = TODAY.measures[0]
PAGE = Page(PLAN, 0.95)


def noisy(day: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    return np.rint(day + np.random.default_rng(seed).normal(0, SIGMA, day.shape)).astype(np.int64)


def profile_of(day: NDArray[np.int64], seed: int) -> Profile:
    return smoothed(noisy(day, seed), np.ones(len(day), np.bool_), SIGMA, PRESENT)


def followed(panes: NDArray[np.int64], known: Profile | None) -> tuple[NDArray, NDArray]:
    """Means and standard errors, [panes, keys]."""
    packed, levels = b"", []
    for number, pane in enumerate(panes):
        then = known.at(number + 1) if known is not None else None
        belief = estimate.go_on(packed, pane, SIGMA, PRESENT, then)
        packed = estimate.pack(belief)
        levels.append(belief.level)
    means, variances = (np.array(column) for column in zip(*levels, strict=True))
    return means, np.sqrt(variances)


def compared(people: int, other_zones: bool = False, weather: float = 0.0) -> tuple[float, float, float]:
    """Median errors without and with yesterday, and the coverage with it, %, where about so many people are."""
    rng, errors, inside = np.random.default_rng(people), ([], []), []
    kept = [np.load(GOLDEN / name)[str(people)].astype(np.int64) for name in ("days.npz", "days_after.npz")]
    for town, (before, day) in enumerate(zip(*kept, strict=True)):
        for seed in range(3):
            known, today = before, day
            if weather:
                known, today = (weathered(each, weather, rng) for each in (before, day))
            known = np.roll(known, 1, axis=1) if other_zones else known
            at = (today >= 0.7 * people) & (today < 1.4 * people)
            at[:AN_HOUR] = False
            panes = noisy(today, 10 * town + seed)
            for number, profile in enumerate((None, profile_of(known, 100 + 10 * town + seed))):
                mean, se = followed(panes, profile)
                errors[number].append((np.abs(np.maximum(mean, 0) - today) / np.maximum(today, 1))[at])
            inside.append((np.abs(mean - today) <= 1.96 * se)[at])
    without, with_it = (100 * float(np.median(np.concatenate(each))) for each in errors)
    return without, with_it, 100 * float(np.concatenate(inside).mean())


def weathered(day: NDArray[np.int64], spread: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """A day on which there are more people, or fewer, in half of the zones the other way."""
    factor = np.exp(rng.normal(0, spread))
    return np.rint(day * np.where(np.arange(day.shape[1]) % 2, 1 / factor, factor)).astype(np.int64)


@pytest.mark.parametrize("people", LEAVES)
@pytest.mark.parametrize("weather", [0.0, 0.1])
def test_yesterday_takes_a_good_part_of_the_error_and_the_error_is_stated_right(people: int, weather: float) -> None:
    without, with_it, covered = compared(people, weather=weather)
    assert with_it <= LEAVES[people] * without
    assert 93 <= covered <= MOST_COVERED[people]


@pytest.mark.parametrize("people", LEAVES)
def test_a_yesterday_that_was_quite_another_does_no_harm(people: int) -> None:
    """Each place is given its neighbour's."""
    without, with_it, covered = compared(people, other_zones=True)
    assert with_it <= 1.02 * without
    assert 93 <= covered <= 97


def test_of_a_day_that_is_over_more_is_known_than_while_it_went_on() -> None:
    day = np.load(GOLDEN / "days.npz")["500"][0].astype(np.int64)
    seen = noisy(day, 1)
    mean, _ = followed(seen, None)
    known = smoothed(seen, np.ones(len(day), np.bool_), SIGMA, PRESENT)
    assert np.abs(known.level - day).mean() < 0.8 * np.abs(np.maximum(mean, 0) - day).mean()
    inside = np.abs(known.level - day) <= 1.96 * np.sqrt(known.variance)
    assert 93 <= 100 * inside.mean() <= 98


def test_a_pane_is_given_yesterday_s_and_the_one_before_and_how_far_the_two_err_together() -> None:
    level = np.array([[10, 20], [30, 40], [50, 60]], np.float32)
    variance = np.array([[100, 400], [100, 200], [50, 800]], np.float32)
    known = Profile(level, variance, np.array([100, 400], np.float32))
    for number, before in ((1, [10, 20]), (2, [10, 20]), (3, [30, 40])):
        then = known.at(number)
        assert (then.before.tolist(), then.now.tolist()) == (before, level[number - 1].tolist())
        assert then.variance.tolist() == variance[number - 1].tolist()
    assert known.at(2).alike == pytest.approx([0, 0.75 / 1.25])
    assert known.at(3).alike == pytest.approx([0.75 / 1.25, 0]), "panes of which less is known than noise err apart"


def test_nobody_was_fewer_than_nobody_yesterday() -> None:
    known = profile_of(np.zeros((50, 100), np.int64), 5)
    assert known.level.min() == 0
    assert known.level.mean() < 30


def test_panes_that_were_not_drawn_are_bridged() -> None:
    day = np.full((100, 300), 1000)
    seen, drawn = noisy(day, 2), np.ones(100, np.bool_)
    drawn[40:50] = drawn[0] = drawn[-1] = False
    seen[~drawn] = 10**6
    known = smoothed(seen, drawn, SIGMA, PRESENT)
    assert np.abs(known.level[~drawn] - 1000).mean() < 60
    assert np.median(known.variance[45]) > 1.5 * np.median(known.variance[30])


def test_the_first_pane_of_a_day_is_known_from_yesterday() -> None:
    known = Profile(*np.full((2, 2, 500), 400, np.float32), np.full(500, SIGMA**2, np.float32))
    seen = noisy(np.full((1, 500), 400), 3)
    (without, _), (with_it, _) = followed(seen, None), followed(seen, known)
    assert np.abs(with_it - 400).mean() < 0.5 * np.abs(without - 400).mean()


def test_what_was_begun_without_yesterday_goes_on_without_it_and_else_begins_anew() -> None:
    known = Profile(*np.full((2, 2, 2), 400, np.float32), np.full(2, SIGMA**2, np.float32))
    pane = np.array([380, 900])
    plain = estimate.pack(estimate.begin(pane, SIGMA, PRESENT))
    on = estimate.go_on(plain, pane, SIGMA, PRESENT, known.at(2))
    np.testing.assert_array_equal(on.mean, estimate.go_on(plain, pane, SIGMA, PRESENT).mean)
    knowing = estimate.pack(estimate.begin(pane, SIGMA, PRESENT, known.at(1)))
    anew = estimate.go_on(knowing, pane, SIGMA, PRESENT)
    np.testing.assert_array_equal(anew.mean, estimate.begin(pane, SIGMA, PRESENT).mean)


def test_places_know_nothing_of_each_other_s_yesterday_in_whatever_blocks_they_are_taken_up() -> None:
    rng = np.random.default_rng(3)
    panes = rng.integers(0, 500, (5, estimate.BLOCK + 5))
    noise = np.full(panes.shape[1], SIGMA**2, np.float32)
    known = Profile(*(rng.uniform(100, 500, (2, *panes.shape)).astype(np.float32)), noise)
    apart = Profile(*(part[..., -3:] for part in known))
    together, alone = followed(panes, known), followed(panes[:, -3:], apart)
    for both, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(both[:, -3:], one)


def drawn_day(epoch: Epoch, account: Account, counts: NDArray[np.int64], known: Profiles | None = None) -> LedgerRecord:
    """Draw panes of an epoch; returns the last record."""
    measure = epoch.measures[0]
    for number, seen in enumerate(counts, 1):
        draw = Draw(epoch, measure, number, epoch.start_ms + number * epoch.pane_ms, seen)
        record = next_record(draw, account.last.get("present"), None, PAGE, number, "me", known)
        assert account.take(record, number)
    return record


def known_of(drawn: Drawn, page: Page) -> Profiles:
    """All steps of yesterday's profile."""
    *others, last = profiles(drawn, TODAY, TODAY.measures[0], page)
    assert last is not None and others == [None] * -(-TODAY.zones // release.KEYS_A_STEP)
    return last


def test_a_profile_is_the_same_in_any_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = days_with(288).before(TODAY, YESTERDAY, OF_PEOPLE)
    assert drawn is not None
    whole = known_of(drawn, PAGE)
    monkeypatch.setattr(release, "KEYS_A_STEP", 4)
    for in_steps, at_once in zip(known_of(drawn, PAGE).keys, whole.keys, strict=True):
        np.testing.assert_array_equal(in_steps, at_once)


def day_of(level: int, panes: int = 288) -> NDArray[np.int64]:
    return noisy(np.full((panes, len(PLAN.zones)), level), 4)


def test_the_ledger_s_account_knows_yesterday_wherever_it_began_reading() -> None:
    account = Account()
    drawn_day(YESTERDAY, account, day_of(500))
    drawn = account.days.before(TODAY, YESTERDAY, OF_PEOPLE)
    assert drawn is not None and len(drawn.panes) == 288
    known = known_of(drawn, PAGE)
    np.testing.assert_allclose(known.keys.level, 500, atol=100)
    np.testing.assert_allclose(PAGE.added(known.keys.level[100]), known.districts.level[100], rtol=0.1)


def days_with(panes: int, epoch: Epoch = YESTERDAY, **changed: object) -> Days:
    days = Days()
    for number in range(1, panes + 1):
        days.take(record_of(epoch, number, **changed))
    return days


def record_of(epoch: Epoch, number: int, **changed: object) -> LedgerRecord:
    end_ms = epoch.start_ms + number * epoch.pane_ms
    draw = Draw(epoch, epoch.measures[0], number, end_ms, np.arange(len(PLAN.zones)))
    return msgspec.structs.replace(next_record(draw, None, None, PAGE, 0, "me"), **changed)


def unlike() -> Iterator[tuple[Epoch, Epoch]]:
    yield msgspec.structs.replace(TODAY, plan="another"), YESTERDAY
    yield msgspec.structs.replace(TODAY, purpose="public"), YESTERDAY
    yield msgspec.structs.replace(TODAY, start_ms=TODAY.start_ms + DAY_MS, end_ms=TODAY.end_ms + DAY_MS), YESTERDAY
    longer = msgspec.structs.replace(YESTERDAY, start_ms=YESTERDAY.start_ms - 3_600_000)
    yield TODAY, longer
    yield msgspec.structs.replace(TODAY, end_ms=TODAY.end_ms - 3_600_000), YESTERDAY


def test_only_a_day_of_the_same_plan_purpose_and_length_just_before_is_yesterday() -> None:
    days = days_with(288)
    assert days.before(TODAY, YESTERDAY, OF_PEOPLE) is not None
    assert all(days.before(*epochs, OF_PEOPLE) is None for epochs in unlike())
    days.forget(TODAY.epoch)
    assert days.before(TODAY, YESTERDAY, OF_PEOPLE) is None


def test_a_day_of_which_more_than_a_tenth_was_not_drawn_is_none() -> None:
    assert days_with(260).before(TODAY, YESTERDAY, OF_PEOPLE) is not None
    assert days_with(259).before(TODAY, YESTERDAY, OF_PEOPLE) is None
    assert days_with(288, kind="void").before(TODAY, YESTERDAY, OF_PEOPLE) is None
    assert days_with(288, measure="arrivals").before(TODAY, YESTERDAY, OF_PEOPLE) is None


def test_a_measure_is_known_if_it_was_counted_alike_and_has_public_keys() -> None:
    dwell = next(measure for measure in DEFAULT_MEASURES if measure.statistic == "dwell")
    flows = next(measure for measure in DEFAULT_MEASURES if measure.name == "trips_zone")
    yesterday, today = (msgspec.structs.replace(day, measures=(dwell, flows)) for day in (YESTERDAY, TODAY))
    days = Days()
    for measure in yesterday.measures:
        for number in range(12, 289, 12):
            days.take(record_of(YESTERDAY, number, measure=measure.name))
    found = days.before(today, yesterday, dwell)
    assert found is not None and len(found.panes) == 24
    assert days.before(today, yesterday, msgspec.structs.replace(dwell, share=0.01)) is not None
    assert days.before(today, yesterday, msgspec.structs.replace(dwell, cap=7)) is None
    assert days.before(today, yesterday, flows) is not None
    many = tuple(msgspec.structs.replace(day, zones=1000) for day in (today, yesterday))
    assert days.before(*many, dwell) is not None and days.before(*many, flows) is None
    named = msgspec.structs.replace(dwell, name="keyed")
    keyed = msgspec.structs.replace(yesterday, measures=(named,))
    for keys, known in ((b"1234", False), (b"", True)):
        for number in range(12, 289, 12):
            days.take(record_of(YESTERDAY, number, measure="keyed", keys=keys))
        assert (days.before(today, keyed, named) is not None) == known


def test_rules_that_tighten_amid_a_day_leave_it_the_larger_noise() -> None:
    for first, then in ((10.0, 14.0), (14.0, 10.0)):
        days = Days()
        for number in range(1, 289):
            days.take(record_of(YESTERDAY, number, sigma=first if number < 100 else then))
        drawn = days.before(TODAY, YESTERDAY, OF_PEOPLE)
        assert drawn is not None and (drawn.sigma, len(drawn.panes)) == (14, 288)


def test_an_hour_s_pane_is_known_from_the_same_hour_yesterday() -> None:
    dwell = next(measure for measure in DEFAULT_MEASURES if measure.statistic == "dwell")
    scale, keys = sigma(dwell, TODAY), dwell.keys(TODAY.zones, TODAY.parents)
    counts = np.repeat(1000 * np.arange(1, 25)[:, None], keys, axis=1)
    panes = {12 * hour: pane.astype(np.int32) for hour, pane in enumerate(counts, 1)}
    *_, known = profiles(Drawn(panes, scale), TODAY, dwell, PAGE)
    assert known is not None
    expected = smoothed(counts, np.ones(24, np.bool_), scale, models_of(dwell))
    np.testing.assert_array_equal(known.keys.level, expected.level)
    for hour in (1, 7, 24):
        draw = Draw(TODAY, dwell, 12 * hour, TODAY.start_ms + 12 * hour * TODAY.pane_ms, counts[hour - 1])
        state = _state(next_record(draw, None, None, PAGE, 0, "me", known))
        begun = estimate.begin(counts[hour - 1], scale, models_of(dwell), expected.at(hour))
        assert state is not None and state.belief == estimate.pack(begun)


def test_which_keys_have_nobody() -> None:
    kinds = [zone.kind for zone in PLAN.zones]
    page, closed = Page(PLAN, 0.95, excluded=(kinds[-1],)), [kind == kinds[-1] for kind in kinds]
    zones = len(kinds)
    for measure in DEFAULT_MEASURES:
        nobody = page.nobody_of(measure)
        assert len(nobody) == measure.keys(zones, len(PLAN.parents))
        if measure.level == "parent":
            assert not nobody.any()
        elif measure.statistic == "trips":
            expected = [closed[start] or closed[end] for start in range(zones) for end in range(zones)]
            assert nobody.tolist() == expected
        else:
            assert nobody.tolist() == np.repeat(closed, measure.parts(len(PLAN.parents))).tolist()


def test_what_a_replay_brought_is_no_yesterday() -> None:
    account = Account()
    for number in range(1, 289):
        account.take(record_of(YESTERDAY, number, panes_offset=BROUGHT), number)
    assert account.days.before(TODAY, YESTERDAY, OF_PEOPLE) is None


def test_a_day_that_is_over_is_kept_by_no_account() -> None:
    account = Account()
    for number in range(1, 289):
        account.take(record_of(YESTERDAY, number), number)
    account.take(record_of(TODAY, 1), 289)
    assert account.days.before(TODAY, YESTERDAY, OF_PEOPLE) is not None
    account.take(msgspec.structs.replace(record_of(TODAY, 1), epoch=TODAY.epoch + 1), 290)
    assert account.over(YESTERDAY.epoch) and account.days.before(TODAY, YESTERDAY, OF_PEOPLE) is None


def test_where_nobody_may_be_counted_today_nobody_is_known_from_yesterday() -> None:
    drawn = days_with(288).before(TODAY, YESTERDAY, OF_PEOPLE)
    assert drawn is not None
    kind = PLAN.zones[-1].kind
    page = Page(PLAN, 0.95, excluded=(kind,))
    for number in drawn.panes:
        drawn.panes[number][:] = 5000
    known = known_of(drawn, page)
    nobody = np.array([zone.kind == kind for zone in PLAN.zones])
    assert (known.keys.level[:, nobody] < 50).all() and (known.keys.level[:, ~nobody] > 4900).all()


def test_a_weighted_plan_s_yesterday_is_weighted() -> None:
    page = Page(WEIGHTED, 0.95)
    drawn = days_with(288).before(TODAY, YESTERDAY, OF_PEOPLE)
    assert drawn is not None and page.weights is not None
    counts = np.array([5000, 1000, 3000, 500, 800, 2000])
    for number in drawn.panes:
        drawn.panes[number][:] = counts
    known = known_of(drawn, page)
    np.testing.assert_allclose(known.keys.level[100], page.weights.people.applied(counts), rtol=0.01)


def test_estimates_are_told_from_yesterday_s_beginning_on() -> None:
    account = Account()
    drawn_day(YESTERDAY, account, day_of(150))
    drawn = account.days.before(TODAY, YESTERDAY, OF_PEOPLE)
    assert drawn is not None
    known = known_of(drawn, PAGE)
    draw = Draw(TODAY, TODAY.measures[0], 1, TODAY.start_ms + TODAY.pane_ms, np.full(len(PLAN.zones), 150))
    errors = [
        msgspec.json.decode(publications(next_record(draw, None, None, PAGE, 0, "me", then))[0].value).get("se", 99.0)
        for then in (None, known)
    ]
    assert errors[1] < 0.5 * errors[0]
