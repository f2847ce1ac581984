"""What tests of the transport need: topics, records in them, and roles that note what they are given."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.record.default_records import DefaultRecordBatch

from streams.agents.app import make_app, run
from streams.agents.roles import Chunk, LogRange, Role, TransportSettings
from streams.errors import ThrongError
from streams.stores.batches import APPEND_TIME, HEADER

QUICK = TransportSettings(place_s=5, drain_s=5, stall_s=60, chunk_bytes=20_000, fetch_bytes=10_000)


@asynccontextmanager
async def admin(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def make_topic(kafka: str, name: str, partitions: int, **config: str) -> str:
    async with admin(kafka) as client:
        await client.create_topics([NewTopic(name, partitions, 1, topic_configs=config)])
    return name


async def delete_before(kafka: str, topic: str, offset: int) -> None:
    async with admin(kafka) as client:
        await client.delete_records({TopicPartition(topic, 0): RecordsToDelete(offset)})


async def produce(kafka: str, topic: str, values: list[bytes], partitions: int = 1, **options: object) -> None:
    """Value i to partition i % partitions."""
    async with AIOKafkaProducer(bootstrap_servers=kafka, linger_ms=20, **options) as producer:
        for index, value in enumerate(values):
            await producer.send(topic, value, partition=index % partitions)
        await producer.flush()


async def produce_transaction(kafka: str, topic: str, values: list[bytes], *, commit: bool) -> None:
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic}-{commit}") as producer:
        await producer.begin_transaction()
        for value in values:
            await producer.send_and_wait(topic, value, partition=0)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    await no_longer_open(kafka, topic)


async def no_longer_open(kafka: str, topic: str) -> None:
    """Wait for the markers of its transactions: Kafka answers before they are written, and what is read ends there."""
    tp = TopicPartition(topic, 0)
    async with (
        AIOKafkaConsumer(bootstrap_servers=kafka) as all_there_is,
        AIOKafkaConsumer(bootstrap_servers=kafka, isolation_level="read_committed") as stable,
    ):
        while await all_there_is.end_offsets([tp]) != await stable.end_offsets([tp]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def rows(chunk: Chunk) -> list[tuple[int, bytes | None]]:
    """Offsets and values at or after the chunk's first offset, as aiokafka reads the batches."""
    found = []
    for batch in chunk.batches:
        attributes = APPEND_TIME if batch.timestamp_type else 0
        header = HEADER.pack(batch.base_offset, 0, 0, 2, 0, attributes, batch.next_offset - batch.base_offset - 1,
                             batch.first_timestamp, batch.max_timestamp, -1, -1, -1, batch.count)  # fmt: skip
        records = DefaultRecordBatch(header + bytes(batch.payload))
        found += [(record.offset, record.value) for record in records if record.offset >= chunk.first_offset]
    return found


class Reader:
    """A role that keeps what it gets, and stops the run once it has got as far as `until`."""

    def __init__(self, topic: str, start: Mapping[int, int | None], until: Mapping[int, int]) -> None:
        self.start, self.until = start, until
        self.chunks: list[Chunk] = []
        self.calls: list[str] = []
        self.logs: Mapping[int, LogRange] = {}
        self.stop = asyncio.Event()
        self.role = Role("reader", topic, self.on_chunk, self.positions, self.on_assigned, self.on_revoked)

    async def positions(self, logs: Mapping[int, LogRange]) -> Mapping[int, int | None]:
        self.calls.append("positions")
        self.logs = logs
        return {partition: self.start[partition] for partition in logs}

    async def on_assigned(self, partitions: frozenset[int]) -> None:
        self.calls.append("assigned")

    async def on_revoked(self, partitions: frozenset[int]) -> None:
        self.calls.append("revoked")

    async def on_chunk(self, chunk: Chunk) -> None:
        self.chunks.append(chunk)
        if all(self.reached(partition) >= offset for partition, offset in self.until.items()):
            self.stop.set()

    def of(self, partition: int) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.partition == partition]

    def reached(self, partition: int) -> int:
        return max((chunk.next_offset for chunk in self.of(partition)), default=-1)

    def values(self, partition: int) -> list[tuple[int, bytes | None]]:
        return [row for chunk in self.of(partition) for row in rows(chunk)]


async def ends_with(
    role: Role,
    kafka: str,
    namespace: str,
    settings: TransportSettings = QUICK,
    services: Sequence[Callable[[], Awaitable[None]]] = (),
) -> ThrongError:
    app = make_app(role, kafka, namespace, settings)
    with pytest.raises(ThrongError) as caught:
        await asyncio.wait_for(run(app, services), 40)
    return caught.value
