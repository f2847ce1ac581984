"""What the Python peers share counts as the harness's oracle does, whatever the framework around it."""

import importlib.util
import json
from pathlib import Path

import pytest

from benchmarks.peers import oracle
from benchmarks.peers.job import SHAPES, START_MS, Size, blocks, cell_texts, draw, zone_of
from benchmarks.peers.outputs import Sums, differences
from benchmarks.peers.peers import PEERS, PYTHON

_SPEC = importlib.util.spec_from_file_location("peers_python_job", Path(oracle.__file__).parent / "python" / "job.py")
job = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(job)

SIZE = Size(300, 6_000, 20, 60_000)
PARTITIONS = 4
ZONES = {text: zone_of(number) for number, text in enumerate(cell_texts())}
GOOD = {"event_id": "x", "imsi": "001010000000001", "ts": START_MS, "cell": cell_texts()[7]}


@pytest.fixture(scope="module")
def events():
    return draw(SIZE)


def added(records: list[bytes]) -> Sums:
    sums = Sums()
    for record in records:
        sums.add(record)
    sums.drop_zeros()
    return sums


def reader(batched: bool = False):
    return job.Reader(ZONES, START_MS, SIZE.pane_ms, batched)


def told(events, shape: str, part: int) -> list[bytes]:
    crowd = job.Crowd(1_000, range(PARTITIONS), part)
    read = reader(shape == "batched").read
    return [
        record
        for block in blocks(SIZE, events, SHAPES[shape], PARTITIONS)
        for _, value in block.values()
        for record in crowd.take(block.partition, read(value))
    ]


@pytest.mark.parametrize("part", [50, 1_000, 1_000_000])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_sums_are_the_oracles_in_parts_of_any_size(events, shape, part):
    partitions = [[value for _, value in block.values()] for block in blocks(SIZE, events, 1, PARTITIONS)]
    right = oracle.count(partitions, ZONES, START_MS, SIZE.pane_ms)
    assert right.rejected > 0
    assert differences(right, added(told(events, shape, part)), SIZE.panes) == []


def test_all_is_told_when_the_last_partition_has_passed(events):
    records = told(events, "single", 1_000_000)
    assert added(records[:-1]).events != added(records).events
    assert added(records).done(SIZE.panes) == events.good


@pytest.mark.parametrize(
    "fault",
    [
        {"imsi": "00101000000000x"},
        {"imsi": "901010000000001"},
        {"imsi": "0010100000001"},
        {"imsi": "0010100000000012"},
        {"imsi": "00101000000000１"},
        {"imsi": None},
        {"ts": "yesterday"},
        {"ts": START_MS + 0.5},
        {"ts": 1},
        {"cell": "001-01-fffffff"},
        {"event_id": ""},
    ],
)
def test_a_faulty_event_is_rejected_alone(fault):
    faulty = {**GOOD, **fault}
    assert reader().read(json.dumps(faulty).encode()) == ([], 1)
    rows, rejected = reader(batched=True).read(json.dumps([GOOD, faulty, GOOD]).encode())
    assert (len(rows), rejected) == (2, 1)


@pytest.mark.parametrize("field", GOOD)
def test_each_needed_field_is_needed(field):
    assert reader().read(json.dumps({key: value for key, value in GOOD.items() if key != field}).encode()) == ([], 1)


@pytest.mark.parametrize("value", [b"", b"{", b"[", b"[{]", b"7", b"\xff"])
def test_what_is_no_event_is_one_reject(value):
    assert reader().read(value) == ([], 1)
    assert reader(batched=True).read(value) == ([], 1)


def test_unknown_fields_are_passed_over_and_no_row_holds_an_imsi():
    rows, rejected = reader().read(json.dumps({**GOOD, "tac": "35000001", "more": [1]}).encode())
    [(who, zone, pane)] = rows
    assert (zone, pane, rejected, len(who)) == (7, 0, 0, 8)
    assert GOOD["imsi"].encode() not in who


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.kind == "python"], ids=lambda peer: peer.name)
def test_each_python_peer_is_there_with_exact_versions_and_says_what_it_leaves_out(peer):
    assert (PYTHON / f"{peer.main}.py").exists()
    lines = [line for line in (PYTHON / f"{peer.main}.txt").read_text().splitlines() if not line.startswith("#")]
    assert lines
    assert all(line.count("==") == 1 for line in lines)
    assert "no sorting" in peer.leaves_out
