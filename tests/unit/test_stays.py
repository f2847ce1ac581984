"""What makes a presence a stay, and what the filters count."""

import random

import msgspec
import pytest

from schemas.panes import pairs
from schemas.sightings import encode_control
from streams.core.crowd import Crowd
from streams.core.population import check
from tests.property.test_crowd_against_oracle import (
    EPOCHS,
    MINUTE,
    START,
    ZONES,
    frames_of,
    fresh,
    sightings_of,
)

SEEN = 3 * MINUTE


def told(moves: list[tuple[int, int]], minutes: int = 70) -> tuple[Crowd, int]:
    """A subscriber's crowd after (step in ms, zone) each, and how many trips between zones were counted."""
    sightings = sightings_of([(step, 1, zone, 0, 0) for step, zone in moves])
    crowd = fresh(EPOCHS)
    crowd.feed(encode_control(1, [0, 1]), 0)
    trips = 0
    for offset, frame in enumerate(frames_of(sightings, START + minutes * MINUTE, random.Random(1), 9), 1):
        for pane in crowd.feed(frame, offset):
            if "trips_zone" in pane.counts:
                trips += int(pairs(pane.counts["trips_zone"])[1].sum())
    return crowd, trips


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


def test_what_the_filters_counted_in_an_epoch_that_is_over_is_told_too() -> None:
    crowd, _ = told([(0, 0), (MINUTE, 1), (MINUTE, 0)], 200)
    assert crowd.population is not None and crowd.population.epoch == EPOCHS[1]
    assert crowd.take_filtered()["ping_pong"] == 1


def test_a_stay_that_must_be_seen_longer_than_it_lasts_is_refused() -> None:
    wrong = msgspec.structs.replace(EPOCHS[0], seen_ms=EPOCHS[0].stay_ms + 1)
    with pytest.raises(ValueError, match="seen longer"):
        check(wrong, ZONES)
