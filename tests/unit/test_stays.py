"""What makes a presence a stay, and what the filters count."""

import random
from collections import Counter

import msgspec
import pytest

from schemas.lengths import BUCKETS, VISITS
from schemas.measures import Measure
from schemas.panes import pairs
from schemas.sightings import encode_control
from streams.core.crowd import slots
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.population import check, countable
from streams.errors import ThrongError
from tests.property.test_crowd_against_oracle import (
    EPOCHS,
    MINUTE,
    START,
    ZONES,
    frames_of,
    fresh,
    run,
    sightings_of,
)

SEEN = 3 * MINUTE
PAIRS = Measure("pairs", "travel_times_by_pair", "zone", 60 * MINUTE, 8, 0.5)


def counted(moves: list[tuple[int, int]], minutes: int, measure: str) -> tuple[Crowd, Counter[int]]:
    """A subscriber's crowd after (step in ms, zone) each, and what a measure has counted by key."""
    sightings = sightings_of([(step, 1, zone, 0, 0) for step, zone in moves])
    crowd = fresh(EPOCHS)
    crowd.feed(encode_control(1, [0, 1]), 0)
    found: Counter[int] = Counter()
    for offset, frame in enumerate(frames_of(sightings, START + minutes * MINUTE, random.Random(1), 9), 1):
        for pane in crowd.feed(frame, offset):
            if measure in pane.counts:
                found.update(dict(zip(*(column.tolist() for column in pairs(pane.counts[measure])), strict=True)))
    return crowd, found


def told(moves: list[tuple[int, int]], minutes: int = 70) -> tuple[Crowd, int]:
    """The same, and how many trips between zones were counted."""
    crowd, trips = counted(moves, minutes, "trips_zone")
    return crowd, trips.total()


def test_a_phone_that_was_heard_once_in_a_zone_and_long_after_in_another_did_not_stay() -> None:
    crowd, trips = told([(0, 0), (20 * MINUTE, 0), (MINUTE, 1), (20 * MINUTE, 2)])
    assert trips == 0
    assert crowd.take_filtered() == {"ping_pong": 0, "glimpse": 1, "jump": 0}
    assert crowd.take_filtered() == {"ping_pong": 0, "glimpse": 0, "jump": 0}


@pytest.mark.parametrize(("seen", "trips"), [(SEEN - 1, 0), (SEEN, 1), (SEEN + 1, 1)])
def test_one_that_was_seen_there_three_minutes_after_did(seen: int, trips: int) -> None:
    crowd, found = told([(0, 0), (20 * MINUTE, 0), (MINUTE, 1), (seen, 1), (20 * MINUTE, 2)])
    assert found == trips
    assert crowd.take_filtered()["glimpse"] == 1 - trips


def test_who_is_seen_again_late_stayed_from_then_on() -> None:
    assert told([(0, 0), (20 * MINUTE, 0), (MINUTE, 1), (30 * MINUTE, 1)], 60)[1] == 1
    assert told([(0, 0), (20 * MINUTE, 0), (MINUTE, 1)], 60)[1] == 0


def test_a_return_within_five_minutes_goes_on_and_is_counted_as_a_ping_pong() -> None:
    back, none = (told([(0, 0), (8 * MINUTE, 1), (step, 0)], 30)[0] for step in (5 * MINUTE, 5 * MINUTE + 1))
    assert back.take_filtered()["ping_pong"] == 1 and none.take_filtered()["ping_pong"] == 0
    assert back.population is not None
    start = back.population.slots.rows["start"][back.population.slots.rows["pseudonym"] != 0]
    assert start.tolist() == [0]


def test_an_arrival_at_a_panes_very_start_that_never_was_is_taken_back() -> None:
    moves = [(0, 0), (15 * MINUTE, 1)]
    assert counted(moves, 31, "arrivals")[1] == {0: 1, 1: 1}
    assert counted([*moves, (MINUTE, 0)], 31, "arrivals")[1] == {0: 1}


def test_what_the_filters_counted_in_an_epoch_that_is_over_is_told_too() -> None:
    crowd, _ = told([(0, 0), (MINUTE, 1), (MINUTE, 0)], 200)
    assert crowd.population is not None and crowd.population.epoch == EPOCHS[1]
    assert crowd.take_filtered()["ping_pong"] == 1


@pytest.mark.parametrize(
    ("seen", "unheard", "name"),
    [
        (2 * MINUTE, 12 * MINUTE - 1, "under_5"),
        (2 * MINUTE, 12 * MINUTE, "5_10"),
        (0, 20 * MINUTE - 1, "under_5"),
        (0, 20 * MINUTE, "5_10"),
        (0, 64 * MINUTE, "5_10"),
        (SEEN, 6 * MINUTE, "under_5"),
        (SEEN, 7 * MINUTE, "11_20"),
    ],
)
def test_a_pass_ends_a_quarter_of_the_way_to_the_next_sighting_and_a_stay_at_it(
    seen: int, unheard: int, name: str
) -> None:
    moves = [(0, 0), (20 * MINUTE, 0), (MINUTE, 1), (seen, 1), (unheard, 2)]
    lengths = counted(moves, 170, "dwell")[1]
    assert [BUCKETS[key % len(BUCKETS)].name for key in lengths if key // len(BUCKETS) == 1] == [name]


def test_one_that_a_ping_pong_restored_ends_by_its_own_sightings() -> None:
    moves = [(0, 0), (20 * MINUTE, 0), (MINUTE, 1), (MINUTE, 2), (4 * MINUTE, 1), (4 * MINUTE, 3)]
    lengths = counted(moves, 70, "dwell")[1]
    assert [BUCKETS[key % len(BUCKETS)].name for key in lengths if key // len(BUCKETS) == 1] == ["5_10"], "6 minutes"


def test_visits_are_numbered_up_to_two_and_all_after_these_are_later_ones() -> None:
    """Not by the next number: that one is the next zone's first."""
    visits = Measure("visits", "visits", "zone", 10 * MINUTE, 16, 0.5)
    one = msgspec.structs.replace(EPOCHS[0], measures=(visits,))
    to_and_fro = [(0 if n == 0 else 8 * MINUTE, 1 + n % 2) for n in range(8)]
    moves = [each for step, zone in to_and_fro for each in ((step, 1, zone, 0, 0), (SEEN, 1, zone, 0, 0))]
    found: Counter[int] = Counter()
    for pane in run(frames_of(sightings_of(moves), START + 120 * MINUTE, random.Random(1), 9), [one])[1]:
        for counts in pane.counts.values():
            found.update(dict(zip(*(column.tolist() for column in pairs(counts)), strict=True)))
    assert found == {zone * len(VISITS) + number: times for zone in (1, 2) for number, times in enumerate((1, 1, 2))}


def test_an_epoch_whose_times_a_row_cannot_hold_is_refused() -> None:
    long = EPOCHS[0].start_ms + (slots.LONGEST_EPOCH_MS // (5 * MINUTE) + 1) * 5 * MINUTE
    with pytest.raises(ThrongError, match="longer than"):
        check(msgspec.structs.replace(EPOCHS[0], end_ms=long), ZONES)


def test_a_stay_that_must_be_seen_longer_than_it_lasts_is_refused() -> None:
    wrong = msgspec.structs.replace(EPOCHS[0], seen_ms=EPOCHS[0].stay_ms + 1)
    with pytest.raises(ThrongError, match="seen longer"):
        check(wrong, ZONES)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"tick_ms": 7_000}, "its panes are no multiple of its ticks"),
        ({"zones": 60_000, "measures": (PAIRS,)}, "a measure has over 4294967296 keys"),
    ],
)
def test_an_epoch_that_no_crowd_could_count_is_not_opened(changed: dict[str, object], sentence: str) -> None:
    assert countable(EPOCHS[0]) is EPOCHS[0]
    with pytest.raises(ThrongError, match=f"{sentence}.*it is not opened"):
        countable(msgspec.structs.replace(EPOCHS[0], **changed))
