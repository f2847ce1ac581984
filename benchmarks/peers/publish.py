"""Records to Kafka: made into compressed batches once, sent as often as needed.

A batch holds about 100 KB of records before compression, as a collector's that lingers a few seconds. Batches are kept
as they lie on the wire, so a copy of the input for each of throng's namespaces costs its bytes and nothing more.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from benchmarks.peers.job import PARTITIONS, SHAPES, START_MS, Events, Size, blocks, imsi_of
from streams.simulate.batches import LZ4, Batch, batches
from streams.simulate.files import Block
from streams.simulate.publish import murmur2, producer

BATCH_BYTES: Final = 100_000
_HEADER_BYTES: Final = 61
_AT_ONCE: Final = 64
# Consents are older than the first epoch: later ones would be rows of sightings each.
_CONSENTED_MS: Final = START_MS - 86_400_000
REGISTRY_PARTITIONS: Final = 4

Told = Callable[[str], None]


class Packed(NamedTuple):
    """A batch of a partition as it is sent: compressed records without the header."""

    partition: int
    count: int
    first_ms: int
    max_ms: int
    records: bytes


class Input(NamedTuple):
    """What is published, by shape, and how much of it counts."""

    size: Size
    good: int
    events: Events
    packed: dict[str, list[Packed]]


def prepare(size: Size, told: Told, partitions: int = PARTITIONS, batch_bytes: int = BATCH_BYTES) -> Input:
    """Draw the events and pack them in both shapes."""
    from benchmarks.peers.job import draw

    told(f"making {size.events:,} events of {size.subscribers:,} subscribers")
    events = draw(size)
    packed = {}
    for shape, an_array in SHAPES.items():
        found = [
            Packed(block.partition, batch.record_count(), batch._first_ms, batch._max_ms, batch._records)
            for block in blocks(size, events, an_array, partitions)
            for piece in pieces(block, batch_bytes)
            for batch in batches(piece)
        ]
        packed[shape] = _by_time(found)
        told(f"  {shape}: {len(found):,} batches, {sum(len(each.records) for each in found) / 1e6:,.0f} MB compressed")
    return Input(size, events.good, events, packed)


def _by_time(packed: list[Packed]) -> list[Packed]:
    """As they would have come in: by time, each partition's in its own order."""
    return sorted(packed, key=lambda each: (each.max_ms, each.partition))


def pieces(block: Block, most: int) -> Iterator[Block]:
    """A block cut into parts of about `most` bytes."""
    ends = np.cumsum(block.length, dtype=np.int64)
    first = 0
    while first < len(ends):
        begin = int(ends[first - 1]) if first else 0
        after = max(int(np.searchsorted(ends, begin + most, side="right")), first + 1)
        rows = slice(first, after)
        yield Block(block.partition, block.time[rows], block.length[rows], block.payload[begin : int(ends[after - 1])])
        first = after


def people(subscribers: int) -> Iterator[tuple[bytes, bytes]]:
    """Records of throng's `registry` topic: everybody consents, the sentinels' subscribers too."""
    consent = '"consent":{"marketing":"granted"},"opted_out":false'
    for number, imsi in enumerate(imsi_of(np.arange(subscribers + PARTITIONS)).tolist()):
        gender = ("female", "male", "other")[number % 3]
        value = f'{{"imsi":"{imsi:015d}","birth_year":{1940 + number % 60},"gender":"{gender}",{consent}}}'
        yield b"%015d" % imsi, value.encode()


def registry(subscribers: int) -> list[Packed]:
    """The same in batches."""
    builders = [_builder() for _ in range(REGISTRY_PARTITIONS)]
    counts = [0] * REGISTRY_PARTITIONS
    found = []

    def close(partition: int) -> None:
        if counts[partition]:
            data = bytes(builders[partition].build())[_HEADER_BYTES:]
            found.append(Packed(partition, counts[partition], _CONSENTED_MS, _CONSENTED_MS, data))
        builders[partition], counts[partition] = _builder(), 0

    for key, value in people(subscribers):
        partition = int(murmur2(np.frombuffer(key, np.uint8))) % REGISTRY_PARTITIONS
        builders[partition].append(counts[partition], _CONSENTED_MS, key, value, [])
        counts[partition] += 1
        if counts[partition] == 5_000:
            close(partition)
    for partition in range(REGISTRY_PARTITIONS):
        close(partition)
    return found


def _builder() -> DefaultRecordBatchBuilder:
    return DefaultRecordBatchBuilder(2, LZ4, 0, -1, -1, -1, 1 << 24)


async def publish(bootstrap: str, topic: str, packed: Iterable[Packed], told: Told) -> None:
    """Send all of it, and wait until the broker has it."""
    sender: AIOKafkaProducer = producer(bootstrap)
    await sender.start()
    began, sent, records = time.monotonic(), 0, 0
    try:
        flying: list[asyncio.Future[object]] = []
        for each in packed:
            batch = Batch(each.count, each.first_ms, each.max_ms, each.records)
            flying.append(await sender.send_batch(batch, topic, partition=each.partition))
            sent, records = sent + 1, records + each.count
            if len(flying) >= _AT_ONCE:
                await asyncio.gather(*flying)
                flying.clear()
        await asyncio.gather(*flying)
    finally:
        await sender.stop()
    told(f"  published {records:,} records to {topic} in {time.monotonic() - began:.1f} s")


async def create(bootstrap: str, topic: str, partitions: int) -> None:
    """A topic whose old records stay."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        config = {"retention.ms": "-1", "max.message.bytes": str(16 << 20)}
        await admin.create_topics([NewTopic(topic, partitions, 1, topic_configs=config)])
    finally:
        await admin.close()


async def remove(bootstrap: str, topics: list[str]) -> None:
    """Delete topics, for their place on the disk."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics(topics)
    finally:
        await admin.close()
