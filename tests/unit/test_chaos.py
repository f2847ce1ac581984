"""Chaos must be able to fail: what is planted into a run's records is found, and nothing else."""

import asyncio
import random
from collections import Counter
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import orjson
import pytest

from schemas.ledger import LedgerRecord, Publication
from schemas.panes import Pane, from_dense
from schemas.rejects import Reason
from schemas.sightings import LOST, Section
from streams.core.events.decode import decode
from streams.core.release.release import seal
from tests.chaos import __main__ as chaos
from tests.chaos.faults import BROKERS, LANES, WORKERS, dealt, faults, lanes, left_out
from tests.chaos.field import Turns
from tests.chaos.judge import (
    Published,
    differing_panes,
    differing_repeats,
    lost_ranges,
    releases,
    wrong_coverage,
    wrong_publications,
    wrong_rejects,
    wrong_releases,
)
from tests.chaos.load import poison
from tests.chaos.oracle import Raw, joined
from tests.chaos.server_faults import Copies
from tests.chaos.summary import table
from tests.oracle.gate import read_record
from tests.support.raw import records_of

NAME = (20260302, "present", 12)
COUNTS = Counter({0: 40, 2: 7})
RELEASED = orjson.dumps({"schema": "footfall/1", "measure": "present", "zone": "z", "end": "12:00", "noisy": 44})


def drawn(
    name: tuple[int, str, int] = NAME, noisy: tuple[int, ...] = (44, -3, 9), kind: str = "release"
) -> LedgerRecord:
    epoch, measure, number = name
    said = seal([Publication("footfall", b"z", RELEASED)])
    data = np.array(noisy, "<i8").tobytes()
    return LedgerRecord(epoch, measure, number, 0, 1, kind, data, 5.0, b"", said, 0, 0.01, "w")  # type: ignore[arg-type]


PUBLISHED = Published("footfall", b"z", RELEASED)


def test_equal_panes_do_not_differ() -> None:
    assert differing_panes({NAME: COUNTS}, {NAME: COUNTS + Counter()}) == []
    assert differing_panes({NAME: COUNTS}, {NAME: Counter({**COUNTS, 5: 0})}) == []


@pytest.mark.parametrize(
    ("panes", "wanted", "word"),
    [
        ({NAME: Counter({0: 40, 2: 8})}, {NAME: COUNTS}, "2: (8, 7)"),
        ({NAME: Counter({0: 40})}, {NAME: COUNTS}, "2: (0, 7)"),
        ({}, {NAME: COUNTS}, "missing"),
        ({NAME: COUNTS}, {}, "not wanted"),
    ],
)
def test_a_pane_that_differs_is_found(panes: dict, wanted: dict, word: str) -> None:
    (found,) = differing_panes(panes, wanted)
    assert word in found


def test_a_pane_repeated_differently_is_found() -> None:
    pane = Pane(1, 0, 8, 3, 0, 1, 1, {"present": from_dense(np.array([1, 2]))}, 3)
    other = msgspec.structs.replace(pane, heard=4)
    assert differing_repeats([pane, pane]) == []
    assert len(differing_repeats([pane, other, pane])) == 1


def test_the_first_record_of_a_pane_is_its_release() -> None:
    assert releases([drawn(), drawn(noisy=(1, 1, 1))]) == {NAME: drawn()}


@pytest.mark.parametrize(
    ("firsts", "wanted", "word"),
    [
        ({}, {NAME: COUNTS}, "not in the ledger"),
        ({NAME: drawn()}, {}, "nobody counted"),
        ({NAME: drawn(kind="void")}, {NAME: COUNTS}, "void"),
        ({NAME: drawn(noisy=(81, -3, 9))}, {NAME: COUNTS}, "41 from what was counted"),
        ({NAME: drawn(noisy=(44, -41, 9))}, {NAME: COUNTS}, "41 from what was counted"),
    ],
)
def test_a_wrong_release_is_found(firsts: dict, wanted: dict, word: str) -> None:
    assert wrong_releases({NAME: drawn()}, {NAME: COUNTS}) == []
    (found,) = wrong_releases(firsts, wanted)
    assert word in found


@pytest.mark.parametrize(
    ("published", "word"),
    [
        ([], "1 records of it were not published"),
        ([PUBLISHED, PUBLISHED._replace(value=RELEASED.replace(b"44", b"45"))], "not the same"),
        ([PUBLISHED, PUBLISHED._replace(value=RELEASED.replace(b"12:00", b"12:05"))], "not what the ledger"),
        ([PUBLISHED, PUBLISHED._replace(key=b"y")], "not what the ledger"),
        ([PUBLISHED, PUBLISHED._replace(topic="flows")], "not what the ledger"),
    ],
)
def test_a_wrong_publication_is_found(published: list[Published], word: str) -> None:
    assert wrong_publications({NAME: drawn()}, [PUBLISHED, PUBLISHED]) == []
    (found,) = wrong_publications({NAME: drawn()}, published)
    assert word in found


def test_parts_of_a_place_are_not_repeats_of_each_other() -> None:
    parts = [
        Publication("dwell", b"z", orjson.dumps({"measure": "dwell", "zone": "z", "end": "12:00", **part}))
        for part in ({}, {"bucket": "under_5"}, {"bucket": "5_10"}, {"visit": "first"})
    ]
    ledger = {NAME: msgspec.structs.replace(drawn(), publish=seal(parts))}
    assert wrong_publications(ledger, [Published(part.topic, part.key, part.value) for part in parts]) == []


def test_a_release_that_covers_something_else_than_its_panes_is_found() -> None:
    whole = Pane(*NAME[:1], 0, 2, NAME[2], 0, 1, 1, {}, 3)
    panes = [msgspec.structs.replace(whole, lacking={"present": 1}, sources=4), whole]

    def covering(share: float) -> dict[tuple[int, str, int], LedgerRecord]:
        said = [Publication("footfall", b"z", orjson.dumps({"measure": "present", "covered": share}))]
        return {NAME: msgspec.structs.replace(drawn(), publish=seal(said))}

    assert wrong_coverage(panes, covering(0.875), {3: [(4, 9)]}) == []
    assert wrong_coverage([whole, whole], covering(1.0), {}) == []
    assert "covers [1.0], where its panes say 0.875" in wrong_coverage(panes, covering(1.0), {3: [(4, 9)]})[0]
    assert "records were lost, the panes of partitions []" in wrong_coverage([whole], {}, {3: [(4, 9)]})[0]
    assert "of sources [] records were lost" in wrong_coverage(panes, {}, {})[0]


def test_rejects_must_be_the_wanted_ones() -> None:
    wanted = {(0, 5, 0): "bad_imsi"}
    assert wrong_rejects([((0, 5, 0), "bad_imsi"), ((0, 5, 0), "bad_imsi")], wanted) == []
    assert len(wrong_rejects([], wanted)) == 1
    assert len(wrong_rejects([((0, 5, 0), "bad_cell")], wanted)) == 1
    assert len(wrong_rejects([((0, 5, 0), "bad_imsi"), ((0, 6, 0), "bad_imsi")], wanted)) == 1
    assert len(wrong_rejects([((0, 5, 0), "bad_imsi"), ((0, 5, 0), "too_late")], wanted)) == 1


def section(from_: int, to: int, offsets: tuple[int, ...] = (), flags: int = 0) -> Section:
    none = np.zeros(len(offsets), np.uint64)
    return Section(3, flags, from_, to, 0, none, none, np.array(offsets, np.int64), none, none, none, none)  # type: ignore[arg-type]


def test_what_was_told_as_lost_is_what_the_chain_took_as_lost() -> None:
    log = [section(0, 10, (4,)), section(10, 40, (30,), LOST), section(10, 20, (12,)), section(20, 35, (), LOST)]
    assert lost_ranges({0: log, 1: log}, {3: [25]}) == ({3: [(10, 25)]}, [])
    assert lost_ranges({0: [section(0, 10), section(9, 12)]}, {}) == ({}, [])


def test_a_wrongly_told_loss_is_found() -> None:
    told = [section(0, 10), section(10, 40, (30,), LOST)]
    assert "nothing was deleted" in lost_ranges({0: told}, {}).wrong[0]
    assert "nothing was deleted" in lost_ranges({0: told}, {3: [50]}).wrong[0]
    assert "rows below 35" in lost_ranges({0: told}, {3: [35]}).wrong[0]
    assert "not told the same" in lost_ranges({0: told, 1: [section(0, 40)]}, {3: [25]}).wrong[0]


@pytest.mark.parametrize("seed", range(20))
def test_gateway_and_oracle_refuse_poison_for_the_same_reasons(seed: int) -> None:
    for value in poison(random.Random(seed), 1_772_427_600_000):
        status = decode(records_of([value]), 262_144).status.tolist()
        told = ["beat" if s == Reason.BEAT else Reason(s).name if s else None for s in status]
        assert told == [read if isinstance(read, str) else None for read in read_record(value)]


def test_the_oracle_reads_the_log_whole_or_not_at_all() -> None:
    log: Raw = [(0, offset, 0, b"") for offset in range(9)]
    assert joined([log[:3], log[3:5], log[5:]], 9) == log
    assert joined([log[:3], log[:5], log], 9) == log
    with pytest.raises(ValueError, match="8 of 9"):
        joined([log[:3], log[4:]], 9)


def test_an_unknown_fault_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CHAOS_FAULTS", "kill,quake")
    assert chaos.main() == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and "quake" in said.err


def test_a_run_that_showed_less_than_it_should_is_not_good() -> None:
    said: dict[str, object] = {"faults": {"kill": 1}, "left_out": {"tcp": "no Go"}, "events_per_s": 20_500}
    assert chaos.short_of(said, ["kill", "tcp"], 20_000) == []
    assert "stop" in chaos.short_of(said, ["kill", "stop"], 20_000)[0]
    assert "19000" in chaos.short_of(said | {"events_per_s": 19_000}, ["kill"], 20_000)[0]


@pytest.mark.parametrize(("brokers", "number"), [(1, 17), (3, 22)])
def test_every_fault_is_in_one_lane(brokers: int, number: int) -> None:
    names = faults(brokers)
    assert len(names) == len(set(names)) == number
    assert [set(lane) for lane in lanes(names, Copies(Path()), brokers)] == [set(lane) for lane in LANES[brokers]]


def test_a_cluster_has_faults_of_its_own() -> None:
    assert set(faults(3)) - set(faults(1)) == set(BROKERS)
    assert set(faults(1)) - set(faults(3)) == {"broker", "servers"}


@pytest.mark.parametrize(("brokers", "word"), [("2", "1 or 3"), ("1", "unknown fault node")])
def test_what_a_run_cannot_have_is_one_line(
    brokers: str, word: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CHAOS_BROKERS", brokers)
    monkeypatch.setenv("CHAOS_FAULTS", "node")
    assert chaos.main() == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and word in said.err


def test_the_seed_decides_the_order_and_every_fault_comes_once_before_any_comes_again() -> None:
    def first(seed: int) -> list[tuple[str, float]]:
        return [(name, drawn.random()) for name, drawn in islice(dealt(WORKERS, random.Random(seed)), 12)]

    assert first(3) == first(3) != first(4)
    for half in (first(3)[:6], first(3)[6:]):
        assert {name for name, _ in half} == set(WORKERS)


def test_what_a_machine_cannot_do_is_left_out_with_the_reason() -> None:
    servers = SimpleNamespace(redis_version=(6, 2, 14))
    poor = SimpleNamespace(proxy=None, faketime=None, servers=servers)
    assert left_out(poor).keys() == {"tcp", "skew", "promote"}  # type: ignore[arg-type]
    servers.redis_version = (7, 0, 15)
    rich = SimpleNamespace(proxy=object(), faketime=Path("lib"), servers=servers)
    assert left_out(rich) == {}  # type: ignore[arg-type]


async def test_one_alone_waits_until_nobody_is_inside_and_keeps_others_out() -> None:
    turns, seen = Turns(), list[str]()

    async def together(name: str) -> None:
        async with turns.together():
            seen.append(name)
            await asyncio.sleep(0.01)
            seen.append(name)

    async def alone() -> None:
        async with turns.alone():
            seen.append("alone")
            await asyncio.sleep(0.01)
            seen.append("alone")

    async with asyncio.TaskGroup() as group:
        for work in (together("a"), together("b"), alone(), together("c")):
            group.create_task(work)
            await asyncio.sleep(0)
    assert sorted(seen[:4]) == ["a", "a", "b", "b"] and seen[4:] == ["alone", "alone", "c", "c"]


def test_runs_make_a_table() -> None:
    run = {
        "seed": 4, "events": 6_400_000, "faults": {"kill": 3, "stop": 2}, "panes_compared": 900, "differences": 0,
        "duplicate_releases_differing": 0, "rejects_accounted": True, "minutes": 5.0, "events_per_s": 21_000,
        "ended_by_themselves": {}, "lost": 12, "recovered_s": 9.5, "left_out": {"tcp": "no Go"},
    }  # fmt: skip
    lines = table(["noise", orjson.dumps(run).decode()]).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith(
        "| 4 | 5.0 | 6,400,000 | 21,000 | kill 3, stop 2, no tcp | 900 | 0 | 0 | accounted | 12 | none | 9.5 s |"
    )
