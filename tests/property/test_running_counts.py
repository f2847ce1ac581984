"""The windows that are kept up to date against the plain passes over the whole table, tick by tick."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.core.crowd import windows
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.population import Population
from tests.oracle.counting import Sighting
from tests.property.test_crowd_against_oracle import (
    EPOCHS,
    MINUTE,
    MOVES,
    START,
    ZONES,
    frames_of,
    run,
    sightings_of,
)


def assert_as_counted_plainly(population: Population, boundary_ms: int) -> None:
    epoch, running = population.epoch, population.running
    as_of = boundary_ms - epoch.start_ms
    for number, window in enumerate([1, *sorted(epoch.windows_ms)]):
        plain = windows.count(population.slots.rows, population.departures, as_of, window, epoch.silence_ms, ZONES)
        # Thousands of times: what would tell the difference costs a hundred times as much as finding none.
        if not np.array_equal(running.counts[..., number], plain):
            np.testing.assert_array_equal(running.counts[..., number], plain, f"window {window}, {as_of} ms")


def at_every_tick(tick: int, crowd: Crowd) -> None:
    assert crowd.population is not None
    assert_as_counted_plainly(crowd.population, tick)


@settings(max_examples=100, deadline=None)
@given(MOVES, st.integers(0, 1 << 30), st.integers(1, 9), st.booleans())
def test_running_counts_equal_the_plain_ones_at_every_tick(moves, seed: int, cut: int, restart: bool) -> None:
    sightings = [s for s in sightings_of(moves) if s.ts < EPOCHS[1].end_ms - 70 * MINUTE]
    until = max((s.ts for s in sightings), default=START) + 130 * MINUTE
    run(frames_of(sightings, min(until, EPOCHS[1].end_ms), random.Random(seed), cut), EPOCHS, restart, at_every_tick)


@pytest.mark.parametrize("seed", range(3))
def test_of_a_crowd_that_outgrows_its_tables_too(seed: int) -> None:
    rng = random.Random(seed)
    sightings, ts, offsets = [], START, [0, 0]
    for _ in range(60_000):
        ts += rng.choice([0, 1, 100, 200, 400])
        source = rng.randint(0, 1)
        kind = rng.choice([0] * 40 + [4, 4, 5, 6])
        who, zone = rng.randint(1, 20_000), rng.randrange(ZONES)
        sightings.append(Sighting(ts, source, offsets[source], 0, who, zone, rng.randrange(28), kind))
        offsets[source] += 1
    frames = frames_of(sightings, ts + 30 * MINUTE, rng, 3000)

    def some_ticks(tick: int, crowd: Crowd) -> None:
        if tick // 10_000 % 20 == 0:
            at_every_tick(tick, crowd)

    for on_tick in (some_ticks, None):  # with every tick shown, and with the windows moved on from chunk to chunk only
        crowd, _ = run(frames, EPOCHS, on_tick=on_tick)
        assert crowd.population is not None and crowd.at_ms is not None
        assert_as_counted_plainly(crowd.population, crowd.at_ms)
