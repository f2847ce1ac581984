"""Batches that a real broker takes, and a gateway rejects whole: of a few kilobytes that unpack to most of a gigabyte,
and of records whose lengths don't fit."""

import asyncio
import json
import time
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.admin.records_to_delete import RecordsToDelete
from aiokafka.codec import zstd_decode, zstd_encode
from aiokafka.producer.message_accumulator import BatchBuilder
from crc32c import crc32c

from schemas.topics import ATTACH, REGISTRY, REJECTS
from streams.errors import ThrongError
from streams.settings import Settings
from streams.simulate import make_town, plan
from streams.stores.batches import BEFORE_LENGTH, CRC_FROM, HEADER
from streams.stores.log import TailReader
from streams.stores.topics import create
from tests.support.deployment import Workers, fetch, read_topic, total
from tests.support.small import small

pytestmark = pytest.mark.integration

RECORD = bytes(16 << 20)
RECORDS = 50
SIZES = {"max_batch_size": 1 << 30, "compression_type": "zstd"}


async def counted(port: int, name: str, label: str, number: int) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                text = await asyncio.to_thread(fetch, port)
            except OSError:
                text = ""
            if total({"gateway": text}, "gateway", name)[label] == number:
                return
            await asyncio.sleep(0.3)


def packed(producer: AIOKafkaProducer, time_ms: int) -> BatchBuilder:
    batch = producer.create_batch()
    for number in range(RECORDS):
        assert batch.append(key=b"key", value=RECORD, timestamp=time_ms + number) is not None
    batch.close()
    return batch


def ill_fitting(producer: AIOKafkaProducer, time_ms: int) -> BatchBuilder:
    """Of three records, the first of which says that it is a byte longer: packed, Kafka's brokers take it."""
    batch = producer.create_batch()
    for number in range(3):
        assert batch.append(key=None, value=b"x" * 20, timestamp=time_ms + number) is not None
    header = HEADER.unpack_from(batch._build())
    section = bytearray(zstd_decode(bytes(batch._buffer[HEADER.size :])))
    section[0] += 2
    changed = zstd_encode(bytes(section))
    fields = [header[0], HEADER.size - BEFORE_LENGTH + len(changed), *header[2:]]
    whole = HEADER.pack(*fields) + changed
    fields[4] = crc32c(whole[CRC_FROM:])
    batch._buffer = bytearray(HEADER.pack(*fields) + changed)
    return batch


async def test_it_is_rejected_as_one_record_and_what_follows_is_counted(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)), **{"gateway.beat_ms": 0})
    await create(settings)
    attach = settings.topic(ATTACH)
    event = {"imsi": "001010000000001", "ts": time.time_ns() // 10**6, "cell": "001-01-0000001"}
    workers = Workers(settings, tmp_path)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, **SIZES) as producer:
        await producer.send_and_wait(attach, json.dumps(event | {"event_id": "before"}).encode(), partition=0)
        await workers.start("gateway")
        try:
            port = workers.ports["gateway"]
            await counted(port, "throng_gateway_events_total", "0", 1)
            before = psutil.Process(workers.running["gateway"].pid).memory_info().rss
            await (await producer.send_batch(packed(producer, event["ts"]), attach, partition=0))
            await (await producer.send_batch(ill_fitting(producer, event["ts"]), attach, partition=0))
            await producer.send_and_wait(attach, json.dumps(event | {"event_id": "after"}).encode(), partition=0)
            await counted(port, "throng_gateway_events_total", "0", 4)
            status = Path(f"/proc/{workers.running['gateway'].pid}/status").read_text()  # noqa: ASYNC240
            peak = int(status.split("VmHWM:")[1].split()[0]) << 10
            assert peak - before < len(RECORD) * RECORDS / 2
            await counted(port, "throng_gateway_rejects_total", "oversized", 1)
            await counted(port, "throng_gateway_rejects_total", "malformed", 1)
        finally:
            await workers.stop()
    told = [{name: value.decode() for name, value in each.headers} for each in await read_topic(settings, REJECTS)]
    assert [each["offset"] for each in told if each["reason"] == "oversized"] == ["1"]
    assert [each["offset"] for each in told if each["reason"] == "malformed"] == [str(1 + RECORDS)]
    assert {each["offset"] for each in told} <= {"0", "1", str(1 + RECORDS), str(4 + RECORDS)}
    last_words = workers.last_words("gateway")
    assert f"a batch of {RECORDS} records" in last_words and "it is rejected whole" in last_words


async def test_a_reader_that_may_pass_nothing_over_ends_at_it_until_it_is_deleted(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)))
    await create(settings)
    registry = settings.topic(REGISTRY)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, **SIZES) as producer:
        await (await producer.send_batch(packed(producer, time.time_ns() // 10**6), registry, partition=0))
        await producer.send_and_wait(registry, b"{}", key=b"after", partition=0)
    with pytest.raises(ThrongError, match=f"{registry}, partition 0, offset 0: a batch of {RECORDS} records"):
        await read(settings, registry)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap)
    await admin.start()
    try:
        deleting = ConfigResource(ConfigResourceType.TOPIC, registry, {"cleanup.policy": "compact,delete"})
        await admin.alter_configs([deleting])
        await admin.delete_records({TopicPartition(registry, 0): RecordsToDelete(RECORDS)})
    finally:
        await admin.close()
    assert await read(settings, registry) == [b"after"]


async def read(settings: Settings, topic: str) -> list[bytes | None]:
    reader = TailReader(settings.kafka, topic)
    await reader.start()
    try:
        return [record.key async for records in reader.read_to_end() for record in records]
    finally:
        await reader.stop()
