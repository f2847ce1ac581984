"""Readers of control topics: how they end while Kafka is away, and how much they hold at once."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher

from streams.stores.log import AT_ONCE, TailReader


@pytest.fixture
async def reader() -> TailReader:
    """One whose fetch waits for its next attempt, as after its broker has gone."""
    reader = TailReader("127.0.0.1:1", "t")
    waiting = [asyncio.create_task(asyncio.sleep(60)) for _ in range(2)]
    await asyncio.sleep(0)
    fetcher = SimpleNamespace(_fetch_task=waiting[0], _fetch_waiters=set(), _pending_tasks={waiting[1]})
    fetcher.close = lambda: Fetcher.close(fetcher)
    reader._consumer._closed, reader._consumer._fetcher = False, fetcher
    return reader


async def test_a_reader_stops_while_its_fetch_waits_for_the_next_attempt(reader: TailReader) -> None:
    await reader.stop()
    assert reader._consumer._closed


async def test_who_is_cancelled_while_it_stops_a_reader_is_cancelled(reader: TailReader) -> None:
    stopping = asyncio.create_task(reader.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping


class Partitions:
    """Stands for a consumer that has fetched all of four partitions. `out`: records handed out."""

    def __init__(self, records: int) -> None:
        self.end, self.out = records, 0
        self.at = {TopicPartition("t", number): 0 for number in range(4)}

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.end)

    async def position(self, partition: TopicPartition) -> int:
        return self.at[partition]

    async def getmany(self, *partitions: TopicPartition, timeout_ms: int, max_records: int | None = None) -> dict:
        found, left = {}, max_records or len(self.at) * self.end
        for tp in partitions:
            if number := min(left, self.end - self.at[tp]):
                offsets = range(self.at[tp], self.at[tp] + number)
                found[tp] = [SimpleNamespace(timestamp=10 * at + tp.partition, offset=at) for at in offsets]
                self.at[tp], left, self.out = self.at[tp] + number, left - number, self.out + number
        return found

    def resume(self, *_: TopicPartition) -> None: ...

    def pause(self, *_: TopicPartition) -> None: ...


async def test_a_reader_in_time_holds_a_part_of_the_topic_at_once_however_much_was_fetched() -> None:
    consumer = Partitions(4 * AT_ONCE)
    reader = TailReader("127.0.0.1:1", "t")
    reader._consumer, reader._partitions = consumer, list(consumer.at)
    times: list[int] = []
    async for records in reader.read_in_time():
        assert consumer.out - len(times) <= len(consumer.at) * AT_ONCE
        times += [record.timestamp for record in records]
    assert times == [10 * at + number for at in range(consumer.end) for number in range(4)]
