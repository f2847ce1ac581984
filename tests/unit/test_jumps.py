"""Sightings that are further away than anybody travels in the time."""

import random

import msgspec
import pytest

from schemas.attach import DETACH
from schemas.plan import Cell, Parent, Plan, Zone
from schemas.sightings import encode_control
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.presence import NOWHERE
from streams.core.distances import UNKNOWN, positions_of
from tests.property.test_crowd_against_oracle import EPOCHS, MINUTE, POSITIONS, frames_of, fresh, sightings_of

HERE, FAR, UNPLACED, NEAR = 0, 1, 2, 3
SECOND = 1000


def told(*moves: tuple[int, int, int], **epoch: int) -> tuple[int, int, int]:
    """The zone in which a subscriber is after (step in ms, zone, kind) each, since when (ms), and how many jumped."""
    crowd = fresh([msgspec.structs.replace(EPOCHS[0], **epoch)], POSITIONS)
    crowd.feed(encode_control(1, [0, 1]), 0)
    sightings = sightings_of([(step, 1, zone, 0, kind) for step, zone, kind in moves])
    for offset, frame in enumerate(frames_of(sightings, sightings[-1].ts + 20 * SECOND, random.Random(1), 9), 1):
        crowd.feed(frame, offset)
    row = _row(crowd)
    return int(row["zone"]), int(row["start"]), crowd.take_filtered()["jump"]


def _row(crowd: Crowd):
    assert crowd.population is not None
    rows = crowd.population.slots.rows
    return rows[rows["pseudonym"] != 0][0]


@pytest.mark.parametrize(("after", "zone", "jumps"), [(299_999, HERE, 1), (300_000, FAR, 0)])
def test_thirty_kilometres_take_five_minutes(after: int, zone: int, jumps: int) -> None:
    assert told((0, HERE, 0), (after, FAR, 0)) == (zone, 0 if jumps else after, jumps)


def test_a_sighting_elsewhere_counts_once_the_way_could_have_been_made() -> None:
    moves = [(0, HERE, 0), *[(100 * SECOND, FAR, 0)] * 3]
    assert told(*moves) == (FAR, 300 * SECOND, 2)


def test_what_is_not_believed_leaves_a_presence_as_it_was() -> None:
    # Had the jump been taken for a sighting, the silence would end a minute later.
    moves = [(0, HERE, 0), (MINUTE, FAR, 0), (64 * MINUTE, HERE, 0)]
    assert told(*moves) == (HERE, 65 * MINUTE, 1)


def test_once_silence_has_ended_a_presence_nothing_is_too_far_from_it() -> None:
    silence = 65 * MINUTE
    for after, expected in ((silence - 1, (HERE, 0, 1)), (silence, (FAR, silence, 0))):
        assert told((0, HERE, 0), (after, FAR, 0), jump_m_s=1) == expected


def test_one_that_comes_back_from_far_away_soon_was_never_there() -> None:
    assert told((0, HERE, 0), (10 * MINUTE, FAR, 0), (MINUTE, HERE, 0)) == (HERE, 0, 0)


def test_short_ways_and_zones_without_a_position_are_always_believed() -> None:
    assert told((0, HERE, 0), (1, NEAR, 0)) == (NEAR, 1, 0)
    assert told((0, HERE, 0), (1, UNPLACED, 0)) == (UNPLACED, 1, 0)
    assert told((0, HERE, 0), (1, FAR, 0), jump_m=30_000) == (FAR, 1, 0)


def test_the_rule_can_be_switched_off() -> None:
    assert told((0, HERE, 0), (1, FAR, 0), jump_m_s=0) == (FAR, 1, 0)


def test_a_detach_far_away_ends_a_presence_all_the_same() -> None:
    assert told((0, HERE, 0), (1, FAR, DETACH))[0] == NOWHERE


def test_a_zone_is_in_the_middle_of_its_cells_and_reaches_to_the_last_of_them() -> None:
    cells = (
        Cell("001-01-1-1", "a", 0.0, 0.0),
        Cell("001-01-1-2", "a", 0.0, 0.02),
        Cell("001-01-1-3", "b"),
        Cell("001-01-1-4", "c", 0.0, 1.01),
        Cell("001-01-1-5", "", 50.0, 8.0),
        Cell("001-01-1-6", "c", 0.0, 1.002),
    )
    zones = (
        Zone("a", "", "p"),
        Zone("b", "", "p"),
        Zone("c", "", "p", lat=0.0, lon=1.0, radius_m=500.0),
    )
    found = positions_of(Plan(1, "", "UTC", (Parent("p", ""),), zones, cells)).tolist()
    assert found[0] == pytest.approx([6_371_000, 1_112, 0, 1_112], abs=1)
    assert found[1] == [0, 0, 0, UNKNOWN]
    assert found[2] == pytest.approx([6_370_030, 111_189, 0, 1_112 + 500], abs=1)
