"""Simulated records to Kafka: explicit partitions and record times, paced or as fast as they go.

Slices are made in a thread (the loops release the interpreter) one ahead of the one being sent. A partition's records
of a slice go out as whole Kafka batches of up to BATCH_BYTES, lz4; a slice is waited for before the next but one is
sent, so that memory stays bounded however slow the broker is, and an error stops the simulation.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaProducer
from numba import int64, njit, uint32
from numpy.typing import NDArray

from streams.simulate.batches import BATCH_BYTES, Batch, batches
from streams.simulate.files import as_block
from streams.simulate.generate import Slice

REQUEST_BYTES: Final = 4_000_000


def producer(bootstrap_servers: str, **credentials: Any) -> AIOKafkaProducer:
    """A producer for `publish` and `publish_registry`, not yet started.

    Idempotent, so that a retry neither repeats nor reorders a partition's records, but for one case: a broker that
    comes back from a crash, or a new leader, has forgotten a producer whose newest record is older than a day by the
    record's own time (`producer.id.expiration.ms`), and appends what is retried again. Counts do not change by it.
    `credentials`: aiokafka's arguments for a broker that asks who it is.
    """
    return AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers,
        **credentials,
        enable_idempotence=True,
        compression_type="lz4",  # of the registry; events come compressed, see `batches`
        max_batch_size=BATCH_BYTES + 100_000,
        max_request_size=REQUEST_BYTES,
        linger_ms=5,
    )


async def publish(
    sender: AIOKafkaProducer,
    topic: str,
    slices: Iterator[Slice],
    speed: float | None,
    sent: Callable[[Slice], None],
) -> None:
    """Send slices to a topic that has at least as many partitions as they do.

    Args:
        speed: simulated seconds a second, by record time; None is as fast as it goes.
        sent: called after each slice has been acknowledged whole.

    Raises:
        aiokafka.errors.KafkaError: a record wasn't taken.
    """
    flying: tuple[Slice, list[asyncio.Future[object]]] | None = None
    began_s, first_ms = time.monotonic(), 0
    async for piece, ready in ahead(slices):
        first_ms = first_ms or piece.start_ms
        if speed is not None:
            due_s = began_s + (piece.end_ms - first_ms) / 1000 / speed
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        futures = [await sender.send_batch(batch, topic, partition=p) for p, batch in ready]
        if flying is not None:
            await asyncio.gather(*flying[1])
            sent(flying[0])
        flying = (piece, futures)
    if flying is not None:
        await asyncio.gather(*flying[1])
        sent(flying[0])


async def ahead(slices: Iterator[Slice]) -> AsyncIterator[tuple[Slice, list[tuple[int, Batch]]]]:
    """Slices and their batches with partitions, made in a thread, each while the one before it is used."""

    def make() -> tuple[Slice, list[tuple[int, Batch]]] | None:
        piece = next(slices, None)
        if piece is None:
            return None
        return piece, [(p, batch) for p in range(piece.starts.size - 1) for batch in batches(as_block(piece, p))]

    coming = asyncio.create_task(asyncio.to_thread(make))
    while (made := await coming) is not None:
        coming = asyncio.create_task(asyncio.to_thread(make))
        yield made


async def publish_registry(sender: AIOKafkaProducer, topic: str, records: Iterable[tuple[bytes, bytes]]) -> int:
    """Send keyed records, each key to the partition that Kafka's own clients choose. Returns how many were sent."""
    partitions = len(await sender.partitions_for(topic))
    full = [sender.create_batch() for _ in range(partitions)]
    futures: list[asyncio.Future[object]] = []
    now, count = int(time.time() * 1000), 0
    for key, value in records:
        p = int(murmur2(np.frombuffer(key, np.uint8))) % partitions
        if full[p].append(timestamp=now, key=key, value=value) is None:
            futures.append(await sender.send_batch(full[p], topic, partition=p))
            full[p] = sender.create_batch()
            full[p].append(timestamp=now, key=key, value=value)
        count += 1
    futures += [
        await sender.send_batch(full[p], topic, partition=p) for p in range(partitions) if full[p].record_count()
    ]
    await asyncio.gather(*futures)
    return count


@njit(cache=True, nogil=True)
def murmur2(key: NDArray[np.uint8]) -> int:
    """Kafka's hash of a key (MurmurHash2, seed 0x9747b28c), its sign bit cleared."""
    m = uint32(0x5BD1E995)
    h = uint32(uint32(0x9747B28C) ^ uint32(key.size))
    for k in range(key.size // 4):
        word = uint32(0)
        for b in range(4):
            word |= uint32(uint32(key[4 * k + b]) << uint32(8 * b))
        word = uint32(word * m)
        word = uint32(uint32(word ^ uint32(word >> uint32(24))) * m)
        h = uint32(uint32(h * m) ^ word)
    rest = key.size % 4
    if rest:
        for b in range(rest):
            h ^= uint32(uint32(key[key.size - rest + b]) << uint32(8 * b))
        h = uint32(h * m)
    h = uint32(uint32(h ^ uint32(h >> uint32(13))) * m)
    h ^= uint32(h >> uint32(15))
    result: int = int64(h & uint32(0x7FFFFFFF))
    return result
