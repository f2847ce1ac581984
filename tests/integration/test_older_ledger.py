"""A ledger that is older than what was told, on a real broker: nothing is drawn by it."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.ledger import LedgerRecord
from schemas.topics import FOOTFALL, LEDGER, RELEASED
from streams.core.release.release import seal
from streams.settings import Settings
from streams.simulate import make_town, plan
from streams.stores.admin import open_admin
from streams.stores.published import Published
from streams.stores.topics import create
from tests.support.deployment import Workers
from tests.support.small import small

pytestmark = pytest.mark.integration

PANE_MS = 300_000
FIRST_MS = 1_772_420_400_000


async def made(stack: object, namespace: str, folder: Path) -> Settings:
    """A deployment's topics, which keep records of another day."""
    settings = small(stack, namespace, folder, plan(make_town(1, 100, 20)))
    settings = msgspec.structs.replace(settings, kafka=msgspec.structs.replace(settings.kafka, keep_forever=True))
    await create(settings)
    return settings


def told(number: int) -> bytes:
    """What every released record says of a pane, and no more."""
    end = {1: "2026-03-02T03:05:00Z", 2: "2026-03-02T03:10:00Z", 3: "2026-03-02T03:15:00Z"}[number]
    return json.dumps({"schema": "footfall/1", "end": end, "plan": "0", "policy": "test", "zone": "z"}).encode()


async def write(settings: Settings, topic: str, *records: tuple[bytes | None, int], partition: int = 0) -> None:
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for value, time_ms in records:
            await producer.send_and_wait(
                settings.topic(topic), value, key=b"z", partition=partition, timestamp_ms=time_ms
            )


async def later_than(settings: Settings, number: int) -> str | None:
    published = Published(settings.kafka, [settings.topic(topic) for topic in RELEASED])
    await published.start()
    try:
        found = [await published.later_than(FIRST_MS + number * PANE_MS) for _ in "ab"]
        assert found[0] == found[1]
        return found[0]
    finally:
        await published.stop()


@pytest.mark.parametrize("stamped", [False, True], ids=["CreateTime", "LogAppendTime"])
async def test_what_was_told_later_is_found_by_what_it_says(
    stack: object, namespace: str, tmp_path: Path, stamped: bool
) -> None:
    settings = await made(stack, namespace, tmp_path)
    if stamped:
        changed = {"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"}
        admin = await open_admin(settings)
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, settings.topic(FOOTFALL), changed)])
        await admin.close()
    assert await later_than(settings, 0) is None
    now_ms = FIRST_MS + 10 * PANE_MS
    junk = [(value, now_ms) for value in (b"a trial", None, b"{}", b"[" * 5000, told(3)[:-1])]
    await write(settings, FOOTFALL, (told(1), FIRST_MS + PANE_MS), *junk, partition=1)
    # Of two releases the second repeats what the first has told.
    await write(settings, FOOTFALL, (told(2), FIRST_MS + 2 * PANE_MS), (told(1), FIRST_MS + PANE_MS), partition=3)
    assert await later_than(settings, 2) is None
    said = f"{settings.topic(FOOTFALL)}, partition 3, offset 0, to 2026-03-02T03:10:00Z"
    assert await later_than(settings, 1) == said


async def test_a_release_does_not_begin_by_it(stack: object, namespace: str, tmp_path: Path) -> None:
    settings = await made(stack, namespace, tmp_path)
    nothing = seal(())
    drawn = LedgerRecord(
        20260302, "present", 2, 0, FIRST_MS + 2 * PANE_MS, "void", b"", 0.0, b"", nothing, 7, 0.0, "one"
    )
    await write(settings, LEDGER, (msgspec.msgpack.encode(drawn), FIRST_MS))
    await write(settings, FOOTFALL, *((told(number), FIRST_MS + number * PANE_MS) for number in (1, 2, 3)))
    workers = Workers(settings, tmp_path)
    await workers.start("release")
    try:
        code = await asyncio.wait_for(workers.running["release"].wait(), 60)
    except TimeoutError:
        await workers.kill("release")
        raise
    said = workers.last_words("release")
    assert code == 1 and "to 2026-03-02T03:15:00Z: that was told, and the ledger ends before it" in said
