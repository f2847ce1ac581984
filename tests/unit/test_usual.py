"""What is usual, how now compares with it, and forecasts: on made weeks of known rules, with seeded chance."""

from collections.abc import Iterator
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.core.derived import usual
from streams.core.derived.outlook import clock_of
from streams.core.derived.usual import A_WEEK, AHEAD, CONGESTION, QUARTER_MS, Clock, Compared, Forecasts, Kept

MONDAY = 1_772_409_600_000
LASTS = 0.9
DEVIATION, NOISE = 100.0, 20.0


def rhythm(places: int) -> NDArray[np.float64]:
    """[A_WEEK, places]: days with an evening peak, fuller at weekends."""
    quarter = np.arange(A_WEEK)
    day = 800 + 500 * np.sin(2 * np.pi * (quarter % 96 - 40) / 96)
    return (day * np.where(quarter >= 480, 1.4, 1.0))[:, None] * np.linspace(1, 1.5, places)


def made(weeks: int, places: int, seed: int = 1) -> NDArray[np.float64]:
    """[quarters, places]: the rhythm, deviations of which 0.9 is left a quarter later, and noise."""
    rng = np.random.default_rng(seed)
    days = np.tile(rhythm(places), (weeks, 1))
    away = np.zeros(places)
    for now in days:
        away = LASTS * away + rng.normal(0, DEVIATION * (1 - LASTS**2) ** 0.5, places)
        now += away + rng.normal(0, NOISE, places)
    return days


def clock(number: int) -> Clock:
    return Clock(MONDAY + number * QUARTER_MS, tuple((number + step) % A_WEEK for step in range(AHEAD + 1)))


def followed(kept: Kept, days: NDArray[np.float64], first: int = 0) -> Iterator[tuple[Compared, Forecasts]]:
    for number, now in enumerate(days, start=first):
        yield usual.take(kept, clock(number), now, np.full(len(now), NOISE))


def after(days: NDArray[np.float64]) -> Kept:
    kept = usual.nothing(days.shape[1])
    for _ in followed(kept, days):
        pass
    return kept


def test_usual_is_the_mean_of_earlier_weeks_the_last_ones_counting_most() -> None:
    kept = usual.nothing(1)
    for week, people in enumerate((1000.0, 2000.0, 3000.0)):
        compared, _ = usual.take(kept, clock(7 + week * A_WEEK), np.array([people]), np.array([NOISE]))
    assert compared.usual[0] == pytest.approx((0.8 * 1000 + 2000) / 1.8)
    assert compared.weeks[0] == pytest.approx(1.8)
    compared, _ = usual.take(kept, clock(8 + 3 * A_WEEK), np.array([3000.0]), np.array([NOISE]))
    assert np.isnan(compared.usual[0]) and compared.weeks[0] == 0


@pytest.mark.parametrize(
    ("times", "level"),
    [(1.0, "usual"), (1.1, "usual"), (1.6, "busier"), (2.5, "much_busier"), (0.65, "quieter"), (0.3, "much_quieter")],
)
def test_congestion_is_by_ratio_where_it_is_beyond_chance(times: float, level: str) -> None:
    days = made(3, 4)
    at = 3 * A_WEEK + 60
    kept = after(np.vstack([days, days[:60]]))
    expected = np.array([kept.usual[place, 60] for place in range(4)])
    compared, _ = usual.take(kept, clock(at), expected * times, np.full(4, NOISE))
    assert [CONGESTION[each] for each in compared.congestion] == [level] * 4


def test_what_chance_does_is_no_congestion() -> None:
    kept = after(rhythm(1)[:, [0] * 3] * 0.05 + np.random.default_rng(2).normal(60, 40, (A_WEEK, 3)))
    compared, _ = usual.take(kept, clock(A_WEEK), kept.usual[:, 0] * 1.5, np.full(3, 40.0))
    assert [CONGESTION[each] for each in compared.congestion] == ["usual"] * 3


def known(places: int, quarter: int = 0, spread: float = 100.0) -> Kept:
    """Places of which a thousand are usual in each quarter, and how far they mostly are from it at that one's hour."""
    kept = usual.nothing(places)
    kept.usual[:], kept.weeks[:] = 1000.0, 1.0
    # So much weight that what is believed of any place says nothing any more.
    kept.spread[:, quarter // 4 % 24] = spread**2 * 1e6, 1e6
    return kept


def test_levels_of_congestion_begin_at_their_ratios_and_need_twice_what_is_usual_by_chance() -> None:
    expected = {
        1249.0: "usual", 1250.0: "busier", 1999.0: "busier", 2000.0: "much_busier",
        801.0: "usual", 800.0: "quieter", 501.0: "quieter", 500.0: "much_quieter",
    }  # fmt: skip
    now = np.array(list(expected))
    compared, _ = usual.take(known(8), clock(0), now, np.full(8, NOISE))
    assert [CONGESTION[each] for each in compared.congestion] == list(expected.values())
    assert compared.deviation == pytest.approx((now - 1000) / 100)
    compared, _ = usual.take(known(8, spread=800.0), clock(0), now, np.full(8, NOISE))
    assert [CONGESTION[each] for each in compared.congestion] == ["usual"] * 8


def test_before_anything_is_known_chance_is_both_errors_and_three_tenths_of_what_is_usual() -> None:
    kept = usual.nothing(1)
    usual.take(kept, clock(7), np.array([1000.0]), np.array([50.0]))
    compared, forecasts = usual.take(kept, clock(7 + A_WEEK), np.array([1600.0]), np.array([100.0]))
    assert compared.usual_se[0] == pytest.approx((2 * 100**2 + 300**2) ** 0.5)
    assert np.isnan(forecasts.estimate).all(), "of the quarters ahead nothing is usual yet"
    _, forecasts = usual.take(known(1), clock(0), np.array([1600.0]), np.array([100.0]))
    assert forecasts.estimate[:, 0] == pytest.approx([1000 + 600 * np.exp(-step / 8) for step in range(1, AHEAD + 1)])
    assert forecasts.se[:, 0] == pytest.approx((2 * 100**2 + 300**2) ** 0.5)


def test_of_a_deviation_all_is_left_at_most_and_nothing_at_least_and_nobody_is_fewer_than_none() -> None:
    kept = known(3)
    kept.carries[:, :, 1] = kept.carries[:, :, 2] = 1e6
    kept.carries[:, :, 0] = np.array([[2e6], [-1e6], [1e6]])
    kept.usual[2, 1:] = 300.0
    _, forecasts = usual.take(kept, clock(0), np.array([1600.0, 1600.0, 200.0]), np.full(3, NOISE))
    np.testing.assert_allclose(forecasts.estimate.T, [[1600.0] * AHEAD, [1000.0] * AHEAD, [0.0] * AHEAD])


def test_forecasts_from_before_a_plan_changed_are_scored_after_it() -> None:
    kept = known(2)
    usual.take(kept, clock(0), np.array([1100.0, 900.0]), np.full(2, NOISE))
    anew = usual.moved(kept, np.array([-1, 1]))
    _, forecasts = usual.take(anew, clock(1), np.array([1000.0, 900.0]), np.full(2, NOISE))
    assert forecasts.scored[0].tolist() == [0, 1]
    assert forecasts.mean_error_of_now[0, 1] == 0


def test_of_how_far_a_place_mostly_is_from_usual_each_quarter_counts_less_than_the_next() -> None:
    kept = known(1)
    kept.spread[:] = 0
    for number, people in enumerate((1100.0, 800.0, np.nan, 1000.0)):
        usual.take(kept, clock(number), np.array([people]), np.array([NOISE]))
    assert kept.spread[0, 0].tolist() == pytest.approx([(100**2 * 0.97 + 200**2) * 0.97, 0.97**2 + 0.97 + 1])


def test_errors_are_of_the_hour_that_was_foretold() -> None:
    kept = known(1)
    for number in range(40, 48):
        usual.take(kept, clock(number), np.array([1100.0]), np.array([NOISE]))
    assert np.flatnonzero(kept.errors[0, :, :, 1].sum(axis=0)).tolist() == [10, 11]
    assert kept.errors[0, 7, :, 1].sum() == 0, "nothing was foretold two hours before"


def test_how_good_forecasts_are_is_of_all_places_by_how_often_each_was_scored() -> None:
    nan, rest = np.nan, np.full((AHEAD - 2, 3), np.nan)
    columns = (
        [[10.0, 30.0, 0.0], [0.0, 0.0, 0.0]],
        [[2.0, 4.0, nan], [nan, nan, nan]],
        [[0.9, 1.0, nan], [nan, nan, nan]],
        [[4.0, 8.0, nan], [nan, nan, nan]],
    )
    weight, error, inside, of_now = (np.vstack([column, rest]) for column in columns)
    found = usual.skill(Forecasts(error, error, np.nan_to_num(weight), error, inside, of_now))
    assert (found.error[0], found.covered[0]) == (pytest.approx(0.5), pytest.approx(0.975))
    assert np.isnan(found.error[1:]).all() and np.isnan(found.covered[1:]).all()


def test_forecasts_beat_as_now_and_as_last_week_and_say_how_far_they_are_off() -> None:
    days = made(6, 8)
    kept = usual.nothing(8)
    off = {name: [[] for _ in range(AHEAD)] for name in ("forecast", "now", "week")}
    inside: list[NDArray[np.bool_]] = []
    for number, (_, forecasts) in enumerate(followed(kept, days)):
        if not 3 * A_WEEK <= number < len(days) - AHEAD:
            continue
        for step in range(AHEAD):
            then = days[number + step + 1]
            off["forecast"][step].append(np.abs(forecasts.estimate[step] - then))
            off["now"][step].append(np.abs(days[number] - then))
            off["week"][step].append(np.abs(days[number + step + 1 - A_WEEK] - then))
            inside.append(np.abs(forecasts.estimate[step] - then) <= 1.96 * forecasts.se[step])
    errors = {name: np.array([np.mean(step) for step in steps]) for name, steps in off.items()}
    assert (errors["forecast"] < errors["now"]).all() and (errors["forecast"] < 0.9 * errors["week"]).all()
    assert 0.93 <= np.mean(inside) <= 0.97
    left = usual._left_after(kept).mean(axis=1)
    assert left == pytest.approx([LASTS ** (step + 1) for step in range(AHEAD)], abs=0.15)


def test_the_score_is_what_earlier_forecasts_were_off_by() -> None:
    days = made(2, 2)[: A_WEEK + 120]
    kept = usual.nothing(2)
    foretold: dict[tuple[int, int], tuple[NDArray, NDArray]] = {}
    weight, error, covered, of_now = np.zeros((4, AHEAD, 2))
    for number, (_, forecasts) in enumerate(followed(kept, days)):
        for step in range(AHEAD):
            if (made_at := number - step - 1) >= 0 and not np.isnan(foretold[made_at, step][0]).any():
                guess, se = foretold[made_at, step]
                missed = np.abs(days[number] - guess)
                known = ~np.isnan(missed)
                for sums, one in (
                    (weight, known),
                    (error, missed),
                    (covered, missed <= usual.TWO_SIDED_95 * se),
                    (of_now, np.abs(days[number] - days[made_at])),
                ):
                    sums[step] = sums[step] * usual.SCORE_KEEPS + one
            foretold[number, step] = forecasts.estimate[step], forecasts.se[step]
    assert weight.min() > 50
    np.testing.assert_allclose(forecasts.scored, weight)
    np.testing.assert_allclose(forecasts.mean_error, error / weight)
    np.testing.assert_allclose(forecasts.covered, covered / weight)
    np.testing.assert_allclose(forecasts.mean_error_of_now, of_now / weight)


def test_what_is_withheld_or_missing_teaches_nothing() -> None:
    days = made(2, 2)
    gap = days.copy()
    gap[A_WEEK + 10, 0] = np.nan
    kept = usual.nothing(2)
    seen = list(followed(kept, gap))
    compared, forecasts = seen[A_WEEK + 10]
    assert np.isnan(compared.deviation[0]) and np.isnan(forecasts.estimate[:, 0]).all()
    assert kept.weeks[0, 10] == 1 and kept.weeks[1, 10] == 1.8
    assert kept.usual[0, 10] == days[10, 0]
    missed = usual.nothing(2)
    for number, now in enumerate(days):
        if not A_WEEK + 20 <= number < A_WEEK + 40:
            usual.take(missed, clock(number), now, np.full(2, NOISE))
    assert np.isfinite(missed.errors).all() and missed.weeks[0, 25] == 1


def test_places_know_nothing_of_each_other_and_a_plan_may_change() -> None:
    days = made(2, 3)
    together, alone = after(days), after(days[:, [2]])
    for name in ("usual", "spread", "carries", "errors", "score"):
        np.testing.assert_array_equal(getattr(together, name)[2], getattr(alone, name)[0])
    anew = usual.moved(together, np.array([2, -1]))
    np.testing.assert_array_equal(anew.usual[0], alone.usual[0])
    assert anew.weeks[1].max() == 0 and anew.at_ms == together.at_ms
    _, forecasts = usual.take(anew, clock(2 * A_WEEK), np.array([900.0, 900.0]), np.full(2, NOISE))
    assert np.isfinite(forecasts.estimate[:, 0]).all() and np.isnan(forecasts.estimate[:, 1]).all()


def test_what_is_kept_is_gone_on_with() -> None:
    kept = after(made(2, 3))
    again = usual.unpack(usual.pack(kept))
    now = np.array([900.0, 1000.0, 1100.0])
    for one, other in zip(
        usual.take(kept, clock(2 * A_WEEK), now, np.full(3, NOISE)),
        usual.take(again, clock(2 * A_WEEK), now, np.full(3, NOISE)),
        strict=True,
    ):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_allclose(part, same, rtol=1e-4)


def test_a_week_is_local_and_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert clock_of(MONDAY, berlin).quarters[:2] == (4, 5)
    before_summer = 1_774_744_200_000  # 2026-03-29T00:30Z, 01:30 in Berlin; half an hour later it is 03:00
    assert clock_of(before_summer, berlin).quarters[:4] == (6 * 96 + 6, 6 * 96 + 7, 6 * 96 + 12, 6 * 96 + 13)
    assert clock_of(MONDAY - QUARTER_MS, ZoneInfo("UTC")).quarters[:2] == (671, 0)
