"""What a crowd does while Kafka or Redis is away: it stores nothing that is ahead of its panes, and counts on."""

import asyncio

import pytest

from streams.agents import crowd as crowd_module
from streams.stores.snapshots import Stored
from tests.unit.test_kept_state import LOG_LENGTH, Cache, Panes, Worker, assert_all_panes


class Slow(Panes):
    """A producer that takes nothing, or acknowledges nothing, until told."""

    def __init__(self) -> None:
        super().__init__()
        self.room, self.answers = asyncio.Event(), asyncio.Event()

    async def send(self, topic: str, value: bytes, partition: int) -> "asyncio.Future[object]":
        await self.room.wait()
        await super().send(topic, value, partition)
        return asyncio.ensure_future(self._answered())

    async def _answered(self) -> object:
        return await self.answers.wait()


class Shown:
    """The counts' store: `away` makes every call fail; `calls` counts them."""

    def __init__(self) -> None:
        self.ticks: dict[int, int] = {}
        self.calls = 0
        self.away = False

    async def write(self, partition: int, ticks: dict[int, "crowd_module.TickCounts"]) -> None:
        self.calls += 1
        if self.away:
            raise ConnectionError
        self.ticks |= {window_ms: tick.tick_ms for window_ms, tick in ticks.items()}


async def test_no_state_is_stored_that_is_past_a_pane_which_kafka_does_not_have() -> None:
    cache, panes = Cache(), Slow()
    worker = Worker(cache, panes)
    await worker.given([0])
    reading = asyncio.ensure_future(worker.reads(0, LOG_LENGTH))
    await asyncio.sleep(0.05)
    assert not reading.done(), "the producer has no room: the chunk waits"
    storing = [asyncio.ensure_future(worker.agent.store(0)) for _ in range(2)]  # at its interval, and on leaving
    await asyncio.sleep(0.05)
    assert cache.stored == {}
    panes.room.set()
    await reading
    await asyncio.sleep(0.05)
    assert cache.stored == {}, "handed over is not acknowledged"
    panes.answers.set()
    await asyncio.gather(*storing)
    assert cache.stored.keys() == {0}
    assert_all_panes(panes, 0)


async def test_counting_does_not_wait_for_redis_and_the_newest_counts_catch_up_without_a_chunk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd_module, "SHOW_S", 0.01)
    cache, panes = Cache(), Panes()
    worker = Worker(cache, panes)
    shown = Shown()
    worker.agent._stores = crowd_module.Stores(cache, shown)  # type: ignore[arg-type]
    await worker.given([0])
    shown.away = True
    for to in range(10, LOG_LENGTH + 1, 10):
        await worker.reads(0, to)
    assert shown.calls == 1, "asked once, then left to `keep_showing`"
    assert_all_panes(panes, 0)
    assert any("counts wait" in reason for reason in worker.agent._readiness.reasons)
    shown.away = False
    showing = asyncio.ensure_future(worker.agent.keep_showing())
    async with asyncio.timeout(10):
        while worker.agent._readiness.reasons:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    showing.cancel()
    assert set(shown.ticks.values()) == {worker.agent._owned[0].crowd.last_tick_ms}


class Kept(Shown):
    """Keeps what it was given, beside a copy of how that was."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[tuple[crowd_module.TickCounts, bytes]] = []

    async def write(self, partition: int, ticks: dict[int, "crowd_module.TickCounts"]) -> None:
        self.given += [(tick, tick.counts.tobytes()) for tick in ticks.values()]


async def test_of_chunks_that_follow_each_other_at_once_only_the_newest_counts_are_shown_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd_module, "SHOW_S", 0.01)
    worker, shown = Worker(Cache(), Panes()), Shown()
    worker.agent._stores = crowd_module.Stores(Cache(), shown)  # type: ignore[arg-type]
    await worker.given([0])
    for to in range(10, LOG_LENGTH + 1, 10):
        await worker.reads(0, to)
    assert shown.calls < LOG_LENGTH // 20
    showing = asyncio.ensure_future(worker.agent.keep_showing())
    newest = worker.agent._owned[0].crowd.last_tick_ms
    async with asyncio.timeout(10):
        while set(shown.ticks.values()) != {newest}:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    showing.cancel()


async def test_the_counts_of_a_tick_stay_as_they_were_while_the_next_chunk_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crowd_module, "SHOWN_EVERY_S", 0.0)
    worker, kept = Worker(Cache(), Panes()), Kept()
    worker.agent._stores = crowd_module.Stores(Cache(), kept)  # type: ignore[arg-type]
    await worker.given([0])
    for to in range(10, LOG_LENGTH + 1, 10):
        await worker.reads(0, to)
    assert len({then for _, then in kept.given}) > 2
    assert all(tick.counts.tobytes() == then for tick, then in kept.given)


class Cut:
    """A store whose first write fails only when it is told to: its connection is cut meanwhile. Others succeed."""

    def __init__(self) -> None:
        self.asked, self.cut = asyncio.Event(), asyncio.Event()

    async def write(self, *_: object) -> Stored:
        if not self.asked.is_set():
            self.asked.set()
            await self.cut.wait()
            raise ConnectionError
        return Stored(True, 0)


@pytest.mark.parametrize("work", ["counts", "snapshots"])
@pytest.mark.parametrize("meanwhile", ["written by another", "given up", "nothing"])
async def test_a_write_that_fails_when_it_is_not_owed_any_more_leaves_nothing_to_wait_for(
    work: str, meanwhile: str
) -> None:
    """Where no further frame came, a crowd was not ready for ever: nothing was left to write, so nothing succeeded."""
    worker, cut = Worker(Cache(), Panes()), Cut()
    await worker.given([0])
    worker.agent._redis.failed(work, ConnectionError())  # so that no chunk writes
    await worker.reads(0, LOG_LENGTH)
    worker.agent._redis.done(work)
    stores = (cut, Shown()) if work == "snapshots" else (Cache(), cut)
    worker.agent._stores = crowd_module.Stores(*stores)  # type: ignore[arg-type]

    async def written() -> None:
        if work == "snapshots":
            await worker.agent.store(0)
        else:
            await worker.agent._show(0, worker.agent._owned[0])

    failing = asyncio.ensure_future(written())
    await cut.asked.wait()
    if meanwhile == "written by another":
        await written()
    elif meanwhile == "given up":
        await worker.agent.revoked(frozenset({0}))
    cut.cut.set()
    await failing
    assert bool(worker.agent._readiness.reasons) == (meanwhile == "nothing")
    assert worker.registry.get_sample_value("throng_redis_errors_total", {"kind": "away"}) == 2
    if meanwhile == "nothing":
        await written()
        assert worker.agent._readiness.reasons == []
