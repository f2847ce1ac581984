"""A batch of a few kilobytes that unpacks to most of a gigabyte: a real broker takes it, a gateway rejects it whole."""

import asyncio
import json
import time
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import ATTACH, REJECTS
from streams.simulate import make_town, plan
from streams.stores.topics import create
from tests.support.deployment import Workers, fetch, read_topic, total
from tests.support.small import small

pytestmark = pytest.mark.integration

RECORD = bytes(16 << 20)
RECORDS = 50


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


async def test_it_is_rejected_as_one_record_and_what_follows_is_counted(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)), **{"gateway.beat_ms": 0})
    await create(settings)
    attach = settings.topic(ATTACH)
    event = {"imsi": "001010000000001", "ts": time.time_ns() // 10**6, "cell": "001-01-0000001"}
    workers = Workers(settings, tmp_path)
    sizes = {"max_batch_size": 1 << 30, "compression_type": "zstd"}
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap, **sizes) as producer:
        await producer.send_and_wait(attach, json.dumps(event | {"event_id": "before"}).encode(), partition=0)
        await workers.start("gateway")
        try:
            port = workers.ports["gateway"]
            await counted(port, "throng_gateway_events_total", "0", 1)
            before = psutil.Process(workers.running["gateway"].pid).memory_info().rss
            batch = producer.create_batch()
            for number in range(RECORDS):
                assert batch.append(key=None, value=RECORD, timestamp=event["ts"] + number) is not None
            batch.close()
            await (await producer.send_batch(batch, attach, partition=0))
            await producer.send_and_wait(attach, json.dumps(event | {"event_id": "after"}).encode(), partition=0)
            await counted(port, "throng_gateway_events_total", "0", 3)
            status = Path(f"/proc/{workers.running['gateway'].pid}/status").read_text()  # noqa: ASYNC240
            peak = int(status.split("VmHWM:")[1].split()[0]) << 10
            assert peak - before < len(RECORD) * RECORDS / 2
            await counted(port, "throng_gateway_rejects_total", "oversized", 1)
        finally:
            await workers.stop()
    told = [{name: value.decode() for name, value in each.headers} for each in await read_topic(settings, REJECTS)]
    assert [each["offset"] for each in told if each["reason"] == "oversized"] == ["1"]
    assert {each["offset"] for each in told} <= {"0", "1", str(1 + RECORDS)}
    assert f"a batch of {RECORDS} records" in workers.last_words("gateway")
