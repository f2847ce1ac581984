"""A raw partition that says nothing: the gateway beats for it where the broker stamps records."""

import asyncio
import json
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from msgspec.structs import replace

from schemas.registry import BEAT_KEY
from schemas.topics import ATTACH, REGISTRY
from streams.simulate import make_town, plan
from streams.stores.topics import create
from tests.support.deployment import Workers, fetch, read_topic, total
from tests.support.small import small

pytestmark = pytest.mark.integration


async def watermark_passes(until_s: float, crowd_port: int) -> None:
    async with asyncio.timeout(180):
        while True:
            await asyncio.sleep(0.5)
            try:
                text = await asyncio.to_thread(fetch, crowd_port)
            except OSError:
                continue
            if total({"crowd": text}, "crowd", "throng_crowd_watermark_seconds")["0"] > until_s:
                return


async def test_a_silent_source_holds_nobodys_watermark(stack: object, namespace: str, tmp_path: Path) -> None:
    others = {"kafka.raw_partitions": 3, "gateway.beat_ms": 300}
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)), **others)
    await create(settings)
    event = {"event_id": "e", "imsi": "001010000000001", "ts": time.time_ns() // 10**6, "cell": "001-01-0000001"}
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        await producer.send_and_wait(settings.topic(ATTACH), json.dumps(event).encode(), partition=0)
    workers = Workers(settings, tmp_path)
    for role in ("gateway", "crowd"):
        await workers.start(role)
    try:
        await watermark_passes(event["ts"] / 1000 - 9, workers.ports["crowd"])
        beats = [json.loads(record.value) for record in await read_topic(settings, ATTACH) if record.partition > 0]
        assert {beat["source"] for beat in beats} == {"gateway-1", "gateway-2"}
        # The registry's partitions are sources as well here; one that says nothing holds nobody's watermark either.
        registry = await read_topic(settings, REGISTRY)
        assert {record.key for record in registry} == {BEAT_KEY}
        assert {record.partition for record in registry} == {0, 1, 2, 3}
        # One that is added while the gateway runs is beaten for as well, or it would hold everybody's.
        await create(replace(settings, kafka=replace(settings.kafka, raw_partitions=4)))
        await watermark_passes(time.time() - 9, workers.ports["crowd"])
        added = [json.loads(record.value) for record in await read_topic(settings, ATTACH) if record.partition == 3]
        assert {beat["source"] for beat in added} == {"gateway-3"}
    finally:
        await workers.stop()
