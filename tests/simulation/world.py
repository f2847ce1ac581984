"""The few small worlds that schedules play in: raw records around an epoch's change, opt-outs and opt-ins, and what the
oracle counts.

The gateways' tables never hear of an opt-out: what they let through is what the slowest gateway may, and only the rows
in the log keep it from being counted.
"""

import random
from collections import Counter
from functools import cache
from typing import NamedTuple

import msgspec
import orjson

from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES
from schemas.registry import BEAT_KEY
from schemas.sightings import REGISTRY_SOURCE
from streams.core.epochs import EpochTable, Terms, make_epoch
from tests.oracle.counting import OPT_IN, OPT_OUT, Sighting, count
from tests.oracle.gate import screen as oracle_screen
from tests.support.raw import Written
from tests.support.world import ORACLE_POLICY, PLAN, TERMS

# 03:38 local time; the epoch changes 22 minutes later.
START = 1_772_419_080_000
LENGTH = 34 * 60_000
WORLDS = 4
PEOPLE = 12
SOURCES = PARTITIONS = 2
LATENESS_MS = 10_000
ALL_SOURCES = (*range(SOURCES), REGISTRY_SOURCE)
WORLD_TERMS: Terms = TERMS._replace(partitions=PARTITIONS, measures=DEFAULT_MEASURES[:2], sources=ALL_SOURCES)
BEAT_MS = 20_000

Measured = tuple[int, str, int]  # epoch, measure, number of the pane
Position = tuple[int, int, int]  # source, offset, index


class World(NamedTuple):
    """Raw batches by source, with the registry as it was before and its log, and what the oracle makes of them.

    `lost`: batches (source, number) that retention takes before anybody can read them, with the times of their events.
    """

    batches: dict[int, list[list[Written]]]
    changes: list[Written]
    registry: dict[str, dict[str, object]]
    epochs: list[Epoch]
    panes: dict[Measured, Counter]
    rejects: dict[Position, str]
    lost: dict[tuple[int, int], list[int]]


@cache
def world(number: int, *, opting: bool, losing: bool = False) -> World:
    """A world of the few there are. `opting`: people opt out and in again. `losing`: some raw records are lost."""
    rng = random.Random(number)
    imsis = [f"00101{n:010d}" for n in range(PEOPLE)]
    registry = {imsi: _person(imsi, 1970 + n) for n, imsi in enumerate(imsis)}
    batches = {source: _source(rng, imsis) for source in range(SOURCES)}
    lost = _lost(batches) if losing else {}
    log = [
        (source, offset, time, value)
        for source, found in batches.items()
        for offset, (at, (time, _, value, _)) in enumerate(
            (at, each) for at, batch in enumerate(found) for each in batch
        )
        if (source, at) not in lost
    ]
    epochs = _epochs()
    builtin = [msgspec.to_builtins(epoch) for epoch in epochs]
    gate = oracle_screen(log, registry, ORACLE_POLICY, msgspec.to_builtins(PLAN), builtin, LATENESS_MS)
    changes = _changes(rng, registry if opting else {})
    sightings = [*gate.sightings, *_rows(changes, epochs)]
    result = count(sightings, builtin, list(PLAN.zone_parents()), gate.until)
    panes = {key: +counts for key, counts in result.panes.items()}
    return World(batches, changes, registry, epochs, panes, gate.rejects, lost)


def _lost(batches: dict[int, list[list[Written]]]) -> dict[tuple[int, int], list[int]]:
    """Two batches of the first source, one of them right behind another that is lost, and one of the second."""
    rng = random.Random(len(batches[0]))
    third, other = len(batches[0]) // 3, len(batches[1])
    first, second = rng.randrange(2, third), rng.randrange(third + 2, 2 * third)
    chosen = [(0, first), (0, second), (0, second + 1), (1, rng.randrange(2, other - 2))]
    return {
        (source, at): [orjson.loads(value or b"")["ts"] for _, _, value, _ in batches[source][at]]
        for source, at in chosen
    }


def _epochs() -> list[Epoch]:
    """The epochs as whoever opens them first will."""
    table = EpochTable()
    for ts in (START, START + LENGTH):
        table.add(make_epoch(ts, WORLD_TERMS, table))
    return table.epochs


def _person(imsi: str, born: int) -> dict[str, object]:
    return {
        "imsi": imsi,
        "birth_year": born,
        "gender": None,
        "consent": {"marketing": "granted"},
        "opted_out": False,
    }


def _changes(rng: random.Random, registry: dict[str, dict[str, object]]) -> list[Written]:
    """The registry's log: some opt out, some of them in again, and beats in between."""
    beats = [(time, BEAT_KEY, b"") for time in range(START, START + LENGTH + 2 * BEAT_MS, BEAT_MS)]
    said = []
    for imsi in rng.sample(sorted(registry), len(registry) // 2):
        out = START + rng.randrange(LENGTH)
        for time, opted_out in ((out, True), (out + rng.randrange(LENGTH), False)):
            said.append((time, imsi.encode(), orjson.dumps({**registry[imsi], "opted_out": opted_out})))
    kept = [change for change in said if change[0] < START + LENGTH]
    return [(time, key, value, []) for time, key, value in sorted([*beats, *kept])]


def _rows(changes: list[Written], epochs: list[Epoch]) -> list[Sighting]:
    """What the registry's log says of everybody, in every epoch that isn't over."""
    return [
        Sighting(max(time, epoch.opens_ms), REGISTRY_SOURCE, offset, number, key.decode(), 0, 0, kind)
        for offset, (time, key, value, _) in enumerate(changes)
        if key is not None and key != BEAT_KEY
        for kind in (OPT_OUT if orjson.loads(value or b"")["opted_out"] else OPT_IN,)
        for number, epoch in enumerate(epochs)
        if time < epoch.end_ms
    ]


def _source(rng: random.Random, imsis: list[str]) -> list[list[Written]]:
    batches: list[list[Written]] = []
    time = START
    while time < START + LENGTH:
        batch: list[Written] = []
        for _ in range(rng.randint(3, 10)):
            time += rng.choice([0, 2_000, 10_000, 20_000])
            batch.append((time, None, orjson.dumps(_event(rng, time, imsis)), []))
        batches.append(batch)
    return batches


def _event(rng: random.Random, time: int, imsis: list[str]) -> dict[str, object]:
    early = rng.choice([0, 0, 1_000, 9_000, 9_999, 10_000, 15_000, -30_000, -58_000])
    return {
        "event_id": "e",
        "imsi": rng.choice([*imsis, "bad"]),
        "ts": time - early,
        "cell": f"001-01-000{rng.randrange(12):04x}",
        "kind": rng.choice(["update", "attach", "handover", "service", "detach"]),
    }
