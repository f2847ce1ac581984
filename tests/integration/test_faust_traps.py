"""Faust's known traps, each by the number of its issue, on a real broker: what bites in stock Faust doesn't here.

`faust-streaming N` is github.com/faust-streaming/faust/issues/N, `robinhood N` the same of the project that it was
forked from. Where the installed Faust still has the trap, a stock app walks into it in the same test, so that the test
is known to be able to tell; where Faust has mended it, or where it took luck, the test brings the situation about.

This file is also the program of the stock app: `python test_faust_traps.py HOW KAFKA GROUP TOPIC`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalGenerationError, StaleMetadata, UnknownTopicOrPartitionError

from streams.agents import transport
from streams.agents.app import RoleApp, make_app, run
from streams.agents.roles import Chunk, LogRange, Role, TransportSettings
from streams.agents.transport import Committed
from streams.errors import ThrongError
from streams.local.stack import Stack
from tests.support.reading import make_topic, rows

pytestmark = pytest.mark.integration

# Every record is a chunk, so that there are many of them on their way.
SMALL = TransportSettings(session_s=6, place_s=10, drain_s=10, stall_s=60, chunk_bytes=1, fetch_bytes=2_000)


async def fill(kafka: str, topic: str, count: int, partitions: int = 1) -> None:
    """`count` records to each partition, each a batch of its own."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, max_batch_size=1) as producer:
        for number in range(count):
            for partition in range(partitions):
                await producer.send(topic, b"%d" % number, partition=partition)
        await producer.flush()


async def group_commits(kafka: str, group: str, topic: str, offset: int | None = None) -> int | None:
    """What the group has committed for partition 0; before that, commit `offset` for it."""
    tp = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(bootstrap_servers=kafka, group_id=group, enable_auto_commit=False) as consumer:
        consumer.assign([tp])
        if offset is not None:
            await consumer.commit({tp: offset})
        return await consumer.committed(tp)


class Keeper:
    """A worker whose role keeps its position in the group's commits, as the gateway does.

    `handled` are (partition, offset) in order. `commit_each`: commit after every chunk, not only when giving up.
    """

    def __init__(self, kafka: str, namespace: str, topic: str, *, commit_each: bool = True) -> None:
        self.handled: list[tuple[int, int]] = []
        self.placed: list[dict[int, int]] = []
        self.next: dict[int, int] = {}
        self.commits_when_giving_up = True
        self.pause_s = 0.0
        self.stop = asyncio.Event()
        self.commit_each = commit_each
        self.role = Role("keeper", topic, self.on_chunk, self.positions, on_revoked=self.on_revoked)
        self.app: RoleApp = make_app(self.role, kafka, namespace, SMALL)
        self.running: asyncio.Task[None] | None = None

    async def positions(self, logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        marks = await self.app.group_offsets.read()
        self.next = {p: marks[p].offset if p in marks else log.start for p, log in logs.items()}
        self.placed.append(dict(self.next))
        return dict(self.next)

    async def on_chunk(self, chunk: Chunk) -> None:
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        self.handled += [(chunk.partition, offset) for offset, _ in rows(chunk)]
        self.next[chunk.partition] = chunk.next_offset
        if self.commit_each:
            await self.commit()

    async def on_revoked(self, partitions: frozenset[int]) -> None:
        if self.commits_when_giving_up:
            await self.commit()
        self.next = {}

    async def commit(self) -> None:
        if self.next:
            await self.app.group_offsets.commit({p: Committed(at, "") for p, at in self.next.items()})

    def start(self) -> None:
        self.running = asyncio.create_task(run(self.app, stop=self.stop))

    async def leave(self) -> None:
        self.stop.set()
        assert self.running is not None
        await self.running

    async def rebalance(self) -> None:
        """What a member coming or going brings about, in a group of one."""
        seen = len(self.placed)

        async def rejoin() -> None:
            self.app.consumer.thread._ensure_consumer()._coordinator.request_rejoin()

        await self.app.consumer.thread.on_thread(rejoin())
        await until(lambda: len(self.placed) > seen)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


@asynccontextmanager
async def stock(how: str, kafka: str, group: str, topic: str) -> AsyncIterator[AsyncIterator[tuple[str, int]]]:
    """Stock Faust in a process of its own, since it can't be relied on to stop; gives what it says."""
    arguments = (__file__, how, kafka, group, topic)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *arguments),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
    )

    async def said() -> AsyncIterator[tuple[str, int]]:
        assert process.stdout is not None
        async with asyncio.timeout(180):
            while line := await process.stdout.readline():
                what, number = line.split()
                yield what.decode(), int(number)

    try:
        yield said()
    finally:
        process.kill()
        await process.wait()


def stock_app(how: str, kafka: str, group: str, topic: str) -> None:
    """The program of that process."""
    app = faust.App(
        group,
        broker=f"kafka://{kafka}",
        consumer_auto_offset_reset="earliest",
        broker_commit_interval=0.3,
        store="memory://",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        autodiscover=False,
    )
    app._create_directories = lambda: None  # type: ignore[method-assign]
    source = app.topic(topic, value_serializer="raw")
    raised = []

    async def raises_once(stream: Any) -> None:
        async for event in stream.noack().events():
            if event.message.offset == 5 and not raised:
                raised.append(5)
                raise ValueError
            print("saw", event.message.offset, flush=True)
            event.ack()

    async def is_refused(stream: Any) -> None:
        async def refuse(*_: object) -> None:
            raise IllegalGenerationError

        app.consumer._thread._consumer._coordinator._do_commit_offsets = refuse
        async for _ in stream.events():
            pass

    async def tell_what_it_believes() -> None:
        while True:
            await asyncio.sleep(0.1)
            for offset in app.consumer._committed_offset.values():
                print("believes", offset or 0, flush=True)

    app.agent(source, name="read")({"raises": raises_once, "refused": is_refused}[how])
    app.task(tell_what_it_believes)

    async def run_for_ever() -> None:
        await app.start()
        await asyncio.Event().wait()

    asyncio.run(run_for_ever())


async def test_faust_streaming_216_reading_begins_where_the_role_says_even_if_faust_resumes_before_the_seeks(
    stack: Stack, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tables Faust resumed the flow before it sought, and events in between were skipped; here what was taken
    before the seeks carries no generation, and is dropped."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await fill(stack.kafka, topic, 100)
    await group_commits(stack.kafka, f"throng-{namespace}-keeper", topic, 50)
    placing: list[asyncio.Task[None]] = []
    stock_order = transport.Consumer.perform_seek

    async def too_late(consumer: transport.Consumer) -> None:
        async def later() -> None:
            await asyncio.sleep(1.0)
            await stock_order(consumer)

        placing.append(asyncio.create_task(later()))

    monkeypatch.setattr(transport.Consumer, "perform_seek", too_late)
    keeper = Keeper(stack.kafka, namespace, topic)
    taken = []
    fetch = transport.ConsumerThread._fetch_records

    async def fetched(thread: Any, *arguments: Any, **named: Any) -> Any:
        found = await fetch(thread, *arguments, **named)
        taken.extend(stamped for runs in found.values() for stamped in runs)
        return found

    monkeypatch.setattr(transport.ConsumerThread, "_fetch_records", fetched)

    async def positions(logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        await keeper.positions(logs)
        return {0: 20}

    keeper.app.tenure.role = replace(keeper.role, positions=positions)
    keeper.start()
    await until(lambda: len(keeper.handled) >= 80)
    await keeper.leave()
    assert any(run.generation is None and run.fetched.first_offset >= 50 for run in taken), "the trap was there"
    assert keeper.handled == [(0, offset) for offset in range(20, 100)]


async def test_faust_streaming_221_what_was_fetched_before_a_rebalance_is_not_handed_out_after_it(
    stack: Stack, namespace: str
) -> None:
    """A prefetched event of the old generation reached the agent after the rebalance, far ahead of the position; here
    a chunk carries its generation, and chunks must follow each other without a hole, or the process ends."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await fill(stack.kafka, topic, 300)
    keeper = Keeper(stack.kafka, namespace, topic, commit_each=False)
    keeper.commits_when_giving_up = False  # so every rebalance takes it back to the start
    keeper.pause_s = 0.005  # so that chunks wait in Faust's buffer
    keeper.start()
    for _ in range(4):
        enough = len(keeper.handled) + 30
        await until(lambda least=enough: len(keeper.handled) >= least)
        await keeper.rebalance()
    keeper.pause_s = 0.0
    await until(lambda: keeper.handled[-1] == (0, 299))
    await keeper.leave()
    offsets = [offset for _, offset in keeper.handled]
    assert all(after in (before + 1, 0) for before, after in pairwise(offsets))
    assert offsets.count(0) == 5


async def test_faust_streaming_318_a_partition_that_comes_back_after_two_rebalances_is_committed_again(
    stack: Stack, namespace: str
) -> None:
    """Faust remembered what it had read and committed before a partition left, and after its return committed nothing
    (robinhood 681); here nothing is remembered but by the role, which commits itself."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 2)
    await fill(stack.kafka, topic, 20, 2)
    first, second = (Keeper(stack.kafka, namespace, topic) for _ in range(2))
    first.start()
    await until(lambda: len(first.handled) == 40)
    second.start()
    await until(lambda: bool(second.placed and len(second.placed[-1]) == 1))
    await fill(stack.kafka, topic, 20, 2)
    await until(lambda: len(first.handled) + len(second.handled) == 80)
    await second.leave()
    await until(lambda: len(first.placed[-1]) == 2)
    await fill(stack.kafka, topic, 20, 2)
    await until(lambda: len(first.handled) + len(second.handled) == 120)
    async with asyncio.timeout(30):  # what is handled is committed a moment later
        while {at: mark.offset for at, mark in (await first.app.group_offsets.read()).items()} != {0: 60, 1: 60}:  # noqa: ASYNC110 - a broker
            await asyncio.sleep(0.05)
    await first.leave()
    assert sorted(first.handled + second.handled) == [(p, offset) for p in (0, 1) for offset in range(60)]


@pytest.mark.parametrize("commits", [True, False], ids=["", "and bites a role that does not commit"])
async def test_faust_streaming_502_what_was_done_before_a_second_worker_came_is_not_done_again(
    stack: Stack, namespace: str, commits: bool
) -> None:
    """Faust drops what is acknowledged but not yet committed when it is revoked, so a new worker does it again; here
    the role gives up, and commits, before the group goes on."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 4)
    await fill(stack.kafka, topic, 30, 4)
    first, second = (Keeper(stack.kafka, namespace, topic, commit_each=False) for _ in range(2))
    first.commits_when_giving_up = commits
    first.start()
    await until(lambda: len(first.handled) == 120)
    second.start()
    await until(lambda: bool(second.placed and len(second.placed[-1]) == 2))
    await fill(stack.kafka, topic, 1, 4)
    await until(lambda: {(p, 30) for p in range(4)} <= {*first.handled, *second.handled})
    await asyncio.gather(first.leave(), second.leave())
    handled = first.handled + second.handled
    assert {*handled} == {(p, offset) for p in range(4) for offset in range(31)}
    assert (len(handled) == 4 * 31) is commits


async def test_robinhood_604_and_faust_streaming_315_what_an_agent_failed_on_is_not_passed_over(
    stack: Stack, namespace: str
) -> None:
    """Faust restarts an agent that raised behind the event that it raised on, acknowledged or not, and commits over
    the hole; here nothing is handled after a failure: the process ends, and the next one begins with what failed."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await fill(stack.kafka, topic, 20)
    seen: list[int] = []
    async with stock("raises", stack.kafka, f"{namespace}-stock", topic) as said:
        async for what, offset in said:
            if what == "saw":
                seen.append(offset)
            if offset == 19:
                break
    assert sorted(seen) == [*range(5), *range(6, 20)], "stock Faust has the trap"

    failing, next_one = (Keeper(stack.kafka, namespace, topic) for _ in range(2))

    async def raises(chunk: Chunk) -> None:
        if chunk.first_offset == 5:
            raise ValueError
        await failing.on_chunk(chunk)

    failing.app.tenure.role = replace(failing.role, on_chunk=raises)
    with pytest.raises(ThrongError) as caught:
        await asyncio.wait_for(run(failing.app), 40)
    assert caught.value.code == "crashed"
    assert failing.handled == [(0, offset) for offset in range(5)]
    next_one.start()
    await until(lambda: (0, 19) in next_one.handled)
    await next_one.leave()
    assert next_one.handled == [(0, offset) for offset in range(5, 20)]


async def test_robinhood_625_offsets_that_come_twice_stop_no_commit(stack: Stack, namespace: str) -> None:
    """An offset that stood twice in Faust's list of acknowledged ones ended all commits while events went on; here
    Faust acknowledges nothing and keeps no list, and the role commits what it says, also going back."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await fill(stack.kafka, topic, 40)
    keeper = Keeper(stack.kafka, namespace, topic)
    again = {"from": 0}

    async def positions(logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        await keeper.positions(logs)
        keeper.next = {0: again["from"]}
        return {0: again["from"]}

    keeper.app.tenure.role = replace(keeper.role, positions=positions)
    keeper.start()
    await until(lambda: (0, 39) in keeper.handled)
    again["from"] = 25
    await keeper.rebalance()
    await fill(stack.kafka, topic, 10)
    await until(lambda: keeper.next == {0: 50})
    await keeper.leave()
    assert [offset for _, offset in keeper.handled] == [*range(40), *range(25, 50)]
    assert await group_commits(stack.kafka, f"throng-{namespace}-keeper", topic) == 50
    consumer = keeper.app.consumer
    assert not any((*consumer._acked.values(), *consumer._acked_index.values(), *consumer._gap.values()))
    assert not consumer._unacked_messages


async def test_robinhood_736_after_a_reset_connection_commits_go_on(stack: Stack, namespace: str) -> None:
    """After the connection to a broker was reset Faust went on handling without being able to commit, until somebody
    restarted it; here commits find their way back."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await fill(stack.kafka, topic, 20)
    keeper = Keeper(stack.kafka, namespace, topic)
    keeper.start()
    await until(lambda: len(keeper.handled) == 20)
    thread = keeper.app.consumer.thread
    connections = list(thread._ensure_consumer()._client._conns.values())
    assert len(connections) >= 2, "one to fetch, one to the group's coordinator"

    async def reset() -> None:
        for connection in connections:
            connection._writer.transport.abort()

    await thread.on_thread(reset())
    await fill(stack.kafka, topic, 20)
    await until(lambda: keeper.next == {0: 40})
    await keeper.leave()
    assert keeper.handled == [(0, offset) for offset in range(40)]
    assert await group_commits(stack.kafka, f"throng-{namespace}-keeper", topic) == 40


async def test_robinhood_736_a_worker_that_cannot_commit_ends(stack: Stack, namespace: str) -> None:
    """The other half of it: where commits don't find their way back, nothing more is handled."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await fill(stack.kafka, topic, 20)
    keeper = Keeper(stack.kafka, namespace, topic)
    commit = keeper.commit
    stopped_at: list[int] = []

    async def fails() -> None:
        if keeper.next.get(0, 0) >= 6 and not stopped_at:
            stopped_at.append(keeper.next[0])
            await fill(stack.kafka, topic, 10)  # however many a chunk held, there is more to come

            async def broken(*_: object) -> None:
                raise StaleMetadata("Broker id 8 not in current metadata")

            keeper.app.consumer.thread._ensure_consumer()._coordinator.commit_offsets = broken
        await commit()

    keeper.commit = fails  # type: ignore[method-assign]
    with pytest.raises(ThrongError) as caught:
        await asyncio.wait_for(run(keeper.app), 40)
    assert caught.value.code == "kafka"
    assert keeper.handled == [(0, offset) for offset in range(stopped_at[0])]


async def test_faust_streaming_611_a_commit_that_failed_is_not_taken_for_done(stack: Stack, namespace: str) -> None:
    """Faust notes an offset as committed whatever Kafka answered, and doesn't try again; here a failure that can pass
    is repeated, and a commit that was refused is told to the role as refused."""
    topic = await make_topic(stack.kafka, f"{namespace}.in", 1)
    await fill(stack.kafka, topic, 10)
    group = f"{namespace}-stock"
    async with stock("refused", stack.kafka, group, topic) as said:
        async for what, offset in said:
            if (what, offset) == ("believes", 10):
                break
        assert await group_commits(stack.kafka, group, topic) is None, "stock Faust has the trap"

    async def refuse(*_: object) -> None:
        raise IllegalGenerationError

    keeper = Keeper(stack.kafka, namespace, topic, commit_each=False)
    keeper.start()
    await until(lambda: len(keeper.handled) == 10)
    coordinator = keeper.app.consumer.thread._ensure_consumer()._coordinator
    commit, failures = coordinator._do_commit_offsets, [UnknownTopicOrPartitionError, UnknownTopicOrPartitionError]

    async def fails_first(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        await commit(*arguments)

    coordinator._do_commit_offsets = fails_first
    assert await keeper.app.group_offsets.commit({0: Committed(7, "")})
    assert await group_commits(stack.kafka, f"throng-{namespace}-keeper", topic) == 7
    coordinator._do_commit_offsets = refuse
    assert not await keeper.app.group_offsets.commit({0: Committed(10, "")})
    assert await group_commits(stack.kafka, f"throng-{namespace}-keeper", topic) == 7
    coordinator._do_commit_offsets = commit
    await keeper.leave()
    assert await group_commits(stack.kafka, f"throng-{namespace}-keeper", topic) == 10


if __name__ == "__main__":
    stock_app(*sys.argv[1:])
