"""Machines by their behaviour, in columns, against a plain reading of the rules; and whom they may not name."""

import random
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pytest

from schemas.attach import ATTACH, DETACH, HANDOVER, SERVICE, UPDATE
from streams.core.events.behaviour import BUSY_A_DAY, DAY_MS, HOUR_MS, Evidence

START = 1_772_420_400_000  # 04:00, an hour ahead of UTC
AHEAD = HOUR_MS
DAYS = 3


def plainly(events: list[tuple[int, int, int]]) -> dict[int, set[str]]:
    """`events`: (imsi, ts, kind)."""
    own, found = defaultdict(list), {}
    for imsi, ts, kind in events:
        if START <= ts < START + DAYS * DAY_MS:
            own[imsi].append((ts, kind))
    for imsi, heard in own.items():
        asked = [ts for ts, kind in sorted(heard) if kind in (SERVICE, ATTACH)]
        hours = [(ts + AHEAD) // HOUR_MS % 24 for ts in asked]
        times = sorted(set(asked))
        gaps = [(after - before, (after + AHEAD) // HOUR_MS % 24) for before, after in pairwise(times)]
        by_day = [n for n, (_, hour) in enumerate(gaps) if n and 8 <= hour < 20]
        alike = [any(abs(gaps[n][0] - gap) <= gap // 20 + 10_000 for gap, _ in gaps[max(n - 3, 0) : n]) for n in by_day]
        rules = set()
        night = sum(hour in (23, 0, 1, 2, 3, 4) for hour in hours)
        if len(by_day) >= 5 and sum(alike) >= 0.8 * len(by_day) and night >= 0.75 * len(asked) * 6 / 24:
            rules.add("clockwork")
        if len(heard) > 1440 * DAYS:
            rules.add("busy")
        if rules:
            found[imsi] = rules
    return found


def by_clock(rng: random.Random, imsi: int, period: int, missed: float) -> list[tuple[int, int, int]]:
    first, jitter = START - period + rng.randrange(period), rng.choice([0, 2000, period // 10])
    beats = range(first, START + DAYS * DAY_MS + period, period)
    return [(imsi, at + rng.randint(0, jitter), SERVICE) for at in beats if rng.random() >= missed]


def by_chance(rng: random.Random, imsi: int, a_day: int) -> list[tuple[int, int, int]]:
    times = [START + rng.randrange(DAYS * DAY_MS) for _ in range(a_day * DAYS)]
    return [(imsi, ts, rng.choice([UPDATE, ATTACH, HANDOVER, SERVICE, SERVICE, DETACH])) for ts in times]


def found(events: list[tuple[int, int, int]], parts: int = 1) -> dict[int, set[str]]:
    evidence = Evidence(START, DAYS, AHEAD)
    events = sorted(events, key=lambda event: event[1])
    for part in np.array_split(np.array(events, np.int64), parts):
        shuffled = part[np.random.default_rng(len(part)).permutation(len(part))]
        evidence.add(shuffled[:, 0].astype(np.uint64), shuffled[:, 1], shuffled[:, 2].astype(np.uint8))
    return {one.imsi: set(one.rules) for one in evidence.found()}


@pytest.mark.parametrize("seed", range(25))
def test_it_names_whom_the_rules_name_however_the_log_is_cut(seed: int) -> None:
    rng, events = random.Random(seed), []
    for imsi in range(1, 30):
        for _ in range(rng.choice([1, 1, 2])):
            period = rng.choice([45_000, 300_000, 900_000, 3_600_000, 21_600_000])
            events += by_clock(rng, imsi, period, rng.choice([0, 0.02, 0.1])) if rng.random() < 0.6 else []
        events += by_chance(rng, imsi, rng.choice([0, 0, 1, 5, 30, 100, 1500]))
    expected = plainly(events)
    assert found(events, rng.choice([1, 2, 40])) == expected
    assert set().union(*expected.values()) == {"clockwork", "busy"}


def test_nobodys_events_change_what_is_said_of_another() -> None:
    rng = random.Random(1)
    own = {imsi: by_clock(rng, imsi, 900_000, 0.0) if imsi % 2 else by_chance(rng, imsi, 40) for imsi in range(1, 20)}
    together = found([event for each in own.values() for event in each])
    assert together == {imsi: rules for imsi, each in own.items() for rules in found(each).values()}


def test_a_phone_that_only_the_network_asks_by_the_clock_is_nobodys_machine() -> None:
    updates = [(1, START + n * 54 * 60_000, UPDATE) for n in range(DAYS * DAY_MS // (54 * 60_000))]
    assert found(updates) == {}


def test_reports_by_day_alone_are_no_machines() -> None:
    events = by_clock(random.Random(1), 1, 900_000, 0.0)
    awake = [event for event in events if 6 <= (event[1] + AHEAD) // HOUR_MS % 24 < 22]
    assert found(events) == {1: {"clockwork"}}
    assert found(awake) == {}


def test_an_event_a_minute_is_as_many_as_anybody_may_make() -> None:
    for more in (0, 1):
        events = [(1, START + n * 60_000 + n % 7, UPDATE) for n in range(BUSY_A_DAY * DAYS)] + [
            (1, START, UPDATE)
        ] * more
        assert found(events) == ({1: {"busy"}} if more else {})
