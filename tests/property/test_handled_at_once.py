"""Sightings that go through the compiled loop in one call against the same ones in small pieces: where the table and
the ring are enlarged and the lists emptied on the way makes no difference."""

import numpy as np
import pytest
from numpy.typing import NDArray

from streams.core.crowd import slots
from streams.core.crowd.listed import Listed, joined
from streams.core.crowd.population import Population
from streams.core.crowd.presence import BLOCK
from streams.core.crowd.reorder import Rows, select
from tests.property.test_crowd_against_oracle import EPOCHS, ZONES
from tests.support.departures import in_order

NUMBER = 12 * BLOCK + 123


def sightings(seed: int) -> Rows:
    """Of more and more people, who change zones often enough for long chains of departures."""
    random = np.random.default_rng(seed)
    kinds = random.choice(7, NUMBER, p=(0.9, 0.02, 0.02, 0.02, 0.02, 0.01, 0.01)).astype(np.uint8)
    # Half of them are heard by half of the people: so some are new in each block.
    who = np.minimum(random.integers(1, 40_000, NUMBER), random.integers(1, 40_000, NUMBER) + np.arange(NUMBER) // 2)
    times = EPOCHS[0].opens_ms + np.sort(random.integers(0, 80 * 60_000, NUMBER))
    zones = random.integers(0, ZONES, NUMBER).astype(np.uint16)
    return Rows(who.astype(np.uint64), times, zones, (who % 28).astype(np.uint8), kinds)


def taken(rows: Rows, piece: int, expected: int = 0) -> tuple[Population, int]:
    """A population that has handled them, so many in each call. Its table has room for so many from the start."""
    population = Population(EPOCHS[0], np.zeros(ZONES, np.uint16), EPOCHS[0].parents)
    if expected:
        population.slots = slots.larger(population.slots, population.running.row_due, expected).slots
        population.fit()
    barred = sum(population.handle(select(rows, slice(at, at + piece))) for at in range(0, NUMBER, piece))
    return population, barred


@pytest.mark.parametrize("seed", range(3))
def test_all_at_once_is_as_piece_by_piece(seed: int) -> None:
    rows = sightings(seed)
    (once, barred), (often, barred_often) = taken(rows, NUMBER), taken(rows, 500)
    assert barred == barred_often > 0
    assert once.heard == often.heard > 7_000, "the table never was full"
    people = [np.sort(each.slots.rows, order="pseudonym") for each in (once, often)]
    seen = [each[each["pseudonym"] > 0] for each in people]
    np.testing.assert_array_equal(*seen)
    assert in_order(once.departures).tobytes() == in_order(often.departures).tobytes()
    assert len(once.departures.ring) > BLOCK, "the ring never was full"
    np.testing.assert_array_equal(once.running.counts, often.running.counts)
    assert any(once.listed), "no list was full"
    for each in (once, often):
        each.take_listed()
    for at_once, piecewise in zip(once.listed, often.listed, strict=True):
        np.testing.assert_array_equal(joined(at_once), joined(piecewise))
    np.testing.assert_array_equal(once.tally.arrivals, often.tally.arrivals)
    np.testing.assert_array_equal(once.tally.filtered, often.tally.filtered)
    np.testing.assert_array_equal(once.tally.capped, often.tally.capped)


def test_lists_name_the_same_people_however_often_the_table_has_grown() -> None:
    rows = sightings(3)
    (grown, _), (large, _) = taken(rows, NUMBER), taken(rows, NUMBER, expected=50_000)
    assert len(grown.slots.rows) > 2 * slots.SMALLEST, "the table has hardly grown"
    assert any(grown.listed), "nothing was listed before it grew"
    for each in (grown, large):
        each.take_listed()
    for some, same in zip(grown.listed, large.listed, strict=True):
        np.testing.assert_array_equal(listing(grown, some), listing(large, same))


def listing(population: Population, parts: list[Listed]) -> NDArray[np.uint64]:
    """Keys and pseudonyms, in the order in which they were listed."""
    listed = joined(parts)
    return np.stack([listed.keys, population.slots.rows["pseudonym"][listed.who]])
