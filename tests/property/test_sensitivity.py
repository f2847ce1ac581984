"""What one subscriber can add to a measure's counts of an epoch: never more than the account says.

The account charges noise for an L2 distance of `sensitivity`. Here a subscriber does whatever the log allows, and the
distance between the counts with and without them is measured.
"""

import math
import random
from collections import Counter

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streams.core.release.budget import sensitivity
from tests.oracle.counting import Sighting
from tests.property.test_crowd_against_oracle import (
    EPOCHS,
    MINUTE,
    MOVES,
    START,
    counted,
    frames_of,
    run,
    sightings_of,
)

EPOCH = EPOCHS[0]
GENEROUS = msgspec.structs.replace(
    EPOCH, measures=tuple(msgspec.structs.replace(m, cap=m.cap and 1000) for m in EPOCH.measures)
)
WHO = 1


def alone(sightings: list[Sighting], epoch=EPOCH, seed: int = 0) -> dict[str, Counter]:
    """By measure what a subscriber on their own adds to each (pane, key) of the epoch."""
    until = epoch.end_ms
    _, panes = run(frames_of(sightings, until, random.Random(seed), 7), [epoch])
    found: dict[str, Counter] = {m.name: Counter() for m in epoch.measures}
    for (_, name, pane), counts in counted(panes).items():
        found[name].update({(pane, key): number for key, number in counts.items()})
    return found


def commuter(zones: list[int], every_ms: int) -> list[Sighting]:
    """Somewhere else every so often, from the epoch's start to its end."""
    times = range(EPOCH.start_ms, EPOCH.end_ms, every_ms)
    return [Sighting(ts, 0, n, 0, WHO, zones[n % len(zones)], 0, 0) for n, ts in enumerate(times)]


def check(counts: dict[str, Counter], epoch) -> None:
    for measure in epoch.measures:
        cells = counts[measure.name]
        assert math.sqrt(sum(n * n for n in cells.values())) <= sensitivity(measure, epoch) * (1 + 1e-12), measure.name
        assert sum(cells.values()) <= epoch.cap(measure), measure.name
        by_pane = Counter[int]()
        for (pane, _), number in cells.items():
            by_pane[pane] += number
        assert max(cells.values(), default=0) <= 1, measure.name
        if measure.of_presence:
            assert max(by_pane.values(), default=0) <= 1, measure.name


@settings(max_examples=150, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
@example([(10 * MINUTE, WHO, n % 2, 0, 0) for n in range(18)], 0)
@example([(10 * MINUTE, WHO, 2 + n % 3, 0, 0) for n in range(18)], 0)
def test_one_subscriber_is_within_the_sensitivity_of_every_measure(moves, seed: int) -> None:
    sightings = [s for s in sightings_of([(*m[:1], WHO, *m[2:]) for m in moves]) if s.ts < EPOCH.end_ms]
    for epoch in (EPOCH, GENEROUS):
        check(alone(sightings, epoch, seed), epoch)


@pytest.mark.parametrize("zones", [[0, 1], [0, 2], [2, 3, 4], [0, 1, 2, 3, 4]], ids=str)
@pytest.mark.parametrize("every_ms", [MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE + 1], ids=str)
def test_a_subscriber_who_never_rests_is_too(zones: list[int], every_ms: int) -> None:
    for epoch in (EPOCH, GENEROUS):
        check(alone(commuter(zones, every_ms), epoch), epoch)


@settings(max_examples=60, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
def test_the_counts_of_all_are_the_sum_of_each_ones_alone(moves, seed: int) -> None:
    """So what a subscriber adds to a crowd is what they add alone, and no more."""
    sightings = [s for s in sightings_of(moves) if s.ts < EPOCH.end_ms]
    together = alone(sightings, EPOCH, seed)
    apart: dict[str, Counter] = {name: Counter() for name in together}
    for who in {s.subscriber for s in sightings}:
        for name, cells in alone([s for s in sightings if s.subscriber == who], EPOCH, seed).items():
            apart[name].update(cells)
    assert together == apart


def test_times_are_the_epochs() -> None:
    assert EPOCH.start_ms == START
