"""Outlooks on their topic, by a release worker on a real Kafka, from a ledger that a replay has brought along."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import orjson
import pytest

from schemas.ledger import BROUGHT
from schemas.outlook import Outlook
from schemas.topics import FOOTFALL, LEDGER, OUTLOOK
from streams.core.derived.usual import A_WEEK, QUARTER_MS
from streams.settings import Settings, load_settings
from streams.simulate import make_town, plan
from streams.stores.topics import create
from tests.support.deployment import read_topic
from tests.support.ledgers import present
from tests.support.processes import begin_worker
from tests.support.reading import produce
from tests.unit.test_outlook import pane
from tests.unit.test_usual import MONDAY

pytestmark = pytest.mark.integration

SINCE_A_WEEK = 3


@asynccontextmanager
async def released(settings: Settings, folder: Path, records: int) -> AsyncIterator[list]:
    """While a release worker runs, once the topic has so many records: all of them."""
    worker = await begin_worker("release", settings, folder / "release.log")
    try:
        async with asyncio.timeout(120):
            while len(found := await read_topic(settings, OUTLOOK)) < records:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.5)
        yield found
    finally:
        worker.kill()
        await worker.wait()


async def test_consumers_get_outlooks_and_after_a_crash_the_same_ones(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    (tmp_path / "plan.json").write_bytes(orjson.dumps(plan(make_town(1, 500))))
    settings = load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
            "redis.url": stack.redis,  # type: ignore[attr-defined]
            "kafka.namespace": namespace,
            "kafka.keep_forever": True,  # the ledger is of a day that retention has passed
            "gateway.plan": str(tmp_path / "plan.json"),
            "worker.http_port": 0,
        },
        {},
    )
    await create(settings)
    ledger = [
        present(number + 1, MONDAY + number * QUARTER_MS, pane(number), BROUGHT)
        for number in range(A_WEEK + SINCE_A_WEEK)
    ]
    await produce(
        settings.kafka.bootstrap, settings.topic(LEDGER), [msgspec.msgpack.encode(record) for record in ledger]
    )
    async with released(settings, tmp_path, 3 * SINCE_A_WEEK) as first:
        once = {record.value for record in first}
    said = [msgspec.json.decode(value, type=Outlook) for value in once]
    assert sorted({each.end for each in said}) == [
        msgspec.json.decode(msgspec.json.encode(pane(A_WEEK + number)[0]))["end"] for number in range(SINCE_A_WEEK)
    ]
    assert {each.zone for each in said} == {"a", "b", "north"} and all(each.usual > 0 for each in said)
    # The one that was killed had published the last pane twice at least: as brought, and as the last.
    async with released(settings, tmp_path, len(first) + 3 * SINCE_A_WEEK) as again:
        assert {record.value for record in again} == once
    footfall = {orjson.loads(record.value)["end"] for record in await read_topic(settings, FOOTFALL)}
    assert len(footfall) == A_WEEK + SINCE_A_WEEK
