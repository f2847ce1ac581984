"""A recording in a loop: time goes on from turn to turn, and the events with it."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pytest

from schemas.rejects import Reason
from streams.core.events.decode import decode
from streams.recording.columns import SCHEMA, records_of, times_of
from streams.recording.embedded import LAST_MS, replay_embedded
from streams.recording.file import Reader, Run
from streams.recording.loop import length_ms, shifted, turns
from streams.settings import load_settings
from tests.oracle.counting import count
from tests.oracle.gate import screen
from tests.support.deployment import policy

GOLDEN = Path(__file__).parents[1] / "golden"
HOUR = 3_600_000
PANE = 300_000
EVENT = {"event_id": "1", "imsi": "001010000000001", "cell": "001-01-0000001"}


def decoded(run: Run) -> object:
    return decode(records_of(run.table), 1 << 20)


def run_of(values: list[bytes | None], topic: str = "attach") -> Run:
    number = len(values)
    rows = [
        {"topic": topic, "partition": 0, "offset": n, "timestamp": n, "key": None, "value": value, "headers": []}
        for n, value in enumerate(values)
    ]
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    return Run(topic, 0, np.arange(number), table)


VALUES = [
    orjson.dumps(EVENT | {"ts": 1_772_427_600_000}),
    orjson.dumps(EVENT | {"ts": "2026-03-02T06:00:00.5+01:00", "name": "kept"}),
    b' [ {"a":1}, ' + orjson.dumps(EVENT | {"ts": 1_772_427_600_001}) + b",\n 7 ]  ",
    b"[" + orjson.dumps(EVENT | {"ts": 1_772_427_600_002}) + b', {"broken',
    orjson.dumps({"kind": "beat", "source": "s", "ts": 1_772_427_600_003}),
    orjson.dumps({"kind": "beat", "source": "s"}),
    orjson.dumps(EVENT | {"ts": 1_772_427_600_004})[:-1] + b',"note":"\\ud800","far":1e999}',
    b"no event",
    b"",
    None,
]


def test_times_of_events_move_and_nothing_else_does() -> None:
    before = run_of(VALUES)
    after = shifted(before, HOUR)
    old, new = decoded(before), decoded(after)
    good = old.status == Reason.OK
    assert np.array_equal(old.status, new.status)
    assert np.array_equal(old.record, new.record)
    assert np.array_equal(old.ts[good] + HOUR, new.ts[good])
    assert good.sum() == 5
    values = after.table["value"].to_pylist()
    assert values[7:] == VALUES[7:]
    assert b"kept" in values[1]
    assert values[2].startswith(b' [ {"a":1}, {') and values[2].endswith(b",\n 7 ]  ")
    assert values[3].endswith(b', {"broken')
    assert [orjson.loads(values[n]).get("ts") for n in (4, 5)] == [1_772_427_600_003 + HOUR, None]
    assert after.time.tolist() == [n + HOUR for n in range(10)] == times_of(after.table).tolist()


def test_values_of_other_topics_stay() -> None:
    assert shifted(run_of(VALUES, "footfall"), HOUR).table["value"].to_pylist() == VALUES


def test_record_times_never_go_back_and_every_turn_falls_alike_into_panes() -> None:
    reader = Reader(GOLDEN / "morning.parquet")
    length = length_ms(reader, {"attach"}, -LAST_MS, LAST_MS)
    assert length % PANE == 0 and 3 * HOUR <= length < 3 * HOUR + 2 * PANE
    one, three = ([*turns(reader, 10_000, {"attach"}, -LAST_MS, LAST_MS, number)] for number in (1, 3))
    assert len(three) == 3 * len(one)
    ends = [end for end, _ in three]
    assert ends == sorted(set(ends))
    for (end, runs), (later, moved) in zip(one, three[2 * len(one) :], strict=True):
        assert later == end + 2 * length
        assert [run.time.tolist() for run in moved] == [(run.time + 2 * length).tolist() for run in runs]


def test_two_turns_count_as_the_oracle_counts_them() -> None:
    reader = Reader(GOLDEN / "morning.parquet")
    to_ms = reader.span({"attach"})[0] + HOUR
    settings = load_settings(None, {"gateway.plan": str(GOLDEN / "plan.json")}, {})
    panes, inline, _ = replay_embedded(reader, settings, -LAST_MS, to_ms, lambda *_: None, turns_played=2)
    log, offsets = [], Counter[int]()
    for _, runs in turns(reader, 10_000, {"attach"}, -LAST_MS, to_ms, 2):
        for run in runs:
            for at, value in zip(run.time.tolist(), run.table["value"].to_pylist(), strict=True):
                log.append((run.partition, offsets[run.partition], at, value))
                offsets[run.partition] += 1
    people = {}
    for table in reader.topic("registry"):
        for key, value in zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True):
            people[key.decode()] = orjson.loads(value)
    plan = orjson.loads((GOLDEN / "plan.json").read_bytes())
    epochs = [msgspec.to_builtins(epoch) for epoch in panes.epochs.values()]
    gate = screen(log, people, policy(), plan, epochs, 10_000)
    parents = [[p["id"] for p in plan["parents"]].index(zone["parent"]) for zone in plan["zones"]]
    wanted = {key: +counts for key, counts in count(gate.sightings, epochs, parents, gate.until).panes.items()}
    found = {}
    for (epoch, end_ms, measure), vector in panes.counts.items():
        number = (end_ms - panes.epochs[epoch].start_ms) // panes.epochs[epoch].pane_ms
        keys = np.flatnonzero(vector)
        found[epoch, measure, number] = Counter(dict(zip(keys.tolist(), vector[keys].tolist(), strict=True)))
    assert found == wanted
    assert (inline.events, +inline.rejects) == (gate.events, Counter(gate.rejects.values()))
    late = inline.rejects["too_late"]
    assert 0 < late < inline.events / 10  # the second turn isn't late


def test_a_loop_without_an_end_has_nothing_to_count() -> None:
    said = subprocess.run(
        [
            *(sys.executable, "-m", "streams.cli.main", "replay"),
            *(str(GOLDEN / "morning.parquet"), "--embedded", "--loop"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2
    assert "--turns" in said.stderr


@pytest.mark.parametrize("partitions", [1, 5])
def test_turns_count_the_same_on_any_number_of_partitions(partitions: int) -> None:
    settings = load_settings(None, {"gateway.plan": str(GOLDEN / "plan.json"), "epoch.seen_ms": 180_000}, {})
    reader = Reader(GOLDEN / "morning.parquet")
    panes, _, _ = replay_embedded(reader, settings, -LAST_MS, LAST_MS, lambda *_: None, partitions, turns_played=2)
    assert panes.digest() == "f9a1a1cd92ba52fbdd11b69a6c8a92cc"
