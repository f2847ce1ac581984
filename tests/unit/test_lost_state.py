"""What a crowd worker does where no state reaches the log's start: it goes on there, and says what is shut."""

import asyncio
import logging

import msgspec
import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from schemas.panes import Pane
from streams.agents import crowd as crowd_module
from streams.agents.crowd import CrowdAgent, Stores
from streams.agents.health import Readiness
from streams.agents.roles import Chunk, LogRange
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.resumed import Resumed
from streams.core.times import rfc3339
from streams.metrics import CrowdMetrics
from streams.stores.counts import TickCounts
from tests.support.raw import batch_of
from tests.support.world import PLAN, epochs_at
from tests.unit.test_kept_state import START, Cache, log_of

MINUTE = 60_000
LOG = log_of(200)
# Two epochs of two hours, of the one source that the log has.
EPOCHS = [
    msgspec.structs.replace(
        epochs_at(START)[0],
        epoch=20260302 + number,
        start_ms=START + number * 120 * MINUTE,
        opens_ms=START + number * 120 * MINUTE,
        end_ms=START + (number + 1) * 120 * MINUTE,
        sources=(0,),
    )
    for number in range(2)
]
PARENTS = np.array(PLAN.zone_parents(), np.uint16)
BEGIN = 11
# The first frame left says that its source is complete up to minute 10:50; lateness and a minute ahead come to it.
WHOLE = START + 10 * MINUTE + 50_000 + 70_001


class Counts:
    """Windows written, as (window in minutes, minute of the tick)."""

    def __init__(self) -> None:
        self.written: list[tuple[int, int]] = []

    async def write(self, _: int, ticks: dict[int, TickCounts]) -> None:
        self.written += [(window // MINUTE, (tick.tick_ms - START) // MINUTE) for window, tick in ticks.items()]


class Panes:
    def __init__(self) -> None:
        self.sent: list[Pane] = []

    async def send(self, _: str, value: bytes, partition: int) -> "asyncio.Future[object]":
        self.sent.append(msgspec.msgpack.decode(value, type=Pane))
        done: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


class Epochs:
    records = EPOCHS

    async def refresh(self) -> list[object]:
        return []


class LateEpochs:
    """Nothing at first, then all."""

    def __init__(self) -> None:
        self.records: list[object] = []
        self._asked = 0

    async def refresh(self) -> list[object]:
        self._asked += 1
        self.records = [] if self._asked < 2 else list(EPOCHS)
        return self.records


class Worker:
    """An agent that has one partition, 3, with what the transport would do for it."""

    def __init__(self, cache: Cache | None = None, epochs: Epochs | LateEpochs | None = None) -> None:
        self.registry, self.readiness = CollectorRegistry(), Readiness()
        self.panes, self.counts = Panes(), Counts()
        self.agent = CrowdAgent(
            "panes",
            lambda partition: Crowd(partition, PARENTS),
            epochs or Epochs(),  # type: ignore[arg-type]
            Stores(cache or Cache(), self.counts),  # type: ignore[arg-type]
            self.panes,  # type: ignore[arg-type]
            CrowdMetrics(self.registry),
            self.readiness,
        )
        self.at = 0

    async def given(self, log_start: int) -> None:
        at = (await self.agent.positions({3: LogRange(log_start, len(LOG))}))[3]
        assert at is not None
        self.at = at

    async def reads(self, to: int) -> None:
        batch = batch_of([(START, None, value, []) for value in LOG[self.at : to]], self.at)
        await self.agent.handle(Chunk("sightings", 3, (batch,), self.at, to, 1))
        self.at = to

    @property
    def shut(self) -> float | None:
        return self.registry.get_sample_value("throng_crowd_shut_measures", {"partition": "3"})


def straight() -> list[Pane]:
    crowd = Crowd(3, PARENTS)
    for epoch in EPOCHS:
        crowd.add_epoch(epoch)
    return [pane for offset, value in enumerate(LOG) for pane in crowd.feed(value, offset)]


async def test_it_goes_on_where_the_log_begins_and_says_what_is_shut(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    with caplog.at_level(logging.ERROR, "throng.crowd"):
        await worker.given(BEGIN)
    assert worker.at == BEGIN
    assert "partition 3 lost its state: offset 0 is wanted, the log begins at 11" in caplog.text
    assert worker.readiness.reasons == ["partition 3 lost its state: it waits for its sources to be heard"]
    await worker.reads(30)
    assert worker.shut == len(EPOCHS[0].measures)
    present, epoch_end = rfc3339(WHOLE + EPOCHS[0].silence_ms), rfc3339(EPOCHS[1].start_ms)
    assert worker.readiness.reasons == [
        f"partition 3 lost its state: shut are arrivals until {epoch_end}, dwell until {epoch_end}, "
        f"present until {present}, present_cohort until {present}, trips_parent until {epoch_end}, "
        f"trips_zone until {epoch_end}, visits until {epoch_end}"
    ]
    await worker.reads(90)
    assert worker.shut == sum(not measure.of_presence for measure in EPOCHS[0].measures)
    assert worker.readiness.reasons == [
        f"partition 3 lost its state: shut are arrivals until {epoch_end}, dwell until {epoch_end}, "
        f"trips_parent until {epoch_end}, trips_zone until {epoch_end}, visits until {epoch_end}"
    ]
    await worker.reads(150)
    assert worker.shut == 0
    assert worker.readiness.reasons == []
    wanted = straight()
    assert [pane.end_ms for pane in worker.panes.sent] == [pane.end_ms for pane in wanted][: len(worker.panes.sent)]
    for pane, whole in zip(worker.panes.sent, wanted, strict=False):
        assert pane.counts.items() <= whole.counts.items()
        assert (pane == whole) == (pane.epoch == EPOCHS[1].epoch)
        assert ("present" in pane.shut) == (pane.end_ms < WHOLE + EPOCHS[0].silence_ms)


async def test_windows_are_shown_once_they_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd_module, "SHOWN_EVERY_S", 0.0)
    worker = Worker()
    await worker.given(BEGIN)
    for to in range(BEGIN + 1, 130):
        await worker.reads(to)
    silence = (WHOLE + EPOCHS[0].silence_ms - START) // MINUTE
    first = {window: min(tick for w, tick in worker.counts.written if w == window) for window in (15, 60)}
    assert first == {15: silence + 15, 60: 120}


async def test_a_worker_that_retention_overtakes_begins_again_where_the_log_does() -> None:
    worker = Worker()
    await worker.given(0)
    await worker.reads(40)
    assert worker.readiness.reasons == []
    assert await worker.agent.lost(3, 40, LogRange(60, len(LOG))) == 60
    worker.at = 60
    await worker.reads(100)
    assert worker.shut == len(EPOCHS[0].measures)
    assert [pane.number for pane in worker.panes.sent] == [*range(1, 8), *range(1, 20)]
    assert [pane.resumed for pane in worker.panes.sent] == [False] * 7 + [True] * 19


async def test_a_zombie_that_retention_overtook_goes_on_from_its_successors_snapshot() -> None:
    cache = Cache()
    zombie, successor = Worker(cache), Worker(cache)
    await zombie.given(0)
    await zombie.reads(40)
    await successor.given(0)
    await successor.reads(90)
    await successor.agent.store(3)
    assert await zombie.agent.lost(3, 40, LogRange(80, len(LOG))) == 90
    zombie.at = 90
    await zombie.reads(len(LOG))
    assert zombie.readiness.reasons == []
    whole = {(pane.epoch, pane.number): pane for pane in straight()}
    assert len(zombie.panes.sent) > 20
    assert all(whole[pane.epoch, pane.number] == pane for pane in zombie.panes.sent)


async def test_a_snapshot_of_before_the_log_is_of_no_use_and_one_of_a_resumed_state_says_so() -> None:
    cache = Cache()
    worker = Worker(cache)
    await worker.given(0)
    await worker.reads(8)
    await worker.agent.store(3)
    worker = Worker(cache)
    await worker.given(BEGIN)
    await worker.reads(50)
    await worker.agent.store(3)
    reasons = worker.readiness.reasons
    worker = Worker(cache)
    await worker.given(20)
    assert worker.at == 50
    assert worker.readiness.reasons == reasons
    assert worker.shut == len(EPOCHS[0].measures)
    await worker.reads(150)
    assert worker.panes.sent[-1].resumed is False


async def test_a_zombie_of_before_the_epochs_knows_them_when_it_takes_up_its_successors_snapshot() -> None:
    cache = Cache()
    zombie, successor = Worker(cache, LateEpochs()), Worker(cache)
    await zombie.given(0)
    await successor.given(0)
    await successor.reads(90)
    await successor.agent.store(3)
    assert await zombie.agent.lost(3, 0, LogRange(80, len(LOG))) == 90


async def test_what_waits_for_redis_is_with_others_once_the_partition_is() -> None:
    worker = Worker()
    await worker.given(0)
    worker.agent._redis.failed("counts", ConnectionError())
    assert any("Redis" in reason for reason in worker.readiness.reasons)
    await worker.agent.revoked(frozenset({3}))
    assert worker.readiness.reasons == []


async def test_an_epoch_that_comes_after_a_long_wait_is_taken_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.agents.crowd.EPOCH_PATIENCE_S", -1.0)
    worker = Worker(epochs=LateEpochs())
    await worker.given(0)
    await worker.reads(40)
    assert [pane.number for pane in worker.panes.sent] == list(range(1, 8))


async def test_a_partition_that_goes_is_no_longer_spoken_for() -> None:
    worker = Worker()
    await worker.given(BEGIN)
    await worker.agent.revoked(frozenset({3}))
    assert worker.readiness.reasons == []
    assert worker.shut == 0


def test_a_pane_that_ends_as_presence_is_whole_again_is_told_and_an_epoch_that_opens_then_is_whole() -> None:
    epoch = epochs_at(START)[0]
    number, others = 48, {measure.name for measure in epoch.due(48) if not measure.of_presence}
    end_ms = epoch.start_ms + number * epoch.pane_ms
    assert others and end_ms - epoch.silence_ms > epoch.opens_ms
    for late_ms, shut in ((0, others), (1, {measure.name for measure in epoch.due(number)})):
        assert Resumed(end_ms - epoch.silence_ms + late_ms).shut(epoch, number) == shut
    assert Resumed(epoch.opens_ms).shut(epoch, number) == set() != Resumed(epoch.opens_ms + 1).shut(epoch, number)
