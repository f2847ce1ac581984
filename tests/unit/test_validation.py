"""The reckoning of `make validate`: three people whose day is written down here, and errors that are known."""

import threading
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pytest

from schemas.attach import DETACH, UPDATE
from schemas.cohorts import cohort
from schemas.lengths import BUCKETS, VISITS
from schemas.measures import Measure
from streams.core.calibration.calibration import Evidence
from streams.core.release.budget import sigma
from streams.simulate import make_town
from streams.simulate.network import TRUTH
from streams.simulate.people import MOVING, OFF, STAYING
from streams.simulate.registry import counted
from tests.support.world import PLAN, epochs_at
from validation import (
    by_grid,
    calibrated,
    draws,
    errors,
    foretold,
    happened,
    judge,
    medians,
    page,
    picture,
    reference,
    released,
    summary,
)
from validation.errors import Pairs
from validation.happened import Presences
from validation.reference import Agreement
from validation.towns import AGAIN, TOWNS, Day, Rows, Shape, live, live_days

EPOCH = epochs_at(1_772_420_400_000)[0]
PARENTS = np.array(PLAN.zone_parents(), np.uint16)
MINUTE = 60_000
HOSPITAL = np.array([2])
COHORT_OF = np.array([cohort(30, "female"), cohort(70, None), cohort(18, "male")], np.uint8)
LIVE_IN = np.array([[0, 0], [1, -1], [1, 0]])  # districts of home and work
MEASURES = {measure.name: measure for measure in EPOCH.measures}

# Subscriber, zone, what they do, and until when, in minutes from 04:00; each from where the line before ends.
ANN, BOB, CY = range(3)
LIVES = [
    (ANN, 0, STAYING, 240),
    (ANN, 0, MOVING, 242),
    (ANN, 1, MOVING, 246),
    (ANN, 3, MOVING, 247),
    (ANN, 3, STAYING, 300),
    (ANN, 3, STAYING, 360),
    (ANN, 0, STAYING, 1450),
    (BOB, 4, OFF, 120),
    (BOB, 4, STAYING, 180),
    (BOB, 5, MOVING, 192),  # a slow crossing
    (BOB, 4, STAYING, 1020),
    (BOB, 4, OFF, 1450),
    (CY, 2, STAYING, 300),  # at the hospital
    (CY, 3, STAYING, 315),
    (CY, 4, STAYING, 1450),
]


def stretches(lives=LIVES):
    rows, before = np.zeros(len(lives), TRUTH), {}
    for row, (who, zone, mode, until) in zip(rows, lives, strict=True):
        begin = before.get(who, 0)
        before[who] = until
        row["who"], row["zone"], row["mode"] = who, zone, mode
        row["begin"], row["end"] = (EPOCH.start_ms + minute * MINUTE for minute in (begin, until))
    return rows


def lived(stops=True):
    there = happened.presences(stretches(), HOSPITAL, EPOCH)
    found = happened.everything(there, EPOCH, PARENTS)
    return found if stops else found | happened.everything(there, EPOCH, PARENTS, stops=False)


def cells(counts):
    """{(pane, key): count} of what isn't 0."""
    return {(int(pane), int(key)): int(counts[pane, key]) for pane, key in np.argwhere(counts)}


def minutes(column):
    return ((column - EPOCH.start_ms) // MINUTE).tolist()


def test_people_present_are_told_by_cohort_each_in_their_own():
    there = happened.presences(stretches(), HOSPITAL, EPOCH)
    found = happened.everything(there, EPOCH, PARENTS, cohorts=COHORT_OF)
    ann, bob, cy = COHORT_OF.tolist()
    of_hour = {pane: {key for at, key in cells(found["present_cohort"]) if at == pane} for pane in (2, 5)}
    assert of_hour == {2: {0 * 28 + ann, 4 * 28 + bob}, 5: {3 * 28 + ann, 4 * 28 + bob, 4 * 28 + cy}}
    hourly = found["present_cohort"].reshape(24, EPOCH.zones, 28).sum(axis=2)
    assert (hourly == found["present"][11::12]).all()


def test_stretches_in_one_zone_are_one_presence_and_the_longest_stop_is_known():
    there = happened.presences(stretches(), HOSPITAL, EPOCH)
    assert there.who.tolist() == [ANN] * 4 + [BOB] * 3 + [CY] * 2
    assert there.zone.tolist() == [0, 1, 3, 0, 4, 5, 4, 3, 4]
    assert minutes(there.begin) == [0, 242, 246, 360, 120, 180, 192, 300, 315]
    assert minutes(there.end) == [242, 246, 360, 1440, 180, 192, 1020, 315, 1440]
    assert (there.stop_ms // MINUTE).tolist() == [240, 0, 113, 1080, 60, 0, 828, 15, 1125]


def test_people_present_are_where_they_are_the_instant_before_a_panes_end():
    present = lived()["present"]
    assert present.shape == (288, 6)
    assert present[47].tolist() == [1, 0, 0, 0, 1, 0], "04:00 + 240 min: at home, Bob in zone 4, Cy nowhere"
    assert present[48].tolist() == [0, 1, 0, 0, 1, 0], "245 min"
    assert present[49].tolist() == [0, 0, 0, 1, 1, 0], "250 min"
    assert present[287].tolist() == [1, 0, 0, 0, 1, 0], "Bob's phone is off"


def test_footfall_is_everybody_who_was_there_at_any_instant_once():
    found = lived()
    assert found["footfall"][16].tolist() == [1, 1, 0, 1, 1, 0], "240 to 255 min"
    assert found["footfall_hour"][3].tolist() == [1, 0, 0, 0, 1, 1], "Bob left zone 4 and came back: once"
    assert found["footfall_hour"][5].tolist() == [0, 0, 0, 2, 2, 0], "Ann leaves at 360 min, which is the next hour"


def test_trips_join_stops_and_a_slow_crossing_is_one_by_the_words_alone():
    trip = {(4, 0 * 6 + 3): 1, (6, 3 * 6 + 0): 1, (5, 3 * 6 + 4): 1}
    assert cells(lived()["trips_zone"]) == trip
    assert cells(lived(stops=False)["trips_zone"]) == trip | {(3, 4 * 6 + 5): 1, (3, 5 * 6 + 4): 1}
    assert cells(lived()["trips_parent"]) == {(17, 0 * 2 + 1): 1, (24, 1 * 2 + 0): 1, (21, 1 * 2 + 1): 1}


def test_visits_are_numbered_by_zone():
    first, second = (VISITS.index(name) for name in ("first", "second"))
    assert cells(lived()["visits"]) == {
        (0, 0 * 3 + first): 1,
        (4, 3 * 3 + first): 1,
        (6, 0 * 3 + second): 1,
        (2, 4 * 3 + first): 1,
        (5, 3 * 3 + first): 1,
        (5, 4 * 3 + first): 1,
    }


def test_visits_beyond_the_remembered_zones_are_first_ones():
    zones = [0, 1, 0, 1]
    begin = EPOCH.start_ms + np.arange(4) * 60 * MINUTE
    stays = Presences(np.zeros(4, int), np.array(zones), begin, begin + 60 * MINUTE, np.full(4, 60 * MINUTE))
    numbered = {(0, 0): 1, (1, 3): 1, (2, 1): 1, (3, 4): 1}
    assert cells(happened.visits(stays, EPOCH, MEASURES["visits"])) == numbered
    forgotten = cells(happened.visits(stays, EPOCH, MEASURES["visits"], remembered=1))
    assert forgotten == {(0, 0): 1, (1, 3): 1, (2, 1): 1, (3, 3): 1}


@pytest.mark.parametrize(("stops", "slow"), [(True, "5_10"), (False, "11_20")])
def test_dwell_is_counted_where_it_ends_cut_where_the_epoch_is_and_a_slow_crossing_is_a_pass(stops, slow):
    names = [bucket.name for bucket in BUCKETS]
    told = {(pane, key // 8, names[key % 8]): n for (pane, key), n in cells(lived(stops)["dwell"]).items()}
    assert told == {
        (4, 0, "over_240"): 1,
        (4, 1, "under_5"): 1,
        (6, 3, "61_120"): 1,
        (23, 0, "over_240"): 1,
        (3, 4, "61_120"): 1,
        (3, 5, slow): 1,
        (17, 4, "over_240"): 1,
        (5, 3, "11_20"): 1,
        (23, 4, "over_240"): 1,
    }
    short = happened.presences(stretches([(ANN, 1, STAYING, 30), (ANN, 1, OFF, 1450)]), HOSPITAL, EPOCH)
    assert cells(happened.dwell(short, EPOCH, MEASURES["dwell"])) == {(0, 1 * 8 + names.index("cut")): 1}


def test_dwell_is_counted_when_no_ping_pong_can_restore_it():
    names = [bucket.name for bucket in BUCKETS]
    lives = [(ANN, 1, OFF, 200), (ANN, 1, STAYING, 238), (ANN, 3, STAYING, 300), (ANN, 3, OFF, 1450)]
    there = happened.presences(stretches(lives), HOSPITAL, EPOCH)
    long = names.index("21_60")
    assert cells(happened.dwell(there, EPOCH, MEASURES["dwell"])) == {
        (4, 1 * 8 + long): 1,  # at 238 min + 5
        (5, 3 * 8 + names.index("61_120")): 1,  # a detach is certain
    }
    crossed = [(ANN, 1, OFF, 200), (ANN, 1, STAYING, 238), (ANN, 3, MOVING, 239), (ANN, 4, STAYING, 1450)]
    there = happened.presences(stretches(crossed), HOSPITAL, EPOCH)
    assert happened.dwell(there, EPOCH, MEASURES["dwell"])[3, 1 * 8 + long] == 1, "in a third zone at 239 min"


def seen(lives=LIVES):
    """Sightings of a network that sees every change at once, and each phone every half hour."""
    there = happened.presences(stretches(lives), HOSPITAL, EPOCH)
    rows = []
    for who, zone, begin, end, _ in zip(*there, strict=True):
        rows += [(who, ts, zone, UPDATE) for ts in range(begin, end, 30 * MINUTE)]
        rows.append((who, end, zone, DETACH))
    # Who moves on doesn't detach.
    rows = [
        row
        for row in rows
        if row[3] != DETACH or (row[0], row[1]) not in {(w, t) for w, t, _, k in rows if k != DETACH}
    ]
    rows = sorted(row for row in rows if row[1] < EPOCH.end_ms)
    who, ts, zone, kind = (np.array(column) for column in zip(*rows, strict=True))
    return Rows(
        who.astype(np.uint64) + np.uint64(1),  # 0 is nobody
        ts.astype(np.int64),
        zone.astype(np.uint16),
        np.zeros(len(who), np.uint8),
        kind.astype(np.uint8),
    )


def a_day():
    counts = reference.counted(seen(), EPOCH, PARENTS)
    return Day(TOWNS[-1], EPOCH, PLAN, PARENTS, counts, stretches(), HOSPITAL, 1, None, COHORT_OF, LIVE_IN)


def test_the_crowd_counts_by_the_words_what_happened_if_the_network_sees_it_all():
    words, counts = lived(stops=False), a_day().counts
    for name in ("present", "trips_zone", "trips_parent", "visits", "dwell"):
        assert cells(counts[name]) == cells(words[name]), name


def test_travel_times_and_passes_are_counted_by_the_words_as_they_happened():
    measures = tuple(
        Measure(f"{statistic}_{level}", statistic, level, 60 * MINUTE, 32, 0.1)
        for statistic in ("travel_times", "travel_times_by_pair", "passes")
        for level in ("zone", "parent")
    )
    epoch = msgspec.structs.replace(EPOCH, measures=measures)
    there = happened.presences(stretches(), HOSPITAL, epoch)
    words = happened.everything(there, epoch, PARENTS, stops=False)
    # Ann's way to zone 3 took from 242 to 246, by way of zone 1; others' zones adjoin. Cy came from the hospital.
    quick = {(4, 3 * 6): 1, (6, 0): 1, (5, 4 * 6): 1, (3, 4 * 6): 1, (3, 5 * 6): 1}
    assert cells(words["travel_times_zone"]) == quick
    assert sum(cells(words["travel_times_by_pair_zone"]).values()) == len(quick)
    assert cells(words["travel_times_by_pair_zone"])[4, (0 * 6 + 3) * 6] == 1
    assert cells(words["passes_zone"]) == {(4, 1 * 6 + 3): 1} and cells(words["passes_parent"]) == {(4, 1): 1}
    truly = happened.everything(there, epoch, PARENTS)
    assert cells(truly["passes_zone"]) == {(4, 1 * 6 + 3): 1, (3, 5 * 6 + 4): 1}, "a slow crossing passes"
    counts = reference.counted(seen(), epoch, PARENTS)
    for measure in measures:
        assert cells(counts[measure.name]) == cells(words[measure.name]), measure.name


def test_visitors_by_home_and_work_are_counted_by_the_words_as_they_happened_and_truly_by_where_they_live():
    measures = tuple(Measure(area, area, "zone", 60 * MINUTE, 16, 0.05) for area in ("home", "work"))
    epoch = msgspec.structs.replace(EPOCH, measures=measures)
    lives = [(ANN, 0, STAYING, 240), (ANN, 3, STAYING, 400), (ANN, 4, STAYING, 800), (ANN, 3, STAYING, 900)]
    lives += [(ANN, 1, STAYING, 960), (BOB, 5, OFF, 310), (BOB, 5, STAYING, 330), (BOB, 2, OFF, 700)]
    lives += [(BOB, 0, STAYING, 850), (CY, 1, STAYING, 295), (CY, 3, STAYING, 1440)]
    there = happened.presences(stretches(lives), HOSPITAL, epoch)
    words = happened.everything(there, epoch, PARENTS, stops=False)
    # Zones 0 to 2 are the north, 0, the others the south, 1; 2 is not known. Homes are known from minute 300 on: Ann's
    # and Cy's is the north, Bob's phone was off. Places of work are from 780 on: Ann's is the south.
    home = {(ANN, 6, 4): 0, (ANN, 15, 1): 0, (BOB, 5, 5): 2, (BOB, 11, 0): 2, (CY, 5, 3): 0}
    assert cells(words["home"]) == {(pane, zone * 3 + area): 1 for (_, pane, zone), area in home.items()}
    assert cells(words["work"]) == {(15, 1 * 3 + 1): 1}
    counts = reference.counted(seen(lives), epoch, PARENTS)
    assert {name: cells(counts[name]) for name in words} == {name: cells(each) for name, each in words.items()}
    truly = happened.everything(there, epoch, PARENTS, lives=LIVE_IN)
    assert cells(truly["home"]) == {(pane, zone * 3 + LIVE_IN[who, 0]): 1 for who, pane, zone in home}
    assert cells(truly["work"]) == {(15, 1 * 3 + 0): 1}


def test_on_the_way_a_phone_was_off_and_nobody_knows_how_long_it_took():
    lives = [(ANN, 0, STAYING, 60), (ANN, 0, OFF, 90), (ANN, 1, STAYING, 120), (ANN, 3, MOVING, 135)]
    lives += [(ANN, 4, STAYING, 200), (BOB, 4, STAYING, 30), (BOB, 5, MOVING, 55), (BOB, 3, STAYING, 200)]
    measure = Measure("travel_times", "travel_times", "parent", 60 * MINUTE, 32, 0.1)
    epoch = msgspec.structs.replace(EPOCH, measures=(measure,))
    truly = happened.everything(happened.presences(stretches(lives), HOSPITAL, epoch), epoch, PARENTS)
    # Ann: unknown to zone 1, 15 minutes from there to zone 4. Bob: 25 minutes.
    assert cells(truly["travel_times"]) == {(1, 0 * 6 + 5): 1, (2, 1 * 6 + 1): 1, (1, 1 * 6 + 2): 1}


def without_noise(counts, *_):
    return counts


def released_of(day: Day, noise=without_noise) -> dict[str, released.Estimates]:
    """By measure, of one draw."""
    (of_days,) = draws.several([(day, draws.counted_measures(day))], noise, 1)
    return draws.estimates(day, of_days[0])


def judged(day: Day, noise=without_noise) -> judge.Judged:
    """Of one draw."""
    return judge.judge(day, judge.truth_of(day), released_of(day, noise))


def test_a_day_that_is_seen_has_no_error_before_noise_and_no_noise_none_after():
    found = judged(a_day())
    for kind in ("present", "flows", "visits", "dwell"):
        assert np.array_equal(found.words[kind].told, found.words[kind].true), kind
    assert not np.array_equal(found.before["flows"].told, found.before["flows"].true), "a slow crossing is no stop"
    assert found.before["present"].told.sum() == lived()["present"][12:].sum(), "from the second hour on"
    told = released_of(a_day())["present"]
    assert (told.se > 0).all() and told.mean.sum() > 0


def test_draws_of_noise_differ_in_noise_alone_and_are_of_the_days_that_were_asked_for():
    day, other = busy_day(0.6), busy_day(0.6, (2026, 3, 1))
    drawn = iter(range(1, 100))
    lock = threading.Lock()

    def noise(counts, *_):
        with lock:
            return counts + next(drawn)

    visits, present = MEASURES["visits"], MEASURES["present"]
    found = list(draws.several([(day, [visits, present]), (other, [visits])], noise, 3))
    assert [[list(of_day) for of_day in draw] for draw in found] == [[["visits", "present"], ["visits"]]] * 3
    added = [draw[n]["visits"] - each.counts["visits"] for draw in found for n, each in enumerate((day, other))]
    assert all((each == each[0, 0]).all() and each.shape == added[0].shape for each in added)
    assert len({int(each[0, 0]) for each in added}) == 6
    estimates = draws.estimates(day, found[0][0])
    alone = released.estimated(found[0][0]["present"], present, EPOCH)
    assert np.array_equal(estimates["present"].mean, alone.mean)


def test_footfall_of_an_hour_is_that_of_its_first_pane_and_later_arrivals():
    present, arrivals = np.arange(288)[:, None], np.full((96, 1), 2)
    footfall = released.footfall(present, arrivals)
    assert footfall[:3, 0].tolist() == [2, 2 + 2, 5 + 2], "present at the start is the pane that ends there"
    assert judge.hourly(footfall, arrivals)[1, 0] == present[11, 0] + 4 * 2
    moved = released.movements(footfall, present)
    assert (moved["arrivals"] == 2).all()
    assert np.array_equal(footfall - moved["departures"], present[2::3]), "who didn't leave is there at the end"


def test_an_hours_footfall_is_seen_as_far_off_as_its_panes_together():
    told = {
        "footfall": np.full((96, 1), 400.0),
        "arrivals": np.full((96, 1), 100.0),
        "footfall_hour": np.zeros((24, 1)),
    }
    errs = judge.with_view({name: np.zeros(each.shape) for name, each in told.items()}, told)
    of_hour = judge.VIEWS["footfall"].se(np.array(400.0)) + 3 * judge.VIEWS["arrivals"].se(np.array(100.0))
    assert errs["footfall_hour"] == pytest.approx(np.full((24, 1), of_hour))
    assert of_hour > 0


def test_without_surprises_the_estimate_is_the_count_and_its_error_below_the_noise():
    counts = np.full((288, 2), 1000)
    found = released.estimated(counts, MEASURES["present"], EPOCH)
    assert np.allclose(found.mean, 1000, rtol=0.01) and np.allclose(found.mean[-1], 1000, rtol=1e-4)
    assert 0 < found.se[-1, 0] < sigma(MEASURES["present"], EPOCH)


def test_errors_are_medians_of_a_size_with_bias_and_coverage():
    true = np.array([500.0] * 30 + [50.0] * 30 + [5000.0] * 19)
    told = true * np.array([1.10] * 15 + [0.98] * 15 + [1.0] * 30 + [2.0] * 19)
    found = errors.error(Pairs(told, true, np.full(79, 10.0)), 500)
    assert (found.counts, round(found.bias, 6), found.covered) == (30, 0.04, 0.5)
    assert found.median == pytest.approx(0.06), "between 2 % and 10 %"
    assert errors.error(Pairs(told, true, np.zeros(79)), 50).median == 0
    assert errors.error(Pairs(told, true, np.zeros(79)), 5000) is None, "too few of them"
    twice = errors.joined([Pairs(told, true, np.full(79, 10.0)), Pairs(2 * true - told, true, np.full(79, 10.0))])
    of_both = errors.error(twice, 500, 2)
    assert (of_both.counts, of_both.covered, of_both.bias) == (30, 0.5, pytest.approx(0)), "counts are one draw's"
    assert errors.error(twice, 5000, 2) is None, "too few of them, however often they are drawn"
    assert errors.by_size(twice, np.array([2500.0, 10_000.0]), 2) == []
    small = errors.larger({"present": Pairs(*np.array([[9.0, 30.0], [9.0, 10.0], [1.0, 1.0]]))})["present"]
    assert small.true.tolist() == [10] and small.told.tolist() == [30]


def test_a_goal_is_a_bound_or_a_range():
    assert summary.met(0.05, 0.05) and not summary.met(0.051, 0.05)
    assert summary.met(0.95, [0.93, 0.97]) and not summary.met(0.98, [0.93, 0.97])
    assert not summary.met(None, 1.0)


def test_results_have_all_numbers_of_the_last_line_a_page_and_a_picture(tmp_path: Path):
    day = a_day()
    every = [judge.together([judged(day)] * 2)]
    found = summary.results([day], every, {"visits": Agreement(3, 3, 0)})
    line = summary.last_line(found)
    counts_on_site = [calibrated.counted(day, without_noise)]
    exact = calibrated.judge(day, judge.truth_of(day).counts, counts_on_site, released_of(day))
    factors = summary.results([day], every, None, [calibrated.together([exact])])
    more = summary.last_line(factors)
    with_factors = more.pop("calibrated")
    assert more == line and list(with_factors["before_noise"]) == ["footfall", "flows", "dwell", "visits"]
    assert list(with_factors["released"]) == [*line["released"], "dwell_500", "visits_500"]
    assert "| calibrated | people |" in page.tables(factors)
    sides = [{kind: side[kind] for kind in by_grid.KINDS} for side in (every[0].before, every[0].released)]
    gridded = summary.results([day], every, None, grids=[by_grid.together([by_grid.ByGrid(*sides, [0.5])] * 2)])
    assert summary.last_line(gridded) == line, "what is the default configuration's stays as it is"
    assert list(summary.by_grid_line(gridded)["released"]) == list(line["released"])[:4]
    assert "Zones of which the grid is believed, by town: 50%, 50%." in page.tables(gridded)
    told = {"factors": [calibrated.together([exact])], "grids": [by_grid.together([by_grid.ByGrid(*sides, [0.5])])]}
    brought = summary.results([day], every, None, **told, both=told["factors"])
    assert summary.last_line(brought) == {**line, "calibrated": with_factors, "with_both": with_factors}
    only_both = summary.results([day], every, None, both=told["factors"])
    assert "met with both" in page.tables(brought, only_both) and "met with both" not in page.tables(only_both)
    assert {side: list(values) for side, values in line.items()} == {
        "before_noise": ["footfall", "flows", "dwell", "visits"],
        "released": ["present_50", "present_500", "present_5000", "footfall_500", "flows_500", "coverage_95"],
    }
    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}of last year\n{page.END}after\n", encoding="utf-8")
    page.write(path, found)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "of last year" not in text
    assert "| visits | 3 | 3 | 0 |" in text
    picture.draw(found, tmp_path / "errors.svg")
    assert "<polyline" in (tmp_path / "errors.svg").read_text(encoding="utf-8")


def test_released_figures_are_those_of_all_draws_and_the_page_says_how_far_single_ones_are_apart():
    """Forty crowds of 500: told 50 people too many by one draw, 100 by two, by intervals of 78 people to each side."""
    base, true = judge.together([judged(a_day())]), np.full(40, 500.0)

    def off_by(people: float) -> judge.Judged:
        told = {"present": Pairs(true + people, true, np.full(40, 40.0))}
        return base._replace(released=base.released | told, alone=base.alone | told, noise=base.noise | told)

    every = [off_by(people) for people in (100, 50, 100)]
    found = summary.results([a_day()], every, None)
    single = [line["released"] for line in found["draws"]["single"]]
    assert [line["present_500"] for line in single] == [0.2, 0.1, 0.2] and found["draws"]["number"] == 3
    told = found["errors"]["released"]["present"]["500"]
    assert told == {"counts": 40, "median": 0.2, "most": 0.2, "bias": 0.1667, "covered": 0.3333}, "counts are one's"
    assert [line["coverage_95"] for line in single] == [0, 1, 0]
    assert summary.last_line(found)["released"]["coverage_95"] == 0.3333
    assert found["errors"]["before"] == summary.results([a_day()], every[:1], None)["errors"]["before"]
    assert summary.apart(found, "released", "present_500") == (0.1, 0.2)
    assert summary.apart(found, "released", "present_5000") is None, "too few to tell"
    text = page.tables(found)
    assert (
        "| released | present_500 | 0.200 | 0.100 to 0.200 |  |  | at most 0.06 | no | 0.200 | 0.100 to 0.200 |" in text
    )
    assert "told of 3 draws of noise together" in text


def test_towns_are_told_apart_and_a_goal_is_met_if_it_is_in_other_towns_too():
    """Forty crowds of 500 a town: one town's are told 10 too many, the other's 20, the other towns' 50."""
    base, true = judge.together([judged(a_day())]), np.full(40, 500.0)

    def off_by(people: float) -> judge.Judged:
        told = {"present": Pairs(true + people, true, np.full(40, 8.0))}
        return base._replace(before=base.before | told, released=base.released | told, noise=base.noise | told)

    def told_of(towns: list[judge.Judged]) -> dict:
        return summary.results([a_day()], [judge.together(towns)], None, by_town=[[town] for town in towns])

    found = told_of([off_by(10), off_by(20)])
    assert found["by_town"]["present"]["500"] == {
        "towns": 2,
        **{"before": [0.02, 0.04], "released": [0.02, 0.04], "covered": [0.0, 1.0]},
    }
    assert summary.town_range(found, "released", "present_500") == (0.02, 0.04)
    assert summary.town_range(found, "before_noise", "dwell") is None, "no town has such crowds"
    assert "| present | 500 | 2 | 2.0 to 4.0 % | 2.0 to 4.0 % | 0.0 to 100.0 % |" in page.tables(found)
    row = "| released | present_500 | 0.030 | 0.030 to 0.030 | 0.020 to 0.040 | {} | at most 0.06 | {} |"
    assert row.format("", "yes") in page.tables(found)
    assert row.format("0.100", "no") in page.tables(found, told_of([off_by(50)]))


def test_the_page_and_the_picture_tell_what_is_kept(tmp_path: Path):
    kept = Path(__file__).parents[2] / "docs" / "explanation" / "validation"
    found, again = (orjson.loads((kept / f"{name}.json").read_bytes()) for name in ("results", "again"))
    text = (kept.parent / "validation.md").read_text(encoding="utf-8")
    assert page.BEGIN + page.tables(found, again) + page.END in text, "run: python -m validation --write"
    picture.draw(found, tmp_path / "errors.svg")
    assert (tmp_path / "errors.svg").read_bytes() == (kept / "errors.svg").read_bytes()
    shapes = [tuple(shape._replace(date=tuple(shape.date))) for shape in TOWNS + AGAIN]
    assert [
        tuple(Shape(**{**town, "date": tuple(town["date"])}))
        for of in (found, again)
        for town in ({k: v for k, v in town.items() if k != "events"} for town in of["towns"].values())
    ] == shapes, "of all towns, not of the village alone"


def busy_day(share: float, date: tuple[int, int, int] = (2026, 3, 2)) -> Day:
    """A day on which a share of the visits to zone 1 is counted, of a thousand an hour."""
    who = np.arange(20_000)
    cohorts = COHORT_OF[who % len(COHORT_OF)]
    lives = np.zeros(len(who), TRUTH)
    lives["who"], lives["zone"], lives["mode"] = who, 1, STAYING
    lives["begin"] = EPOCH.start_ms + (2 + who // 1000) * 60 * MINUTE
    lives["end"] = lives["begin"] + 60 * MINUTE
    there = happened.presences(lives, HOSPITAL, EPOCH)
    counts = {
        name: np.rint(counts * share).astype(np.int64)
        for name, counts in happened.everything(there, EPOCH, PARENTS, cohorts=cohorts).items()
    }
    counts["arrivals"] = np.zeros((96, len(PLAN.zones)), np.int64)
    counts["arrivals"][np.arange(2, 22) * 4, 1] = round(1000 * share)
    shape = TOWNS[-1]._replace(date=date)
    return Day(shape, EPOCH, PLAN, PARENTS, counts, lives, HOSPITAL, 1, None, cohorts, LIVE_IN)


def test_factors_of_another_day_mend_what_is_told_of_a_day():
    day = busy_day(0.6)
    others = [calibrated.counted(busy_day(0.6, date), without_noise) for date in ((2026, 3, 1), (2026, 2, 28))]
    found = calibrated.judge(day, calibrated.truth_of(day), others, released_of(day))
    kinds = ("visits", "present", "present by cohort")
    sides = [side[kind] for side in (found.before, found.one_day) for kind in kinds] + [found.released["visits"]]
    for pairs in sides:
        large = pairs.true > 0
        assert np.median(np.abs(pairs.told - pairs.true)[large] / pairs.true[large]) < 0.05
        assert (np.abs(pairs.told - pairs.true) <= 2 * pairs.se + 1)[large].mean() > 0.9
    assert set(calibrated.corrected(day, others)) >= {
        "present",
        "present_cohort",
        "footfall",
        "dwell",
        "visits",
    }
    assert [each.date for each in day.shape.days_before(2)] == [day.shape.date, (2026, 3, 1), (2026, 2, 28)]


def test_the_reference_is_asked_of_those_who_never_fell_silent():
    hour = 60 * MINUTE
    times = [0, hour, 0, 2 * hour, 0, hour, 3 * hour]
    kinds = [UPDATE, DETACH, UPDATE, DETACH, UPDATE, DETACH, DETACH]
    rows = Rows(
        np.array([1, 1, 2, 2, 3, 3, 3], np.uint64),
        EPOCH.start_ms + np.array(times, np.int64),
        np.zeros(7, np.uint16),
        np.zeros(7, np.uint8),
        np.array(kinds, np.uint8),
    )
    assert np.unique(reference.heard_throughout(rows, EPOCH, 9).pseudonym).tolist() == [1, 3]


def test_the_reference_agrees_with_stays_that_are_those_of_the_crowd_and_tells_others():
    rows = seen()
    there = happened.presences(stretches(), HOSPITAL, EPOCH)
    stays = happened.stays(there, EPOCH, stops=False)
    ours = reference.counted(rows, EPOCH, PARENTS)
    found = reference.compared(ours, stays, rows, EPOCH, PARENTS)
    assert {name: one.apart for name, one in found.items()} == dict.fromkeys(
        ["trips_zone", "trips_parent", "dwell", "visits"], 0
    )
    fewer = reference.compared(ours, stays.rows(stays.who != ANN), rows, EPOCH, PARENTS)
    assert fewer["trips_zone"] == Agreement(5, 3, 2)


def test_a_town_is_counted_by_the_core_and_its_truth_is_of_those_who_may_be_counted():
    shape = TOWNS[-1]._replace(name="hamlet", people=60, zones=20, cells=40, radio="simple")
    told = []
    day = live(shape, told.append, keep_rows=True)
    may = np.flatnonzero(counted(make_town(shape.seed, 60, 20, 40, consent=shape.consent)))
    assert np.unique(day.stretches["who"]).tolist() == may.tolist()
    assert day.epoch.start_ms == shape.start_ms and told[-1].startswith("hamlet, 60 people: 24.")
    there = happened.presences(day.stretches, day.excluded, day.epoch)
    present = happened.everything(there, day.epoch, day.parents)["present"]
    assert day.counts["present"].shape == present.shape == (288, 20)
    later = slice(12, None)  # once everyone has been heard
    assert day.counts["present"][later].sum() == pytest.approx(present[later].sum(), rel=0.02)
    by_cohort = happened.everything(there, day.epoch, day.parents, cohorts=day.cohorts)["present_cohort"]
    told, true = (side[1:].reshape(23, 20, 28).sum(axis=(0, 1)) for side in (day.counts["present_cohort"], by_cohort))
    assert np.count_nonzero(true) > 5 and np.abs(told - true).sum() <= 0.02 * true.sum()
    assert 0 < len(np.unique(day.rows.pseudonym)) <= len(may)
    order = np.lexsort([day.rows.ts, day.rows.pseudonym])
    assert (np.diff(order) > 0).all() and day.rows.ts.max() < day.epoch.end_ms
    # So few are no census: its grid is believed of no zone, and weights are those of people spread evenly.
    truth, gridded, plain = judge.truth_of(day), by_grid.with_census(day), draws.estimates(day, day.counts, day.counts)
    grid = by_grid.by_grid(gridded, truth, by_grid.estimates(gridded, day.counts, day.counts, plain))
    assert grid.believed == [0]
    evenly = judge.judge(day, truth, plain)
    assert all(np.array_equal(grid.before[kind].told, evenly.before[kind].told) for kind in by_grid.KINDS)
    assert all(np.array_equal(grid.released[kind].told, evenly.released[kind].told) for kind in by_grid.KINDS)
    first = released_of(day)
    for name in ("present", "trips_parent", "dwell"):
        assert plain[name].se.mean() < 0.97 * first[name].se.mean(), "the very same day is known from yesterday"


def test_days_are_lived_in_one_go_and_each_is_counted_and_true_by_itself():
    shape = TOWNS[-1]._replace(name="hamlet", people=60, zones=20, cells=40, radio="simple")
    told = []
    day, before = live_days(shape, 2, told.append, keep_rows=True)
    assert told[-1].startswith("hamlet, 60 people: 48.")
    assert (day.shape, before.shape) == (shape, shape.days_before(1)[1])
    assert before.epoch.end_ms == day.epoch.start_ms == shape.start_ms
    assert before.rows is None and (day.rows.ts >= shape.start_ms).all() and (day.rows.ts < day.epoch.end_ms).all()
    alone = live(before.shape, lambda _: None)
    assert all(np.array_equal(before.counts[name], counts) for name, counts in alone.counts.items())
    assert 0 <= alone.events - before.events <= 0.02 * alone.events, "what follows the day is of the next one"
    assert day.events > 0.5 * before.events
    for each in (day, before):
        there = happened.presences(each.stretches, each.excluded, each.epoch)
        present = happened.everything(there, each.epoch, each.parents)["present"]
        later = slice(12, None)
        assert each.counts["present"][later].sum() == pytest.approx(present[later].sum(), rel=0.02)
    assert not np.array_equal(day.counts["arrivals"], before.counts["arrivals"])


def test_the_median_stay_is_of_those_that_ended_in_the_pane_cut_and_passes_left_out():
    begin = EPOCH.start_ms + np.array([60, 61, 62, 63, 0]) * MINUTE
    long = np.array([20, 30, 90, 5, 70]) * MINUTE
    there = Presences(np.arange(5), np.ones(5, int), begin, begin + long, long)
    found = happened.median_stay(there, EPOCH, MEASURES["dwell"])
    assert (found.stays[1, 1], found.minutes[1, 1]) == (2, 25)
    assert (found.stays[2, 1], found.minutes[2, 1]) == (1, 90)
    assert found.stays.sum() == 3 and np.isnan(found.minutes[3, 1])


def test_the_told_median_is_held_against_it_with_its_interval():
    counts = np.zeros((24, EPOCH.zones * 8), np.int64)
    counts[:, 1 * 8 + 3] = 400
    told = released.Estimates(counts.astype(float), np.full(counts.shape, 10.0))
    truth = happened.Medians(np.zeros((24, EPOCH.zones), np.int64), np.full((24, EPOCH.zones), np.nan))
    truth.stays[:, 1], truth.minutes[:, 1] = 500, 40.0
    found = medians.lengths(counts, told, truth, EPOCH, skip=1)
    assert found.stays.tolist() == [500] * 23 and found.counted.tolist() == [35] * 23, (
        "the middle of 20 to 60 in logarithms"
    )
    of = medians.error(found, 500)
    assert (of.counts, of.covered, of.covered_counted) == (23, 0.0, 1.0)
    assert of.before == of.released == pytest.approx(5 / 40)
    assert medians.error(found, 50) is None


def passing_by(seed: int) -> tuple[Day, list[calibrated.Counted]]:
    """A day on which a thousand an hour pass each zone, of whom the fewer are counted the smaller it is, and the day
    before, with a zone counted in three."""
    zones = tuple(
        msgspec.structs.replace(zone, area_m2=10_000.0 * 4**n, kind="shops") for n, zone in enumerate(PLAN.zones)
    )
    rows = 20 * 1000 * len(zones)
    who = np.arange(rows)
    lives = np.zeros(rows, TRUTH)
    lives["who"], lives["zone"], lives["mode"] = who, who % len(zones), STAYING
    lives["begin"] = EPOCH.start_ms + (2 + who // (1000 * len(zones))) * 60 * MINUTE
    lives["end"] = lives["begin"] + 2 * MINUTE
    there = happened.presences(lives, np.empty(0, np.int64), EPOCH)
    truth = happened.dwell(there, EPOCH, MEASURES["dwell"])
    share = np.repeat(0.4 + 0.1 * np.arange(len(zones)), len(BUCKETS))
    counts = {"dwell": np.rint(truth * share).astype(np.int64)}
    plan = msgspec.structs.replace(PLAN, zones=zones)
    day = Day(
        *(TOWNS[-1]._replace(seed=seed), EPOCH, plan, PARENTS, counts, lives, np.empty(0, np.int64), 1, None),
        *(COHORT_OF[who % len(COHORT_OF)], LIVE_IN),
    )
    some = truth.shape[0] // 24
    key = np.tile(np.arange(truth.shape[1]), len(truth) - some)
    noisy, on_site = (each[some:].reshape(-1).astype(np.float64) for each in (counts["dwell"], truth))
    se = np.full(len(key), 20.0)
    told = noisy > 50
    before = calibrated.Counted(
        {"dwell": Evidence(key, on_site, told, noisy, se, np.full(len(key), 12))}, {"dwell": (noisy[told], se[told])}
    )
    return day, [before]


def test_places_that_were_counted_mend_what_is_told_of_those_that_were_not():
    """Three towns of six zones are one plan: six zones counted in all."""

    def town(seed: int, nth: int = 0) -> foretold.Town:
        day, before = passing_by(seed)
        there = happened.presences(day.stretches, day.excluded, EPOCH)
        truth = {"dwell": happened.dwell(there, EPOCH, MEASURES["dwell"])}
        return foretold.town(day, truth, before, released_of(day)["dwell"], nth)

    towns = [town(seed) for seed in (1, 2, 3)]
    assert len({town(1, nth).others.tobytes() for nth in range(5)}) > 1, "other zones by other draws"
    assert [town.others.mean() for town in towns] == [pytest.approx(2 / 3)] * 3
    found = foretold.judge(towns)
    assert found.places == {"under_5": (6, True)}
    off = []
    for pairs in (found.alone["dwell"], found.before["dwell"]):
        large = pairs.true > 0
        off.append(float(np.median(np.abs(pairs.told - pairs.true)[large] / pairs.true[large])))
    assert off[0] > 0.2 and off[1] < 0.1
    every = [judge.together([judged(a_day())] * 2)] * 2
    results = summary.results([a_day()], every, None, others=[found, found._replace(places={"under_5": (4, False)})])
    assert "could learn from, by length, in the median draw: under_5 5 (foretold by 1 of 2)." in page.tables(results)
    assert "calibrated" not in summary.last_line(results)
