"""People's days, one at a time: what is counted of nights, silence, phones that are off, and of short visits.

Each day is told in sightings of one person; the crowd's panes are compared with what anybody would say of that day.
The oracle has the same rules a second time and every combination of them; here each of them stands by name.
"""

import random
from collections import Counter

import msgspec
import pytest

from schemas.epochs import Epoch
from schemas.lengths import BUCKETS, TRAVEL_TIMES, VISITS
from schemas.measures import Measure
from tests.oracle.counting import DETACH, OPT_IN, OPT_OUT, Sighting
from tests.property.test_crowd_against_oracle import EPOCHS, MINUTE, counted, expected, frames_of, run

HOUR = 60 * MINUTE
HOME, WORK, SHOP, BAR, PARK = range(5)
MEASURES = (
    Measure("present", "present", "zone", 5 * MINUTE, 0, 0.2),
    Measure("trips", "trips", "zone", 60 * MINUTE, 32, 0.2),
    Measure("trips_parent", "trips", "parent", 60 * MINUTE, 32, 0.2),
    Measure("dwell", "dwell", "zone", 60 * MINUTE, 96, 0.2),
    Measure("visits", "visits", "zone", 60 * MINUTE, 32, 0.2),
    Measure("travel_times", "travel_times", "zone", 60 * MINUTE, 32, 0.1),
    Measure("passes", "passes", "zone", 60 * MINUTE, 48, 0.1),
    Measure("home", "home", "zone", 60 * MINUTE, 16, 0.05),
    Measure("work", "work", "zone", 60 * MINUTE, 16, 0.05),
)
# Two days from 04:00 to 04:00.
DAYS = [
    msgspec.structs.replace(
        EPOCHS[0],
        epoch=20260302 + day,
        start_ms=EPOCHS[0].start_ms + day * 24 * HOUR,
        end_ms=EPOCHS[0].start_ms + (day + 1) * 24 * HOUR,
        opens_ms=EPOCHS[0].start_ms + day * 24 * HOUR,
        measures=MEASURES,
        home_until_ms=5 * HOUR,
        work_until_ms=13 * HOUR,
    )
    for day in range(2)
]
START = DAYS[0].start_ms
Step = tuple[str, int] | tuple[str, int, int]


def at(clock: str) -> int:
    """Milliseconds since 04:00 of the first day; before 04:00 is the second day's."""
    hours, minutes = map(int, clock.split(":"))
    return ((hours - 4) % 24) * HOUR + minutes * MINUTE


def day(*steps: Step, next_day: tuple[Step, ...] = ()) -> dict[int, dict[str, Counter]]:
    """By epoch and measure what a day of `(clock, zone)` or `(clock, zone, kind)` is counted as, over all its panes."""
    said = [
        (at(step[0]) + shift, *step[1:]) for steps_of, shift in ((steps, 0), (next_day, 24 * HOUR)) for step in steps_of
    ]
    rows = [
        Sighting(START + ts, 0, number, 0, 1, zone, 0, *(kind or [0])) for number, (ts, zone, *kind) in enumerate(said)
    ]
    until = DAYS[1].end_ms
    panes = counted(run(frames_of(rows, until, random.Random(1), 5), DAYS)[1])
    assert panes == expected(rows, DAYS, until)[0]
    found: dict[int, dict[str, Counter]] = {number: {m.name: Counter() for m in MEASURES} for number in range(2)}
    for (epoch, name, _), counts in panes.items():
        found[epoch - DAYS[0].epoch][name].update(counts)
    return found


def staying(zone: int, first: str, last: str, every_min: int = 50) -> list[tuple[str, int]]:
    """Sightings in a zone from a time to another, as an idle phone's are."""
    times = [*range(at(first), at(last), every_min * MINUTE), at(last)]
    return [(f"{(ts // HOUR + 4) % 24}:{ts // MINUTE % 60}", zone) for ts in times]


def dwelt(counts: Counter) -> Counter:
    """By (zone, bucket's name)."""
    names = [bucket.name for bucket in BUCKETS]
    return Counter({(key // len(names), names[key % len(names)]): number for key, number in counts.items()})


def visited(counts: Counter) -> Counter:
    return Counter({(key // 3, VISITS[key % 3]): number for key, number in counts.items()})


def travelled(counts: Counter) -> Counter:
    return Counter({(key // 6, TRAVEL_TIMES[key % 6].name): number for key, number in counts.items()})


def lived(counts: Counter) -> Counter:
    """By (zone, area): home and work are in the first of two districts, all else is in the second."""
    return Counter({(key // 3, ("town", "centre", "unknown")[key % 3]): number for key, number in counts.items()})


def test_a_day_in_one_zone_is_one_count_at_its_end() -> None:
    found = day(*staying(HOME, "4:20", "3:40"))[0]
    assert dwelt(found["dwell"]) == {(HOME, "over_240"): 1}
    assert visited(found["visits"]) == {(HOME, "first"): 1}
    assert not found["trips"]
    assert found["present"] == {HOME: 24 * 12 - 4}  # all panes' ends from 04:25 on: 4:20 itself is in the fifth


def test_a_night_at_home_is_counted_at_four_and_once_more_in_the_morning() -> None:
    evening = (*staying(WORK, "10:00", "17:00"), *staying(HOME, "18:00", "3:50"))
    one, two = day(
        *evening, next_day=(*staying(HOME, "4:30", "7:50"), ("8:00", WORK), *staying(WORK, "8:30", "3:50"))
    ).values()
    assert dwelt(one["dwell"]) == {(WORK, "over_240"): 1, (HOME, "over_240"): 1}
    # In the morning nobody can tell how long that person had been there: 210 minutes were seen.
    assert dwelt(two["dwell"]) == {(HOME, "cut"): 1, (WORK, "over_240"): 1}
    assert visited(two["visits"]) == {(HOME, "first"): 1, (WORK, "first"): 1}, "nothing is linked over the change"


def test_a_short_evening_at_home_is_cut_at_four_and_not_lost() -> None:
    found = day(("1:30", BAR), *staying(BAR, "1:35", "2:50"), *staying(HOME, "3:00", "3:50"))[0]
    assert dwelt(found["dwell"]) == {(BAR, "61_120"): 1, (HOME, "cut"): 1}


def test_midnight_is_no_boundary() -> None:
    found = day(*staying(BAR, "22:30", "1:00"), ("1:10", HOME), ("1:40", HOME), ("1:50", HOME, DETACH))[0]
    assert dwelt(found["dwell"]) == {(BAR, "121_240"): 1, (HOME, "21_60"): 1}
    assert found["trips"] == {BAR * 5 + HOME: 1}


def test_what_ends_in_silence_lasts_to_the_middle_of_it() -> None:
    # Last heard at 12:10: silent from then to 13:15, so it ended at 12:42 or so, after 42 minutes.
    found = day(("12:00", SHOP), ("12:10", SHOP))[0]
    assert dwelt(found["dwell"]) == {(SHOP, "21_60"): 1}
    # 12:28 would be 28 + 32.5 minutes: over the limit, and half an hour earlier than the silence's end at 13:33.
    assert dwelt(day(("12:00", SHOP), ("12:28", SHOP))[0]["dwell"]) == {(SHOP, "61_120"): 1}


def test_it_counts_in_the_pane_in_which_the_silence_is_over_even_if_nothing_is_heard_again() -> None:
    rows = [Sighting(START + at("12:00"), 0, 0, 0, 1, SHOP, 0, 0)]
    panes = counted(run(frames_of(rows, DAYS[0].end_ms, random.Random(1), 5), DAYS)[1])
    (end,) = (number for (_, name, number), counts in panes.items() if name == "dwell" and counts)
    assert end * 5 * MINUTE == at("14:00")  # at 13:05 it was over


@pytest.mark.parametrize("off", [30, 300], ids=["half an hour", "five hours"])
def test_a_phone_switched_off_ends_a_presence_and_the_next_is_one_of_its_own(off: int) -> None:
    on = f"{12 + (30 + off) // 60}:{(30 + off) % 60}"
    before, after = (("12:00", SHOP), ("12:10", SHOP), ("12:30", SHOP, DETACH)), (("19:05", HOME), ("19:30", HOME))
    found = day(*before, (on, SHOP), *staying(SHOP, on, "19:00"), *after)[0]
    assert sum(number for (zone, _), number in dwelt(found["dwell"]).items() if zone == SHOP) == 2
    assert dwelt(found["dwell"])[SHOP, "21_60"] == 1
    # It is no new visit, since there was no stay elsewhere.
    assert visited(found["visits"]) == {(SHOP, "first"): 1, (HOME, "first"): 1}


def test_an_attach_without_a_detach_goes_on() -> None:
    found = day(("12:00", SHOP), ("12:30", SHOP, 0), ("13:10", SHOP, 0), ("13:20", SHOP, DETACH))[0]
    assert dwelt(found["dwell"]) == {(SHOP, "61_120"): 1}


def test_a_night_bus_passes_and_makes_one_trip() -> None:
    ride = (("1:00", WORK), ("1:30", WORK), ("1:40", SHOP), ("1:44", PARK), ("1:52", BAR), ("2:00", HOME))
    found = day(*ride, *staying(HOME, "2:10", "3:50"))[0]
    assert dwelt(found["dwell"]) == {
        **{(WORK, "21_60"): 1, (SHOP, "under_5"): 1, (PARK, "under_5"): 1, (BAR, "under_5"): 1},
        (HOME, "cut"): 1,
    }
    assert found["trips"] == {WORK * 5 + HOME: 1}
    assert visited(found["visits"]) == {(WORK, "first"): 1, (HOME, "first"): 1}


def test_a_night_bus_at_half_past_four_is_not_cut_where_it_only_passes() -> None:
    found = day(("4:30", BAR), ("4:34", SHOP), ("4:38", HOME), *staying(HOME, "5:00", "9:00"), ("9:05", HOME, DETACH))[
        0
    ]
    # Who is first heard may have been there before four; who moves was not.
    assert dwelt(found["dwell"]) == {(BAR, "cut"): 1, (SHOP, "under_5"): 1, (HOME, "over_240"): 1}


def test_a_tourist_of_two_hours() -> None:
    walk = (("10:00", PARK), ("10:35", PARK), ("10:40", SHOP), ("10:46", BAR), ("10:50", BAR), ("11:30", BAR))
    found = day(*walk, ("11:32", PARK), ("11:55", PARK), ("12:00", PARK, DETACH))[0]
    assert dwelt(found["dwell"]) == {(PARK, "21_60"): 2, (SHOP, "under_5"): 1, (BAR, "21_60"): 1}
    assert visited(found["visits"]) == {(PARK, "first"): 1, (BAR, "first"): 1, (PARK, "second"): 1}
    assert found["trips"] == {PARK * 5 + BAR: 1, BAR * 5 + PARK: 1}
    assert found["trips_parent"] == {1 * 2 + 1: 2}, "the park and the bar are in one district"


def test_a_trip_takes_from_leaving_the_one_zone_to_reaching_the_other() -> None:
    # By the clocks' minutes, and whatever lay between: a park that was heard once is passed.
    for arrival, band in (("10:09", "under_10"), ("10:10", "10_20"), ("10:39", "20_40"), ("11:00", "over_60")):
        way = (("9:00", HOME), ("9:50", HOME), ("10:00", SHOP), ("10:05", PARK))
        found = day(*way, (arrival, WORK), *staying(WORK, "11:05", "12:25"), ("12:30", WORK, DETACH))[0]
        assert travelled(found["travel_times"]) == {(WORK, band): 1}, arrival
        assert found["trips"] == {HOME * 5 + WORK: 1}


def test_a_trip_begins_when_the_origin_was_left_for_good() -> None:
    home = (("9:00", HOME), ("9:50", HOME))
    work = (("11:00", WORK), ("11:20", WORK), ("11:30", WORK, DETACH))
    # Back within five minutes is a ping-pong, back for a quarter of an hour a stay: neither is a way to work.
    for back in ((("10:00", SHOP), ("10:04", HOME)), (("10:00", SHOP), ("10:10", HOME), ("10:25", HOME))):
        found = day(*home, *back, ("10:45", PARK), *work)[0]
        assert travelled(found["travel_times"]) == {(WORK, "10_20"): 1}
    # Back without a stay: out and about since ten.
    found = day(*home, ("10:00", SHOP), ("10:10", HOME), ("10:15", PARK), *work)[0]
    assert travelled(found["travel_times"]) == {(WORK, "over_60"): 1}


def test_nobody_knows_how_long_a_trip_took_on_which_the_phone_was_off_or_silent() -> None:
    home, work = (("9:00", HOME), ("9:50", HOME)), (("12:00", WORK), ("12:20", WORK), ("12:30", WORK, DETACH))
    for lost in ((("10:00", HOME, DETACH),), (("10:00", SHOP), ("10:01", SHOP, DETACH)), (("10:00", SHOP),)):
        found = day(*home, *lost, *work)[0]
        assert travelled(found["travel_times"]) == {(WORK, "unknown"): 1}
    # Nor where it was heard again before the end, since all that counts is the whole.
    found = day(*home, ("10:00", SHOP, DETACH), ("11:50", PARK), *work)[0]
    assert travelled(found["travel_times"]) == {(WORK, "unknown"): 1}


def test_a_pass_tells_where_the_person_was_next() -> None:
    ride = (("1:00", WORK), ("1:30", WORK), ("1:40", SHOP), ("1:44", PARK), ("1:52", BAR), ("2:00", HOME))
    found = day(*ride, *staying(HOME, "2:10", "3:50"))[0]
    assert found["passes"] == {SHOP * 5 + PARK: 1, PARK * 5 + BAR: 1, BAR * 5 + HOME: 1}, "work was a stay"


def test_a_pass_that_ends_in_silence_or_with_the_phone_has_no_next_place() -> None:
    for end in ((("12:05", SHOP, DETACH),), (("13:30", PARK), ("13:35", PARK, DETACH))):
        assert not day(("12:00", HOME), ("12:02", SHOP), *end)[0]["passes"][SHOP * 5 + PARK]
    # Who is first heard in the morning may have stayed there.
    assert not day(("4:30", BAR), ("4:34", SHOP), ("4:35", SHOP, DETACH))[0]["passes"]


def test_a_ping_pong_goes_nowhere_next() -> None:
    home = (("11:00", HOME), ("11:40", HOME))
    found = day(*home, ("12:00", SHOP), ("12:03", BAR), ("12:06", SHOP), ("12:09", PARK), ("12:15", PARK, DETACH))[0]
    assert found["passes"] == {SHOP * 5 + PARK: 1}, "the bar never was"


def test_a_way_back_without_a_stay_elsewhere_is_no_trip_and_no_visit() -> None:
    found = day(
        ("12:00", WORK), ("12:30", WORK), ("13:00", SHOP), ("13:06", WORK), ("13:40", WORK), ("13:45", WORK, DETACH)
    )[0]
    assert not found["trips"]
    assert visited(found["visits"]) == {(WORK, "first"): 1}
    assert dwelt(found["dwell"]) == {(WORK, "61_120"): 1, (SHOP, "under_5"): 1, (WORK, "21_60"): 1}


def test_a_trip_runs_over_a_detach_and_a_silence() -> None:
    found = day(
        *(("8:00", HOME), ("8:10", HOME), ("8:30", HOME, DETACH)),
        *(("14:00", WORK), ("14:20", WORK), ("20:00", BAR), ("20:20", BAR)),
    )[0]
    assert found["trips"] == {HOME * 5 + WORK: 1, WORK * 5 + BAR: 1}


def test_visits_are_numbered_by_zone_and_stop_at_three() -> None:
    steps = [(f"{6 + n}:{minute}", (HOME, SHOP)[n % 2]) for n in range(9) for minute in ("00", "20")]
    found = day(*steps, ("14:30", HOME, DETACH))[0]
    assert visited(found["visits"]) == {
        **{(HOME, "first"): 1, (HOME, "second"): 1, (HOME, "third_or_more"): 3},
        **{(SHOP, "first"): 1, (SHOP, "second"): 1, (SHOP, "third_or_more"): 2},
    }


def test_of_a_fifth_zone_every_visit_is_told_as_the_first() -> None:
    zones = [HOME, WORK, SHOP, BAR, PARK, HOME, PARK, HOME]
    steps = [(f"{6 + number}:{minute}", zone) for number, zone in enumerate(zones) for minute in ("00", "20")]
    found = day(*steps, ("13:30", HOME, DETACH))[0]
    assert visited(found["visits"])[PARK, "first"] == 2
    assert visited(found["visits"])[HOME, "third_or_more"] == 1


def test_a_ping_pong_over_a_panes_end_takes_nothing_back() -> None:
    # In the shop from 11:00; the bar is heard from 11:59:40 to 12:00:20, over the end of a pane.
    def told(*back: int) -> Counter:
        seconds = [0, 600, 3580, *back, 5400]
        zones = [SHOP, SHOP, BAR, SHOP, SHOP] if back else [SHOP, SHOP, BAR, BAR]
        rows = [
            Sighting(START + at("11:00") + second * 1000, 0, n, 0, 1, zone, 0, 0)
            for n, (second, zone) in enumerate(zip(seconds, zones, strict=True))
        ]
        rows.append(Sighting(START + at("12:40"), 0, len(rows), 0, 1, zones[-1], 0, DETACH))
        panes = counted(run(frames_of(rows, DAYS[0].end_ms, random.Random(1), 5), DAYS)[1])
        assert panes == expected(rows, DAYS, DAYS[0].end_ms)[0]
        return Counter(
            {
                (number * 5 * MINUTE // HOUR + 4, *key): times
                for (_, name, number), counts in panes.items()
                if name == "dwell"
                for key, times in dwelt(counts).items()
            }
        )

    assert told(3620) == {(13, SHOP, "61_120"): 1}, "one presence of 100 minutes, counted when it was over"
    # Without a return the shop's presence is complete five minutes after it was left, in the next pane.
    assert told() == {(13, SHOP, "21_60"): 1, (13, BAR, "21_60"): 1}


@pytest.mark.parametrize("until_ms", [START + at("12:00"), DAYS[1].start_ms + HOUR], ids=["that day", "the next one"])
def test_a_cap_drops_and_is_counted(until_ms: int) -> None:
    measures = (*MEASURES[:3], msgspec.structs.replace(MEASURES[3], cap=2), *MEASURES[4:])
    epochs: list[Epoch] = [msgspec.structs.replace(epoch, measures=measures) for epoch in DAYS]
    rows = [Sighting(START + at("6:00") + n * 20 * MINUTE, 0, n, 0, 1, n % 2, 0, 0) for n in range(9)]
    crowd, panes = run(frames_of(rows, until_ms, random.Random(1), 5), epochs)
    assert sum(sum(counts.values()) for (_, name, _), counts in counted(panes).items() if name == "dwell") == 2
    assert crowd.take_capped() == {measure.name: 7 * (measure.name == "dwell") for measure in MEASURES[1:]}
    assert set(crowd.take_capped().values()) == {0}, "each is told once"


def test_visitors_are_of_where_they_slept_and_worked_once_that_is_over() -> None:
    morning = (*staying(HOME, "4:20", "8:20"), *staying(SHOP, "8:30", "16:45"))
    found = day(
        *morning, *staying(BAR, "17:15", "18:30"), *staying(PARK, "18:40", "19:20"), *staying(HOME, "20:00", "3:30")
    )
    # The shop was visited before nine, the home was slept in: neither has come to be visited since.
    assert lived(found[0]["home"]) == {(BAR, "town"): 1, (PARK, "town"): 1}
    assert lived(found[0]["work"]) == {(BAR, "centre"): 1, (PARK, "centre"): 1}


def test_an_area_is_that_of_the_longest_stay_within_its_hours_alone() -> None:
    # Three hours in the bar, but one of them is before nine; at home for two.
    found = day(*staying(HOME, "5:00", "7:00"), *staying(BAR, "8:00", "11:00"), *staying(SHOP, "12:00", "13:00"))[0]
    assert lived(found["home"]) == {(SHOP, "town"): 1}
    # Whoever goes by for less than a stay lives nowhere on the way.
    found = day(("5:00", BAR), ("5:09", HOME), ("5:09", HOME, DETACH), *staying(SHOP, "12:00", "13:00"))[0]
    assert lived(found["home"]) == {(SHOP, "unknown"): 1}


def test_of_who_comes_at_noon_nobody_knows_the_home_and_no_day_knows_the_one_before() -> None:
    noon = (*staying(SHOP, "12:00", "13:00"), *staying(PARK, "17:30", "18:00"))
    one, two = (day(*staying(HOME, "4:20", "8:20"), *noon, next_day=noon)[number] for number in range(2))
    assert lived(one["home"]) == {(SHOP, "town"): 1, (PARK, "town"): 1}
    assert lived(two["home"]) == {(SHOP, "unknown"): 1, (PARK, "unknown"): 1}
    assert lived(two["work"]) == {(PARK, "centre"): 1}


def test_an_opt_out_forgets_home_and_work() -> None:
    before = (*staying(HOME, "4:20", "8:20"), ("8:30", HOME, OPT_OUT), ("9:00", HOME, OPT_IN))
    assert lived(day(*before, *staying(SHOP, "12:00", "13:00"))[0]["home"]) == {(SHOP, "unknown"): 1}


def test_a_second_visit_is_not_counted_by_home_again() -> None:
    there = (*staying(SHOP, "10:00", "10:40"), *staying(BAR, "11:00", "11:40"), *staying(SHOP, "12:00", "12:40"))
    found = day(*staying(HOME, "4:20", "8:20"), *there)[0]
    assert lived(found["home"]) == {(SHOP, "town"): 1, (BAR, "town"): 1}
