"""An epoch that somebody else than throng wrote, by which the noise would not be right: no gateway counts by it."""

import asyncio
import json
import time
from pathlib import Path

import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from schemas.epochs import Epoch
from schemas.measures import DEFAULT_MEASURES
from schemas.sightings import REGISTRY_SOURCE, Control, decode_heads
from schemas.topics import ATTACH, EPOCHS, SIGHTINGS
from streams.core.epochs import EpochTable, make_epoch
from streams.settings import load_settings
from streams.simulate import make_town, plan
from streams.stores.epochs import EpochReader
from streams.stores.log import TailReader
from streams.stores.plans import configured_plans
from streams.stores.topics import create
from tests.support.deployment import read_topic
from tests.support.processes import begin_worker, on_port
from tests.support.small import small
from tests.support.world import TERMS

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"cap": 0}, "measure arrivals: cap is 0, but arrivals of a subscriber must be bounded"),
        ({"share": 1.5}, "measure arrivals: share is 1.5"),
        (
            None,
            "epochs, partition 0, offset 0: the record is not as this release has it: if a newer one wrote it see",
        ),
    ],
)
async def test_a_gateway_ends_with_one_line_and_sends_nothing(
    stack: object, namespace: str, tmp_path: Path, wrong: dict[str, object] | None, sentence: str
) -> None:
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)))
    await create(settings)
    now_ms = time.time_ns() // 10**6
    arrivals = msgspec.structs.replace(DEFAULT_MEASURES[1], **(wrong or {}))
    places = configured_plans(settings).current
    ours = {"plan": places.hash(), "zones": len(places.zones), "parents": len(places.parents)}
    epoch = make_epoch(now_ms, TERMS._replace(partitions=1, measures=(arrivals,), **ours), EpochTable())
    written = msgspec.to_builtins(epoch) | ({"weather": "fine"} if wrong is None else {})
    event = {"event_id": "e", "imsi": "001010000000001", "ts": now_ms, "cell": "001-01-0000001"}
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        await producer.send_and_wait(settings.topic(EPOCHS), orjson.dumps(written), partition=0)
        await producer.send_and_wait(settings.topic(ATTACH), json.dumps(event).encode(), partition=0)
    log = tmp_path / "gateway.log"
    gateway = await begin_worker("gateway", settings, log, on_port(0))
    try:
        async with asyncio.timeout(120):
            assert await gateway.wait() == 1
    finally:
        if gateway.returncode is None:
            gateway.kill()
    said = log.read_text()
    assert "Traceback" not in said
    assert sentence in said.splitlines()[-1]
    found = [decode_heads(record.value) for record in await read_topic(settings, SIGHTINGS)]
    assert not any(head.source < REGISTRY_SOURCE for heads in found if not isinstance(heads, Control) for head in heads)


async def test_epochs_that_are_over_are_read_whatever_their_measures_were(stack: object, namespace: str) -> None:
    settings = load_settings(None, {"kafka.bootstrap": stack.kafka, "kafka.namespace": namespace}, {})  # type: ignore[attr-defined]
    await create(settings)
    past = make_epoch(1_772_420_400_000, TERMS._replace(measures=()), EpochTable())
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        await producer.send_and_wait(settings.topic(EPOCHS), msgspec.json.encode(past), partition=0)
    reader = EpochReader(TailReader(settings.kafka, settings.topic(EPOCHS)))
    await reader.start()
    try:
        found: list[Epoch] = reader.records
        assert found == [past]
    finally:
        await reader.stop()
