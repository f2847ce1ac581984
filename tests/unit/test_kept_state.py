"""What a crowd worker does with its states through a rebalance: which it goes on from, and that panes stay the same.

The agent with stores in memory; every test feeds one log, in pieces and through changes of ownership, and compares
the panes sent with those of a crowd that was fed the log at one go.
"""

import asyncio
from collections.abc import Iterable

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from schemas.panes import Pane
from schemas.sightings import LOST, Section, encode_control, encode_frame, encode_reset
from streams.agents.crowd import SHOWN_EVERY_S, SLOW_S, CrowdAgent, Stores
from streams.agents.health import Readiness
from streams.agents.roles import Chunk, LogRange
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.snapshot import restore, to_columns
from streams.metrics import CrowdMetrics
from streams.stores.snapshots import BrokenSnapshot, Stored
from tests.support.raw import batch_of
from tests.support.world import PLAN, epochs_at

START = 1_772_427_600_000
EPOCHS = epochs_at(START)
PARENTS = np.array(PLAN.zone_parents(), np.uint16)
LOG_LENGTH = 60


def log_of(records: int) -> list[bytes]:
    """A minute a frame, 30 sightings of 40 subscribers in each."""
    draws = np.random.default_rng(5)
    values = [encode_control(1, [0])]
    for number in range(records - 1):
        begin = START + number * 60_000
        ts = np.sort(draws.integers(begin, begin + 60_000, 30))
        columns = (
            draws.integers(1, 41, 30).astype(np.uint64),
            ts,
            np.arange(number * 30, number * 30 + 30),
            np.zeros(30, np.uint32),
            draws.integers(0, 6, 30).astype(np.uint16),
            np.zeros(30, np.uint8),
            np.zeros(30, np.uint8),
        )
        values.append(encode_frame([Section(0, 0, number * 30, number * 30 + 30, begin + 50_000, *columns)]))
    return values


LOG = log_of(LOG_LENGTH)


class Cache:
    """Snapshots in memory, shared by all workers; `reads` counts the whole ones, `away` makes every call fail."""

    def __init__(self) -> None:
        self.stored: dict[int, tuple[int, dict[str, bytes]]] = {}
        self.reads = 0
        self.away = self.blind = self.broken = False

    def _ask(self) -> None:
        if self.away:
            raise ConnectionError

    async def write(self, partition: int, offset: int, columns: dict[str, bytes], after: int = -1) -> Stored:
        self._ask()
        if offset > self.stored.get(partition, (-1, {}))[0]:
            self.stored[partition] = (offset, columns)
        return Stored(True, 0)

    async def newest(self, partition: int) -> int | None:
        self._ask()
        found = self.stored.get(partition)
        return None if found is None or self.blind else found[0]

    async def read(self, partition: int) -> tuple[int, dict[str, bytes]] | None:
        self._ask()
        self.reads += 1
        if self.broken:
            raise BrokenSnapshot
        return self.stored.get(partition)


class Counts:
    async def write(self, *_: object) -> None: ...


class Slow:
    """One that takes its time, and more and more of it, without failing."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.written = 0

    async def write(self, *_: object) -> None:
        if self.written:
            await self.let_go.wait()
        await asyncio.sleep(SLOW_S * 1.5)
        self.written += 1


class Epochs:
    records = EPOCHS

    async def refresh(self) -> list[object]:
        return []


class Panes:
    """A producer that keeps the panes; a repeat must equal the first."""

    def __init__(self) -> None:
        self.firsts: dict[tuple[int, int, int], Pane] = {}

    async def send(self, topic: str, value: bytes, partition: int) -> "asyncio.Future[object]":
        pane = msgspec.msgpack.decode(value, type=Pane)
        assert self.firsts.setdefault((pane.epoch, pane.partition, pane.number), pane) == pane
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Worker:
    """One worker's agent, with what the transport would do for it."""

    def __init__(self, cache: Cache, panes: Panes, counts: Counts | Slow | None = None) -> None:
        self.registry = CollectorRegistry()
        self.agent = CrowdAgent(
            "panes",
            lambda partition: Crowd(partition, PARENTS),
            Epochs(),  # type: ignore[arg-type]
            Stores(cache, counts or Counts()),  # type: ignore[arg-type]
            panes,  # type: ignore[arg-type]
            CrowdMetrics(self.registry),
            Readiness(),
        )
        self.at: dict[int, int | None] = {}

    async def given(self, partitions: Iterable[int], log_start: int = 0) -> None:
        """A rebalance, after which these partitions are this worker's."""
        await self.agent.revoked(frozenset(self.at))
        self.at = {}
        logs = {partition: LogRange(log_start, LOG_LENGTH) for partition in partitions}
        if logs:
            self.at = await self.agent.positions(logs)
        await self.agent.assigned(frozenset(logs))

    async def reads(self, partition: int, to: int) -> None:
        begin = self.at[partition] or 0
        batch = batch_of([(START, None, value, []) for value in LOG[begin:to]], begin)
        await self.agent.handle(Chunk("sightings", partition, (batch,), begin, to, 1))
        self.at[partition] = to

    def taken_up(self, source: str) -> float:
        return self.registry.get_sample_value("throng_crowd_partitions_taken_up_total", {"source": source}) or 0.0


def expected(partition: int) -> list[Pane]:
    crowd = Crowd(partition, PARENTS)
    crowd.add_epoch(EPOCHS[0])
    return [pane for offset, value in enumerate(LOG) for pane in crowd.feed(value, offset)]


def assert_all_panes(panes: Panes, *partitions: int) -> None:
    for partition in partitions:
        wanted = expected(partition)
        assert len(wanted) > 8
        assert [pane for key, pane in sorted(panes.firsts.items()) if key[1] == partition] == wanted


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def panes() -> Panes:
    return Panes()


async def test_a_partition_that_stays_goes_on_from_memory_and_no_snapshot_is_read(cache: Cache, panes: Panes) -> None:
    worker = Worker(cache, panes)
    await worker.given([0, 1])
    reads = cache.reads
    for to in (13, 27, LOG_LENGTH):
        await worker.reads(0, to)
        await worker.reads(1, to)
        await worker.given([0, 1])
        assert worker.at == {0: to, 1: to}
    assert cache.reads == reads
    assert worker.taken_up("memory") == 6
    assert cache.stored == {}, "a rebalance waits for no snapshot"
    assert_all_panes(panes, 0, 1)
    told = [
        worker.registry.get_sample_value("throng_crowd_panes_total", {"partition": partition}) for partition in "01"
    ]
    assert told == [len(expected(0)), len(expected(1))]


async def test_a_state_that_went_to_others_is_forgotten(cache: Cache, panes: Panes) -> None:
    worker = Worker(cache, panes)
    await worker.given([0, 1])
    await worker.reads(0, 20)
    await worker.given([1])
    await worker.given([0, 1])
    assert worker.at[0] == 0, "nobody stored it: from the log"
    await worker.reads(0, 20)
    await worker.given([])
    await worker.given([0])
    assert worker.at[0] == 0, "having got nothing, it keeps nothing"
    await worker.reads(0, LOG_LENGTH)
    assert_all_panes(panes, 0)


async def test_a_state_that_others_have_overtaken_unheard_gives_way_to_their_snapshot(
    cache: Cache, panes: Panes
) -> None:
    frozen, other = Worker(cache, panes), Worker(cache, panes)
    await frozen.given([0])
    await frozen.reads(0, 20)
    await other.given([0])
    await other.reads(0, 45)
    await other.agent.leaving(frozenset({0}))
    await frozen.given([0])
    assert frozen.at[0] == 45
    assert frozen.taken_up("snapshot") == 1
    await frozen.reads(0, LOG_LENGTH)
    assert_all_panes(panes, 0)


async def test_a_whole_state_in_memory_is_better_than_a_newer_snapshot_that_cannot_be_read(
    cache: Cache, panes: Panes
) -> None:
    frozen, other = Worker(cache, panes), Worker(cache, panes)
    await frozen.given([0])
    await frozen.reads(0, 20)
    await other.given([0])
    await other.reads(0, 45)
    await other.agent.leaving(frozenset({0}))
    cache.broken = True
    await frozen.given([0], log_start=15)
    assert frozen.at[0] == 20
    await frozen.reads(0, LOG_LENGTH)
    assert_all_panes(panes, 0)


async def test_without_redis_a_state_goes_on_from_memory_whatever_others_did_meanwhile(
    cache: Cache, panes: Panes
) -> None:
    frozen, other = Worker(cache, panes), Worker(cache, panes)
    await frozen.given([0])
    await frozen.reads(0, 20)
    await other.given([0])
    await other.reads(0, 45)
    await other.agent.leaving(frozenset({0}))
    cache.away = True
    await frozen.given([0])
    assert frozen.at[0] == 20
    await frozen.reads(0, LOG_LENGTH)
    assert_all_panes(panes, 0)


async def test_a_state_behind_the_logs_start_gives_way_to_a_snapshot_that_is_not(cache: Cache, panes: Panes) -> None:
    frozen, other = Worker(cache, panes), Worker(cache, panes)
    await frozen.given([0])
    await frozen.reads(0, 20)
    await other.given([0])
    await other.reads(0, 45)
    await other.agent.leaving(frozenset({0}))
    cache.blind = True  # or its snapshot, which is ahead, would decide
    await frozen.given([0], log_start=40)
    assert frozen.at[0] == 45
    await frozen.reads(0, LOG_LENGTH)
    assert_all_panes(panes, 0)


async def test_a_rebalance_that_is_overtaken_by_the_next_loses_no_state(cache: Cache, panes: Panes) -> None:
    worker = Worker(cache, panes)
    await worker.given([0, 1])
    await worker.reads(0, 20)
    await worker.given([0])
    stuck = asyncio.Event()
    read = cache.read

    async def never(_: int) -> None:
        stuck.set()
        await asyncio.Event().wait()

    cache.read = never  # type: ignore[method-assign,assignment]
    placing = asyncio.create_task(worker.given([0, 1]))
    await stuck.wait()
    placing.cancel()
    await asyncio.gather(placing, return_exceptions=True)
    cache.read = read  # type: ignore[method-assign]
    await worker.agent.revoked(frozenset({0, 1}))
    await worker.given([0, 1])
    assert worker.at == {0: 20, 1: 0}


async def test_a_partition_that_is_given_up_is_summed_with_the_next_workers_no_more(cache: Cache, panes: Panes) -> None:
    worker = Worker(cache, panes)

    def told(name: str) -> list[float | None]:
        return [worker.registry.get_sample_value(f"throng_crowd_{name}", {"partition": at}) for at in "01"]

    await worker.given([0, 1])
    await worker.reads(0, 30)
    await worker.reads(1, 30)
    subscribers, waiting = told("subscribers"), told("buffered_sightings")
    assert all(subscribers) and all(waiting)
    await worker.given([1])
    await worker.reads(1, 31)
    assert told("subscribers") == [0, subscribers[1]] and told("buffered_sightings")[0] == 0


async def test_what_no_gateway_wrote_is_passed_over_and_counted(
    cache: Cache, panes: Panes, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(cache, panes)
    await worker.given([0])
    written = [LOG[0], b"a trial", None, *LOG[1:]]
    batch = batch_of([(START, None, value, []) for value in written], 0)
    await worker.agent.handle(Chunk("sightings", 0, (batch,), 0, len(written), 1))
    assert_all_panes(panes, 0)
    assert worker.registry.get_sample_value("throng_crowd_foreign_records_total", {"partition": "0"}) == 2
    assert "partition 0: 2 records of sightings passed over" in caplog.text


async def test_leaving_stores_what_the_next_one_begins_with(cache: Cache, panes: Panes) -> None:
    first, second = Worker(cache, panes), Worker(cache, panes)
    await first.given([0])
    await first.reads(0, 31)
    await first.agent.leaving(frozenset({0}))
    await second.given([0])
    assert second.at[0] == 31
    await second.reads(0, LOG_LENGTH)
    assert_all_panes(panes, 0)


async def test_a_snapshot_with_a_column_cut_short_is_not_taken(cache: Cache, panes: Panes) -> None:
    first, second = Worker(cache, panes), Worker(cache, panes)
    await first.given([0])
    await first.reads(0, 31)
    await first.agent.leaving(frozenset({0}))
    columns = cache.stored[0][1]
    for name in ("subscriber_planes", "used_planes", "chain_planes"):
        cache.stored[0] = (31, columns | {name: columns[name][:-8]})
        await second.given([])
        await second.given([0])
        assert second.at[0] == 0, name
    await second.reads(0, LOG_LENGTH)
    assert_all_panes(panes, 0)


async def test_raw_records_that_are_gone_count_as_lost_as_far_as_nothing_was_had_of_them(
    cache: Cache, panes: Panes
) -> None:
    worker = Worker(cache, panes)
    await worker.given([0])
    await worker.reads(0, 11)  # offsets below 300 of the source
    none = [np.empty(0, kind) for kind in ("u8", "i8", "i8", "u4", "u2", "u1", "u1")]
    gone = encode_frame([Section(0, LOST, 0, 450, START, *none)])  # type: ignore[arg-type]
    for offset in (11, 12):  # and again, by a gateway that found no commit once more
        batch = batch_of([(START, None, gone, [])], offset)
        await worker.agent.handle(Chunk("sightings", 0, (batch,), offset, offset + 1, 1))
        assert worker.registry.get_sample_value("throng_crowd_lost_records_total", {"partition": "0"}) == 150


async def test_counting_does_not_wait_for_a_redis_that_is_slow_without_failing(cache: Cache, panes: Panes) -> None:
    counts = Slow()
    worker = Worker(cache, panes, counts)
    await worker.given([0])
    async with asyncio.timeout(30):
        await worker.reads(0, 20)
        assert counts.written == 1
        for to in (30, 40, 50, LOG_LENGTH):
            await asyncio.sleep(SHOWN_EVERY_S * 1.5)
            await worker.reads(0, to)
    assert_all_panes(panes, 0)
    showing = asyncio.create_task(worker.agent.keep_showing())
    counts.let_go.set()
    async with asyncio.timeout(30):
        while counts.written < 2:  # noqa: ASYNC110 - short
            await asyncio.sleep(0.05)
    showing.cancel()


def test_a_change_of_pseudonyms_that_is_still_to_come_is_kept() -> None:
    """Whoever goes on from there begins anew at its time all the same, and shuts what is not whole then."""
    change_ms = START + 20 * 60_000
    log = [*LOG[:10], encode_reset(change_ms), *LOG[10:]]
    straight, first, second = (Crowd(0, PARENTS) for _ in range(3))
    for crowd in (straight, first, second):
        crowd.add_epoch(EPOCHS[0])
    panes = [pane for offset, value in enumerate(log) for pane in straight.feed(value, offset)]
    before = [pane for offset, value in enumerate(log[:15]) for pane in first.feed(value, offset)]
    assert first.resets == (change_ms,)
    restore(second, to_columns(first))
    after = [pane for offset, value in enumerate(log[15:], 15) for pane in second.feed(value, offset)]
    assert before + after == panes
    assert {bool(pane.shut) for pane in panes if pane.end_ms <= change_ms} == {False}
    assert {bool(pane.shut) for pane in panes if pane.end_ms > change_ms} == {True}
