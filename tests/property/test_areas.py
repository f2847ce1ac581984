"""Home and work areas against the oracle: a day of visits by one person, so short that every rule decides something."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.measures import Measure
from tests.oracle.counting import DETACH, OPT_IN, OPT_OUT, Sighting
from tests.property.test_crowd_against_oracle import EPOCHS, MINUTE, START, ZONES, counted, expected, frames_of, run

EPOCH = replace(
    EPOCHS[0],
    end_ms=START + 6 * 60 * MINUTE,
    jump_m_s=0,
    home_until_ms=70 * MINUTE,
    work_until_ms=150 * MINUTE,
    measures=(
        Measure("home", "home", "zone", 15 * MINUTE, 3, 0.2),
        Measure("work", "work", "zone", 30 * MINUTE, 4, 0.2),
        Measure("home_parent", "home", "parent", 60 * MINUTE, 16, 0.2),
    ),
)
# How long somebody is away before a visit, how long it lasts, and what the phone does then.
AWAY = st.sampled_from([0, 0, 0, 1, 4 * MINUTE, 20 * MINUTE, 70 * MINUTE])
LENGTHS = st.sampled_from(
    [
        *(2 * MINUTE, 9 * MINUTE, 10 * MINUTE - 1, 10 * MINUTE, 10 * MINUTE + 999, 10 * MINUTE + 1000),
        *(20 * MINUTE, 20 * MINUTE + 500, 30 * MINUTE, 60 * MINUTE),
    ]
)
AFTER = st.sampled_from([None, None, None, None, None, DETACH, OPT_OUT])
VISITS = st.lists(st.tuples(AWAY, st.integers(0, ZONES - 1), LENGTHS, AFTER), min_size=2, max_size=12)


def sightings(visits) -> list[Sighting]:
    found, ts = [], START + 1
    for away, zone, length, after in visits:
        ts += away
        steps = [(ts, OPT_IN), (ts, 0), (ts + min(length, 3 * MINUTE), 0), (ts + length, 0)]
        ts += length
        steps += [(ts, after)] if after is not None else []
        found += [(at, zone, kind) for at, kind in steps]
    return [Sighting(ts, 0, number, 0, 1, zone, 0, kind) for number, (ts, zone, kind) in enumerate(found)]


@settings(max_examples=300, deadline=None)
@given(VISITS, st.integers(0, 1 << 30), st.booleans())
def test_areas_equal_the_oracles_also_over_a_snapshot(visits, seed: int, restart: bool) -> None:
    rows = [row for row in sightings(visits) if row.ts < EPOCH.end_ms - 70 * MINUTE]
    until = EPOCH.end_ms - 1
    _, panes = run(frames_of(rows, until, random.Random(seed), 4), [EPOCH], restart=restart)
    assert counted(panes) == expected(rows, [EPOCH], until)[0]
