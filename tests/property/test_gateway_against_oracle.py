"""Screening, in columns, against the oracle's one event at a time."""

import json
import random
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from schemas.rejects import Reason
from streams.core.events.decode import decode
from streams.core.events.machines import read_machines
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import Screened, screen
from streams.core.gateway.lateness import behind
from streams.core.gateway.pseudonyms import pseudonym
from tests.oracle.gate import screen as oracle_screen
from tests.support.raw import records_of
from tests.support.world import ORACLE_POLICY, PLAN, context_of, epochs_at, salt_of

START = 1_772_420_400_000 + 23 * 3_600_000  # an hour before pseudonyms change
HOUR = 3_600_000
MACHINE = "00000000"
NEVER = -(1 << 60)
IMSIS = [f"00101{n:010d}" for n in range(30)] + [f"00102{n:010d}" for n in range(3)]
IMSIS += ["262011234567890", "310410123456789", "00101123456789"]


def registry_of(rng: random.Random) -> dict:
    people = {}
    for imsi in IMSIS:
        if rng.random() < 0.1:
            continue
        state = rng.choice(["granted"] * 6 + ["denied", "revoked", "pending"])
        people[imsi] = {
            "imsi": imsi,
            "birth_year": rng.choice([None, 1950, 1970, 1990, 2000, 2008, 2009, 2020]),
            "gender": rng.choice(["female", "male", "other", None]),
            "consent": {"marketing": state, "traffic": "granted"},
            "opted_out": rng.random() < 0.1,
            "machine": rng.random() < 0.1,
        }
    return people


def log_of(rng: random.Random, records: int) -> list[tuple[int, int, int, bytes | None]]:
    time, log = START, []
    for offset in range(records):
        time += rng.choice([0, 100, 1000, 5000, 20_000])
        draw = rng.random()
        if draw < 0.05:
            value = rng.choice([None, b"", b"{", b'{"kind":"beat","source":"s","ts":1}', b"[]"])
        else:
            events = [event_of(rng, time) for _ in range(1 if draw < 0.6 else rng.randint(1, 5))]
            value = json.dumps(events[0] if len(events) == 1 else events).encode()
        log.append((0, offset, time + rng.choice([0, 0, 0, -3000]), value))
    return log


def event_of(rng: random.Random, time: int) -> dict:
    late = rng.choice([0, 0, 0, 500, 9_999, 10_000, 10_001, 15_000, -59_999, -60_000, -60_001])
    return {
        "event_id": "e",
        "imsi": rng.choice([*IMSIS, "bad"]),
        "ts": time - late,
        "cell": f"001-01-000{rng.randrange(14):04x}",
        "kind": rng.choice(["update", "attach", "handover", "service", "detach"]),
        "tac": rng.choice([None, "00100000", "35000000", MACHINE, "99999999", "3500000"]),
    }


@pytest.mark.parametrize("seed", range(30))
def test_rows_rejects_and_drops_equal_the_oracles(seed: int) -> None:
    rng = random.Random(seed)
    registry, log = registry_of(rng), log_of(rng, 400)
    epochs = epochs_at(START, START + 2 * HOUR)
    gate = oracle_screen(
        log,
        registry,
        ORACLE_POLICY,
        msgspec.to_builtins(PLAN),
        [msgspec.to_builtins(epoch) for epoch in epochs],
        10_000,
        {MACHINE, "99999999"},
    )
    machines = read_machines(f"# what counts no people\n{MACHINE}, a meter\n\n99999999\n")
    context = replace(context_of(epochs, registry), machines=machines)
    rows, rejects, drops, highest, begin = [], {}, Counter(), NEVER, 0
    while begin < len(log):
        part = log[begin : begin + rng.randint(1, 120)]
        records = records_of([value for *_, value in part], [time for _, _, time, _ in part])
        records = records._replace(offset=records.offset + begin)
        events = decode(records, 262_144)
        screened = screen(records, events, highest, context)
        assert screened.needs_epoch is None
        rows += rows_of(screened)
        drops.update(screened.dropped)
        for row, reason in zip(*screened.rejected, strict=True):
            position = (0, int(records.offset[events.record[row]]), int(events.index[row]))
            rejects[position] = Reason(reason).name
        highest, begin = screened.running_max, begin + len(part)
    assert rejects == gate.rejects
    assert drops == gate.drops and drops["machine"] > 0
    assert highest - 10_000 == gate.until
    names = {(epoch.epoch, imsi): pseudonym(imsi.encode(), salt_of(epoch.epoch)) for epoch in epochs for imsi in IMSIS}
    expected = [
        (
            names[next(e.epoch for e in epochs if e.start_ms <= s.ts < e.end_ms), s.subscriber],
            *(s.ts, s.offset, s.index, s.zone, s.cohort, s.kind),
        )
        for s in gate.sightings
    ]
    assert sorted(rows) == sorted(expected)


def rows_of(screened: Screened) -> list[tuple[int, ...]]:
    columns = (screened.pseudonym, screened.ts, screened.offset, screened.index)
    columns += (screened.zone, screened.cohort, screened.kind)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    for target in range(4):
        of_target = rows[screened.starts[target] : screened.starts[target + 1]]
        assert all((row[0] >> 32) * 4 >> 32 == target for row in of_target)
        assert [row[2:4] for row in of_target] == sorted(row[2:4] for row in of_target)
    return rows


def test_an_unknown_epoch_is_asked_for_before_anything_is_decided() -> None:
    epochs = epochs_at(START)
    context = context_of(epochs, {})
    value = json.dumps(event_of(random.Random(1), START) | {"ts": epochs[0].end_ms + 5, "cell": "001-01-0000001"})
    value = value.replace("bad", IMSIS[0])
    records = records_of([value.encode()], [epochs[0].end_ms])
    assert screen(records, decode(records, 1000), NEVER, context).needs_epoch == epochs[0].end_ms + 5


def test_a_machine_of_the_registry_is_dropped_and_counted_by_a_reason_of_its_own() -> None:
    person = {"imsi": IMSIS[0], "birth_year": 1980, "consent": {"marketing": "granted"}}
    event = {"event_id": "e", "imsi": IMSIS[0], "ts": START, "cell": "001-01-0000001"}
    records = records_of([json.dumps(event).encode()], [START])
    for machine in (False, True):
        context = context_of(epochs_at(START), {IMSIS[0]: person | {"machine": machine}})
        screened = screen(records, decode(records, 1000), NEVER, context)
        assert screened.dropped == ({"registered_machine": 1} if machine else {})
        assert len(screened.ts) == (not machine)


def test_a_destroyed_salt_rejects_its_epochs_events() -> None:
    epochs = epochs_at(START)
    registry = {IMSIS[0]: registry_of(random.Random(2)).get(IMSIS[0]) or {}}
    registry[IMSIS[0]] = {"imsi": IMSIS[0], "birth_year": 1980, "consent": {"marketing": "granted"}}
    context = context_of(epochs, registry)
    context.salts.pop(epochs[0].epoch)  # type: ignore[attr-defined]
    object.__setattr__(context, "gone", {epochs[0].epoch})
    event = {"event_id": "e", "imsi": IMSIS[0], "ts": START, "cell": "001-01-0000001"}
    records = records_of([json.dumps(event).encode()], [START])
    screened = screen(records, decode(records, 1000), NEVER, context)
    assert screened.rejected[1].tolist() == [Reason.salt_gone]


@pytest.mark.parametrize("seed", range(5))
def test_frames_cover_every_offset_of_every_source_for_every_target(seed: int) -> None:
    from schemas.sightings import Section, decode_frame

    rng = random.Random(seed)
    registry = {imsi: {"imsi": imsi, "birth_year": 1980, "consent": {"marketing": "granted"}} for imsi in IMSIS}
    context = context_of(epochs_at(START, START + 2 * HOUR), registry)
    framer = Framer(4, behind(10_000))
    logs = {source: log_of(rng, 200) for source in (0, 1, 2)}
    at = dict.fromkeys(logs, 0)
    for source in logs:
        framer.open(source, Mark(0, NEVER))
    sections: dict[int, list[Section]] = {target: [] for target in range(4)}
    sent = 0
    while any(at[source] < 200 for source in logs):
        source = rng.choice([s for s in logs if at[s] < 200])
        part = logs[source][at[source] : at[source] + rng.randint(1, 30)]
        records = records_of([value for *_, value in part], [time for _, _, time, _ in part])
        records = records._replace(offset=records.offset + at[source])
        mark = framer.mark(source)
        assert mark is not None and mark.next_offset == at[source]
        screened = screen(records, decode(records, 262_144), mark.running_max, context)
        at[source] += len(part)
        sent += len(screened.ts)
        framer.add(source, screened, at[source])
        if rng.random() < 0.4:
            collect(framer, sections, decode_frame)
    collect(framer, sections, decode_frame)
    assert framer.take() is None
    assert sum(len(section.ts) for each in sections.values() for section in each) == sent
    for each in sections.values():
        for source in logs:
            own = [section for section in each if section.source == source]
            assert [section.from_ for section in own] == [0] + [section.to for section in own[:-1]]
            assert own[-1].to == 200
            assert np.all(np.diff([section.watermark_ms for section in own]) >= 0)


def collect(framer, sections, decode_frame) -> None:
    flush = framer.take()
    if flush is not None:
        for target, frame in enumerate(flush.frames):
            sections[target] += decode_frame(frame)
