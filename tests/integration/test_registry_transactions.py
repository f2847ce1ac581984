"""A registry that is written in transactions, on a real Kafka: what was rolled back is nobody's word, and holds nothing
up."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from schemas.attach import pack_imsi
from streams.core.gateway.registry import OPTED_OUT
from streams.errors import ThrongError
from streams.stores.registry import RegistryLog, RegistryReader, Stretch
from tests.support.reading import admin, make_topic, no_longer_open

pytestmark = pytest.mark.integration

IMSI = "001010000000001"
WHO = np.array([pack_imsi(IMSI)], np.uint64)
ALLOWED = orjson.dumps({"imsi": IMSI, "birth_year": 1980, "consent": {"marketing": "granted"}})
OUT = orjson.dumps({"imsi": IMSI, "opted_out": True})


@pytest.fixture
async def registry(stack: object, namespace: str) -> AsyncIterator[tuple[RegistryReader, RegistryLog]]:
    """Both readers of a registry in which an opt-out was followed by a consent that was rolled back."""
    kafka: str = stack.kafka  # type: ignore[attr-defined]
    topic = await make_topic(kafka, f"{namespace}.registry", 1)
    async with AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=topic) as producer:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, OUT, key=IMSI.encode(), partition=0)  # 0, and a marker
        await producer.commit_transaction()
        await producer.begin_transaction()
        await producer.send_and_wait(topic, ALLOWED, key=IMSI.encode(), partition=0)  # 2, and a marker
        await producer.abort_transaction()
    await no_longer_open(kafka, topic)
    reader, log = RegistryReader(kafka, topic), RegistryLog(kafka, topic)
    await reader.start()
    await log.start()
    yield reader, log
    await log.stop()
    await reader.stop()


async def test_a_reading_that_goes_on_behind_what_was_rolled_back_takes_it_for_no_other_topic(
    stack: object, registry: tuple[RegistryReader, RegistryLog]
) -> None:
    reader, log = registry
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka) as producer:  # type: ignore[attr-defined]
        for number in range(3):
            await producer.send_and_wait(log._topic, ALLOWED, key=IMSI.encode(), partition=0)
            await reader._read()
            assert not int(reader.table.get(WHO)[0]) & OPTED_OUT, number


async def test_a_registry_that_was_made_anew_and_is_longer_by_now_is_not_read_on(
    stack: object, registry: tuple[RegistryReader, RegistryLog]
) -> None:
    """By its ends alone it was the old one: opt-outs up to where that ended were never read."""
    reader, log = registry
    kafka: str = stack.kafka  # type: ignore[attr-defined]
    async with admin(kafka) as client:
        await client.delete_topics([log._topic])
    await make_topic(kafka, log._topic, 1)
    async with AIOKafkaProducer(bootstrap_servers=kafka) as producer:
        for _ in range(9):
            await producer.send_and_wait(log._topic, ALLOWED, key=IMSI.encode(), partition=0)
    with pytest.raises(ThrongError, match="it begins with a record that came after all that was read") as refused:
        await reader._read()
    assert refused.value.code == "made_anew"


async def read_to(log: RegistryLog, end: int) -> list[Stretch]:
    found: list[Stretch] = []
    async with asyncio.timeout(20):
        while not found or found[-1].next_offset < end:
            found += (await log.poll()).values()
    return found


async def test_a_consent_that_was_rolled_back_is_none(registry: tuple[RegistryReader, RegistryLog]) -> None:
    reader, log = registry
    assert int(reader.table.get(WHO)[0]) & OPTED_OUT
    assert await log.place({0: 0}, 0) == {0: (0, 4)}
    assert [record.value for stretch in await read_to(log, 4) for record in stretch.records] == [OUT]


async def test_who_begins_behind_the_last_record_is_told_that_nothing_more_is_there(
    registry: tuple[RegistryReader, RegistryLog],
) -> None:
    _, log = registry
    assert await log.place({0: 2}, 0) == {0: (2, 4)}
    assert await read_to(log, 4) == [Stretch([], 4)], "a gateway takes no raw record before it has read so far"
