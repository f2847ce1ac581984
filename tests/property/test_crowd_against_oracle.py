"""The crowd's compiled state machine against the oracle, on small dense worlds where every rule meets every other."""

import random
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.epochs import Epoch
from schemas.measures import Measure
from schemas.panes import pairs
from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.snapshot import restore, to_columns
from streams.core.distances import UNKNOWN
from tests.oracle.counting import Sighting, count, window

MINUTE = 60_000
START = 1_772_420_400_000
ZONES, PARENTS = 5, 2
PARENT_OF = [0, 0, 1, 1, 1]
# Zones 0 and 1 are 30 km apart (300 s), 0 and 4 about 18; 3 is in reach of 0 at once; where 2 is nobody knows.
POSITIONS = [(0, 0, 0, 0), (30_000, 0, 0, 0), None, (0, 6_000, 0, 1_000), (0, 17_999, 100, 500)]
FAR = st.sampled_from([None, POSITIONS, POSITIONS])
MEASURES = (
    Measure("present", "present", "zone", 5 * MINUTE, 0, 0.1),
    Measure("arrivals", "arrivals", "zone", 15 * MINUTE, 3, 0.2, 15 * MINUTE),
    Measure("trips_zone", "trips", "zone", 10 * MINUTE, 2, 0.2),
    Measure("trips_parent", "trips", "parent", 15 * MINUTE, 16, 0.2),
    Measure("present_cohort", "present_cohort", "zone", 30 * MINUTE, 0, 0.2),
    Measure("dwell", "dwell", "zone", 10 * MINUTE, 4, 0.05),
    Measure("trips_again", "trips", "parent", 20 * MINUTE, 2, 0.05),
    Measure("visits", "visits", "zone", 15 * MINUTE, 5, 0.05),
    Measure("dwell_parent", "dwell", "parent", 30 * MINUTE, 16, 0.05),
    Measure("travel_times", "travel_times", "zone", 15 * MINUTE, 2, 0.02),
    Measure("travel_times_parent", "travel_times", "parent", 20 * MINUTE, 16, 0.02),
    Measure("travel_times_by_pair", "travel_times_by_pair", "zone", 10 * MINUTE, 16, 0.01),
    Measure("travel_times_by_parents", "travel_times_by_pair", "parent", 15 * MINUTE, 2, 0.01),
    Measure("passes", "passes", "zone", 10 * MINUTE, 6, 0.02),
    Measure("passes_parent", "passes", "parent", 15 * MINUTE, 16, 0.02),
    Measure("work", "work", "zone", 15 * MINUTE, 3, 0.02),
    Measure("home", "home", "zone", 10 * MINUTE, 16, 0.02),
    Measure("home_parent", "home", "parent", 30 * MINUTE, 2, 0.02),
)


def epoch(number: int = 0, hours: int = 3, opens: int = 0) -> Epoch:
    start = START + number * hours * 60 * MINUTE
    return Epoch(
        epoch=20260302 + number,
        start_ms=start,
        end_ms=start + hours * 60 * MINUTE,
        opens_ms=start + opens * 60 * MINUTE,
        timezone="Europe/Berlin",
        partitions=1,
        plan="plan",
        zones=ZONES,
        parents=PARENTS,
        measures=MEASURES,
        epsilon=2.0,
        delta=2e-9,
        rho=0.058,
        k=20,
        policy="test",
        salt="s",
        sources=(0, 1),
        jump_m_s=100,
        home_until_ms=40 * MINUTE,
        work_until_ms=90 * MINUTE,
    )


EPOCHS = [epoch(0), epoch(1)]
# As a deployment that begins at noon has them.
OPENED = [epoch(0, opens=1), epoch(1)]
# Steps that land on and beside every rule's edge: more short ones, or a few use up the epochs.
SHORT = [
    *(0, 1, 7_777, 9_999, 10_000, 30_000, 59_999, 60_000, 60_001, 100_000),
    *(3 * MINUTE - 1, 3 * MINUTE, 3 * MINUTE + 1, 5 * MINUTE - 1, 5 * MINUTE, 5 * MINUTE + 1),
]
LONG = [
    *(10 * MINUTE - 1, 10 * MINUTE, 10 * MINUTE + 1, 15 * MINUTE, 20 * MINUTE - 1, 20 * MINUTE),
    *(65 * MINUTE - 1, 65 * MINUTE, 65 * MINUTE + 1),
]
STEPS = st.sampled_from(SHORT + SHORT + LONG)
KINDS = st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 6])
WHO = st.sampled_from([1, 1, 1, 2, 2, 3, 4])
ZONE, COHORT = st.integers(0, ZONES - 1), st.integers(0, 3)


def stay(step: int, who: int, zone: int, cohort: int, seen: int, beside: int) -> list[tuple[int, ...]]:
    """Somebody comes, is seen again, and is heard of beside the length of a stay: of single moves hardly any is one."""
    times = step, seen, 10 * MINUTE - seen + beside
    return [(time, who, zone, cohort, 0) for time in times]


SEEN = st.sampled_from([3 * MINUTE - 1, 3 * MINUTE, 3 * MINUTE + 1, 5 * MINUTE])
BESIDE = st.sampled_from([-1, 0, 0, 1, 5 * MINUTE])
ACTS = st.tuples(STEPS, WHO, ZONE, COHORT, KINDS).map(lambda move: [move]) | st.builds(
    stay, st.sampled_from(SHORT), WHO, ZONE, COHORT, SEEN, BESIDE
)
# Lists that may be empty have five elements on average, however many they may have.
MOVES = (st.lists(ACTS, max_size=10) | st.lists(ACTS, min_size=12, max_size=45)).map(
    lambda acts: [move for act in acts for move in act]
)


def sightings_of(moves, edge: int = 0) -> list[Sighting]:
    """Sightings in time order, alternately of two sources; `edge` shifts all of them."""
    found, ts, offsets = [], START + edge, [0, 0]
    for step, subscriber, zone, cohort, kind in moves:
        ts += step
        source = (subscriber + cohort) % 2
        found.append(Sighting(ts, source, offsets[source], 0, subscriber, zone, cohort, kind))
        offsets[source] += 1
    return found


def frames_of(sightings: list[Sighting], until: int, rng: random.Random, cut: int) -> list[bytes]:
    """The sightings as frames of about `cut` rows a section, in each source's order, watermarks behind them."""
    last = max((s.ts for s in sightings), default=START)
    queues = {source: [s for s in sightings if s.source == source] for source in (0, 1)}
    at = {0: 0, 1: 0}
    frames = []
    while any(at[source] < len(queues[source]) for source in queues):
        source = rng.choice([s for s in queues if at[s] < len(queues[s])])
        rows = queues[source][at[source] : at[source] + rng.randint(1, cut)]
        rest = queues[source][at[source] + len(rows) :]
        # All that comes later of this source is at or after its watermark.
        watermark = min((s.ts for s in rest), default=last)
        frames.append(encode_frame([section(source, at[source], rows, watermark)]))
        at[source] += len(rows)
    frames.append(encode_frame([section(source, at[source], [], until) for source in (0, 1)]))
    return frames


def section(source: int, from_: int, rows: list[Sighting], watermark: int) -> Section:
    def column(values, kind):
        return np.array(values, kind)

    return Section(
        source,
        0,
        from_,
        from_ + max(1, len(rows)),
        watermark,
        column([r.subscriber for r in rows], np.uint64),
        column([r.ts for r in rows], np.int64),
        column([r.offset for r in rows], np.int64),
        column([r.index for r in rows], np.uint32),
        column([r.zone for r in rows], np.uint16),
        column([r.cohort for r in rows], np.uint8),
        column([r.kind for r in rows], np.uint8),
    )


def run(frames: list[bytes], epochs: list[Epoch], restart: bool = False, on_tick=None, far=None):
    """Feed the frames to a crowd; with `restart` through a snapshot before each."""
    crowd = fresh(epochs, far)
    panes = list(crowd.feed(encode_control(1, [0, 1]), 0))
    for offset, frame in enumerate(frames, 1):
        if restart:
            columns = to_columns(crowd)
            crowd = fresh(epochs, far)
            restore(crowd, columns)
        panes += crowd.feed(frame, offset, on_tick)
    return crowd, panes


def fresh(epochs: list[Epoch], far=None) -> Crowd:
    known = [(0, 0, 0, UNKNOWN) if one is None else one for one in far or [None] * ZONES]
    crowd = Crowd(0, np.array(PARENT_OF, np.uint16), np.array(known, np.int64))
    for one in epochs:
        crowd.add_epoch(one)
    return crowd


def counted(panes) -> dict:
    found = {}
    for pane in panes:
        for name, counts in pane.counts.items():
            keys, values = pairs(counts)
            found[pane.epoch, name, pane.number] = Counter(dict(zip(keys.tolist(), values.tolist(), strict=True)))
    return found


def expected(sightings, epochs, until, far=None) -> tuple[dict, object]:
    result = count(sightings, [msgspec.to_builtins(e) for e in epochs], PARENT_OF, until, far)
    return {name: +counts for name, counts in result.panes.items()}, result


@settings(max_examples=200, deadline=None)
@given(
    MOVES,
    st.sampled_from([0, 1, 9_999, 165 * MINUTE, 179 * MINUTE]),
    st.integers(1, 9),
    st.integers(0, 1 << 30),
    FAR,
    st.sampled_from([EPOCHS, EPOCHS, OPENED]),
)
def test_panes_equal_the_oracles(moves, edge: int, cut: int, seed: int, far, epochs: list[Epoch]) -> None:
    sightings = [s for s in sightings_of(moves, edge) if s.ts < EPOCHS[-1].end_ms - 70 * MINUTE]
    until = max((s.ts for s in sightings), default=START) + 66 * MINUTE
    _, panes = run(frames_of(sightings, until, random.Random(seed), cut), epochs, far=far)
    assert counted(panes) == expected(sightings, epochs, until, far)[0]


@settings(max_examples=100, deadline=None)
@given(MOVES, st.integers(0, 1 << 30), FAR)
def test_sliding_windows_equal_the_oracles_at_every_tick(moves, seed: int, far) -> None:
    sightings = [s for s in sightings_of(moves) if s.ts < EPOCHS[0].end_ms - 70 * MINUTE]
    until = max((s.ts for s in sightings), default=START) + 20 * MINUTE
    _, result = expected(sightings, EPOCHS[:1], until, far)
    one = msgspec.to_builtins(EPOCHS[0])

    def compare(tick: int, crowd: Crowd) -> None:
        if (tick // 10_000) % 7 and tick % (5 * MINUTE):
            return  # every seventh tick and every pane's end: the oracle is slow
        for length in EPOCHS[0].windows_ms:
            counts = crowd.counts(length)
            got = Counter({(int(z), int(c)): int(counts[z, c]) for z, c in zip(*np.nonzero(counts), strict=True)})
            assert got == window(result, one, ZONES, tick, length), tick

    run(frames_of(sightings, until, random.Random(seed), 5), EPOCHS[:1], on_tick=compare, far=far)


@settings(max_examples=60, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
def test_framing_and_interleaving_change_nothing(moves, seed: int) -> None:
    sightings = sightings_of(moves)
    until = max((s.ts for s in sightings), default=START) + 5 * MINUTE
    until = min(until, EPOCHS[-1].end_ms)
    sightings = [s for s in sightings if s.ts < until]
    rng = random.Random(seed)
    one = run(frames_of(sightings, until, rng, 1), EPOCHS)[1]
    other = run(frames_of(sightings, until, rng, 50), EPOCHS)[1]
    assert one == other


@settings(max_examples=60, deadline=None)
@given(MOVES, st.integers(0, 1 << 30), FAR)
def test_a_restart_from_a_snapshot_before_any_frame_changes_nothing(moves, seed: int, far) -> None:
    sightings = [s for s in sightings_of(moves) if s.ts < EPOCHS[-1].end_ms]
    until = min(max((s.ts for s in sightings), default=START) + 5 * MINUTE, EPOCHS[-1].end_ms)
    frames = frames_of(sightings, until, random.Random(seed), 4)
    straight, panes = run(frames, EPOCHS, far=far)
    restarted, again = run(frames, EPOCHS, restart=True, far=far)
    assert again == panes
    if straight.last_tick_ms is not None:
        for length in EPOCHS[0].windows_ms:
            np.testing.assert_array_equal(straight.counts(length), restarted.counts(length))


@pytest.mark.parametrize("seed", range(2))
def test_a_crowd_large_enough_to_grow_every_table(seed: int) -> None:
    rng = random.Random(seed)
    sightings, ts, offsets = [], START, [0, 0]
    for _ in range(60_000):
        ts += rng.choice([0, 1, 50, 100, 200])
        source = rng.randint(0, 1)
        who, zone = rng.randint(1, 20_000), rng.randrange(ZONES)
        sightings.append(
            Sighting(ts, source, offsets[source], 0, who, zone, rng.randrange(28), rng.choice([0, 0, 0, 4]))
        )
        offsets[source] += 1
    until = ts + 20 * MINUTE
    _, panes = run(frames_of(sightings, until, rng, 3000), EPOCHS)
    assert counted(panes) == expected(sightings, EPOCHS, until)[0]
