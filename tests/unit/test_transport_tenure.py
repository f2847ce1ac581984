"""What a role sees, in which order: positions, chunks without a gap, giving up; and what ends the process."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import pytest
from faust.types import TP

from streams.agents.health import Readiness
from streams.agents.life import told
from streams.agents.logs import Seldom
from streams.agents.roles import Chunk, LogRange, Role, Tenure, TransportSettings, standing_by
from streams.agents.watchdog import watch
from streams.errors import ThrongError

LOGS = {0: LogRange(10, 100), 1: LogRange(0, 50)}


class Recorder:
    """A role that notes what it is called with; `during` runs inside of each chunk."""

    def __init__(
        self, positions: Mapping[int, int | None], during: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.seen: list[object] = []
        self._positions, self._during = positions, during
        self.role = Role("crowd", "sightings", self.on_chunk, self.positions, self.on_assigned, self.on_revoked)

    async def positions(self, logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        await asyncio.sleep(0)
        return self._positions

    async def on_chunk(self, chunk: Chunk) -> None:
        if self._during is not None:
            await self._during()
        self.seen.append((chunk.partition, chunk.first_offset, chunk.next_offset))

    async def on_assigned(self, partitions: frozenset[int]) -> None:
        self.seen.append("assigned")

    async def on_revoked(self, partitions: frozenset[int]) -> None:
        self.seen.append("revoked")


def chunk(partition: int, first: int, after: int, generation: int = 1) -> Chunk:
    return Chunk("sightings", partition, (), first, after, generation)


async def opened(recorder: Recorder, *away: str) -> Tenure:
    tenure = Tenure(recorder.role, lambda: away)
    term, positions = await tenure.place(LOGS, 1)
    assert await tenure.begin(term, 1, positions)
    return tenure


async def test_no_position_means_the_logs_start() -> None:
    tenure = await opened(Recorder({0: None, 1: 7}))
    assert tenure.handled == {0: 10, 1: 7}


async def test_who_is_given_nothing_is_ready_to_stand_by_and_who_is_placing_is_not_yet() -> None:
    recorder, readiness = Recorder({0: None, 1: 7}), Readiness()
    tenure = Tenure(standing_by(recorder.role, readiness))
    term, _ = await tenure.place(LOGS, 1)
    assert readiness.names == {"starting"}
    assert await tenure.begin(term, 1, {})  # as the transport does where there are more workers than partitions
    assert not readiness.names and recorder.seen == ["assigned"]


@pytest.mark.parametrize(
    ("positions", "code"),
    [({0: 10}, "positions_missing"), ({0: 9, 1: 0}, "log_lost"), ({0: 101, 1: 0}, "log_ahead")],
)
async def test_positions_that_cannot_be_are_refused(positions: dict[int, int | None], code: str) -> None:
    with pytest.raises(ThrongError) as caught:
        await opened(Recorder(positions))
    assert caught.value.code == code


async def test_chunks_follow_each_other_from_the_position_on() -> None:
    recorder = Recorder({0: 10, 1: 0})
    tenure = await opened(recorder)
    for each in (chunk(0, 10, 20), chunk(1, 0, 5), chunk(0, 20, 21)):
        await tenure.handle(each)
    assert recorder.seen == ["assigned", (0, 10, 20), (1, 0, 5), (0, 20, 21)]
    assert tenure.handled == {0: 21, 1: 5}


async def test_a_gap_ends_the_process() -> None:
    recorder = Recorder({0: 10, 1: 0})
    tenure = await opened(recorder)
    await tenure.handle(chunk(0, 11, 20))
    assert isinstance(error := await tenure.failure, ThrongError)
    assert error.code == "gap"
    assert recorder.seen == ["assigned"]


async def test_a_chunk_of_another_generation_is_dropped() -> None:
    recorder = Recorder({0: 10, 1: 0})
    tenure = await opened(recorder)
    await tenure.handle(chunk(0, 10, 20, generation=2))
    assert recorder.seen == ["assigned"]
    assert not tenure.failure.done()


async def test_giving_up_waits_for_the_chunk_in_hand_and_lets_no_other_in() -> None:
    go = asyncio.Event()

    async def wait() -> None:
        await go.wait()

    recorder = Recorder({0: 10, 1: 0}, wait)
    tenure = await opened(recorder)
    in_hand = asyncio.create_task(tenure.handle(chunk(0, 10, 20)))
    queued = asyncio.create_task(tenure.handle(chunk(0, 20, 30)))
    await asyncio.sleep(0)
    ending = asyncio.create_task(tenure.end(1))
    await asyncio.sleep(0.01)
    assert recorder.seen == ["assigned"]
    go.set()
    await asyncio.gather(in_hand, queued, ending)
    assert recorder.seen == ["assigned", (0, 10, 20), "revoked"]


async def test_a_role_that_does_not_give_up_in_time_ends_the_process() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    tenure = await opened(Recorder({0: 10, 1: 0}, wait))
    stuck = asyncio.create_task(tenure.handle(chunk(0, 10, 20)))
    await asyncio.sleep(0)
    with pytest.raises(ThrongError, match="did not give up"):
        await tenure.end(0.01)
    stuck.cancel()


async def test_leaving_for_good_is_told_apart_where_the_role_cares() -> None:
    recorder = Recorder({0: 10, 1: 0})
    left: list[frozenset[int]] = []

    async def leaving(partitions: frozenset[int]) -> None:
        left.append(partitions)

    for role, expected in ((recorder.role, "revoked"), (replace(recorder.role, on_leaving=leaving), "assigned")):
        tenure = Tenure(role)
        term, positions = await tenure.place(LOGS, 1)
        await tenure.begin(term, 1, positions)
        await tenure.end(1, leaving=True)
        assert recorder.seen[-1] == expected
    assert left == [frozenset(LOGS)]


async def test_a_rebalance_cancels_positions_and_begins_nothing() -> None:
    recorder = Recorder({0: 10, 1: 0})
    tenure = Tenure(recorder.role)
    placing = asyncio.create_task(tenure.place(LOGS, 1))
    await asyncio.sleep(0)
    await tenure.end(1)
    with pytest.raises(asyncio.CancelledError):
        await placing
    assert not await tenure.begin(0, 1, {0: 10, 1: 0})
    assert recorder.seen == ["revoked"]


async def test_after_a_failure_nothing_is_handled_or_given_up() -> None:
    async def crash() -> None:
        raise KeyError("001010123456789")

    recorder = Recorder({0: 10, 1: 0}, crash)
    tenure = await opened(recorder)
    await tenure.handle(chunk(0, 10, 20))
    await tenure.handle(chunk(0, 10, 20))
    await tenure.end(1)
    assert recorder.seen == ["assigned"]
    assert "001010" not in told(await tenure.failure).sentence


def test_what_aiokafka_repeats_is_logged_once_in_a_while() -> None:
    seldom = Seldom()
    record = logging.LogRecord("aiokafka.conn", logging.ERROR, "", 0, "Unable to %s", ("connect",), None)
    own = logging.LogRecord("throng.app", logging.ERROR, "", 0, "Unable to %s", ("connect",), None)
    assert [seldom.filter(each) for each in (record, record, own, own)] == [True, False, True, True]


async def test_time_in_which_something_is_away_is_not_counted_against_a_role() -> None:
    recorder = Recorder({0: 10, 1: 0})
    away, back = ["redis"], asyncio.Event()
    tenure = Tenure(recorder.role, lambda: away)

    async def loading(logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        await back.wait()
        return {0: 10, 1: 0}

    tenure.role = replace(recorder.role, positions=loading)
    placing = asyncio.ensure_future(tenure.place(LOGS, 0.02))
    await asyncio.wait([placing], timeout=0.2)
    assert not placing.done()
    back.set()
    assert (await placing)[1] == {0: 10, 1: 0}

    back.clear()
    away.clear()
    with pytest.raises(ThrongError) as caught:
        await tenure.place(LOGS, 0.02)
    assert caught.value.code == "positions_late"


async def test_giving_up_waits_for_kafka_at_a_rebalance_but_not_at_the_end() -> None:
    release = asyncio.Event()
    recorder = Recorder({0: 10, 1: 0}, during=release.wait)
    for leaving in (False, True):
        tenure = await opened(recorder, "kafka")
        handling = asyncio.ensure_future(tenure.handle(chunk(0, 10, 20)))
        await asyncio.sleep(0)
        ending = asyncio.ensure_future(tenure.end(0.02, leaving=leaving))
        await asyncio.wait([ending], timeout=0.2)
        assert ending.done() == leaving
        if leaving:
            assert isinstance(ending.exception(), ThrongError)
        release.set()
        await asyncio.wait([ending, handling])
        release.clear()


class Behind:
    """A worker's app as the watchdog sees it: of one partition there is more than was handled."""

    def __init__(self, tenure: Tenure) -> None:
        self.tenure, self.consumer, self.thread = tenure, self, self
        self.transport_settings, self.thread_loop = TransportSettings(stall_s=0.2), self

    def is_running(self) -> bool:
        return False

    async def on_thread(self, work: Awaitable[object]) -> object:
        return await work

    async def logs(self) -> tuple[int, dict[TP, LogRange]]:
        return 1, {TP("sightings", 0): LogRange(0, 100)}


async def test_a_chunk_that_is_much_work_is_no_stall_as_long_as_it_goes_on() -> None:
    tenure = await opened(Recorder({0: 10, 1: 0}))
    watching = asyncio.ensure_future(watch(Behind(tenure)))  # type: ignore[arg-type]
    for _ in range(10):
        await asyncio.wait([watching], timeout=0.1)
        assert not watching.done()
        tenure.step()
    await asyncio.wait([watching], timeout=5)
    assert isinstance(error := watching.exception(), ThrongError)
    assert error.code == "stalled"


class Asked(Behind):
    """One whose consumer answers when the test has it answer."""

    def __init__(self, tenure: Tenure) -> None:
        super().__init__(tenure)
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def logs(self) -> tuple[int, dict[TP, LogRange]]:
        self.asked.set()
        await self.answer.wait()
        return await super().logs()


@pytest.mark.parametrize("steps", range(4))
async def test_a_watchdog_that_is_cancelled_as_its_answer_comes_ends(steps: int) -> None:
    app = Asked(await opened(Recorder({0: 10, 1: 0})))
    watching = asyncio.ensure_future(watch(app))  # type: ignore[arg-type]
    await app.asked.wait()
    app.answer.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    watching.cancel()
    await asyncio.wait([watching], timeout=1)
    assert watching.cancelled()
