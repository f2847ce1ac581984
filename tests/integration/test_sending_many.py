"""Many small records in few sends: all of them, in order, whatever their size."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.agents.producing import Producer
from streams.stores.outgoing import Outgoing

pytestmark = pytest.mark.integration


async def test_all_arrive_in_order_in_few_batches(stack: object, namespace: str) -> None:
    bootstrap, topic = stack.kafka, f"{namespace}.many"  # type: ignore[attr-defined]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    sizes = [100, 0, 200_000, 20_000, *([150] * 500)]
    records = [Outgoing(b"%d" % n, b"v" * size, [("n", b"%d" % n)]) for n, size in enumerate(sizes)]
    records.append(Outgoing(b"null", None, []))
    records += [Outgoing(b"then", b"v" * 500, [], 1_772_420_400_000 + n) for n in range(2_000)]
    producer = Producer(bootstrap, 30_000)
    await producer.start()
    try:
        await producer.send(topic, b"first", key=b"first", partition=0)
        acknowledged = await producer.send_many(topic, 0, records)
        await asyncio.gather(*acknowledged, *await producer.send_many(topic, 0, []))
    finally:
        await producer.stop()
    assert len(acknowledged) < len(records) / 200
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.seek_to_beginning()
        found = [await asyncio.wait_for(consumer.getone(), 30) for _ in range(len(records) + 1)]
    finally:
        await consumer.stop()
    assert [one.timestamp for one in found[-2_000:]] == [one.timestamp_ms for one in records[-2_000:]]
    assert [Outgoing(one.key, one.value, list(one.headers)) for one in found] == [
        Outgoing(b"first", b"first", []),
        *(one._replace(timestamp_ms=None) for one in records),
    ]
