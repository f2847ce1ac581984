"""What the harness asks Kafka, directly and not through the proxy."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest
from aiokafka.structs import ConsumerRecord

from streams.settings import Settings
from streams.stores.admin import Admin

PATIENCE_MS = 120_000
T = TypeVar("T")


async def started(make: Callable[[], T], stop: Callable[[T], Awaitable[None]] | None = None) -> T:
    """A started client of aiokafka's; another attempt each half second while no broker answers."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        client = make()
        try:
            await client.start()  # type: ignore[attr-defined]
        except KafkaError:
            await (stop(client) if stop else client.stop())  # type: ignore[attr-defined]
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.5)
        else:
            return client


class Cluster:
    """Questions to the broker of a run; each over a connection of its own, since the broker comes and goes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @asynccontextmanager
    async def consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """One without a group that sees committed records only."""
        consumer = await started(
            lambda: AIOKafkaConsumer(
                bootstrap_servers=self.settings.kafka.bootstrap,
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                isolation_level="read_committed",
                request_timeout_ms=PATIENCE_MS,
                max_partition_fetch_bytes=8 << 20,
            )
        )
        try:
            yield consumer
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[Admin]:
        admin = await started(
            lambda: Admin(bootstrap_servers=self.settings.kafka.bootstrap, request_timeout_ms=PATIENCE_MS),
            Admin.close,
        )
        try:
            yield admin
        finally:
            await admin.close()

    async def partitions(self, consumer: AIOKafkaConsumer, name: str) -> list[TopicPartition]:
        topic = self.settings.topic(name)
        await consumer._client.add_topic(topic)
        return [TopicPartition(topic, p) for p in sorted(consumer.partitions_for_topic(topic) or ())]

    async def ranges(self, name: str) -> dict[int, tuple[int, int]]:
        """First and next offset of each partition of a topic."""
        async with self.consumer() as consumer:
            tps = await self.partitions(consumer, name)
            starts, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        return {tp.partition: (starts[tp], ends[tp]) for tp in tps}

    async def committed(self, role: str, name: str) -> dict[int, tuple[int, str]]:
        """A role's commits: offset and the text beside it."""
        group = "-".join(filter(None, ("throng", self.settings.kafka.namespace, role)))
        async with self.admin() as admin:
            found = await admin.list_consumer_group_offsets(group)
        topic = self.settings.topic(name)
        return {tp.partition: (mark.offset, mark.metadata) for tp, mark in found.items() if tp.topic == topic}

    async def group_state(self, admin: Admin, role: str) -> str:
        """`Stable`, `PreparingRebalance`, ..."""
        group = "-".join(filter(None, ("throng", self.settings.kafka.namespace, role)))
        for response in await admin.describe_consumer_groups([group]):
            for described in response.groups:
                return str(described[2])
        return ""

    async def delete_below(self, name: str, offsets: Mapping[int, int]) -> None:
        """Move the start of partitions' logs."""
        topic = self.settings.topic(name)
        async with self.admin() as admin:
            wanted = {TopicPartition(topic, p): RecordsToDelete(before_offset=o) for p, o in offsets.items()}
            await admin.delete_records(wanted, timeout_ms=30_000)

    async def kept_by_fewer(self, brokers: int) -> list[str]:
        """Partitions, of all topics, that fewer brokers than these keep in step."""
        async with self.admin() as admin:
            topics = await admin.describe_topics()
        parts = [(topic["topic"], each) for topic in topics for each in topic["partitions"]]
        return [f"{name}-{each['partition']}" for name, each in parts if len(each["isr"]) < brokers]

    async def reassign(self, names: Iterable[str], brokers: Callable[[], list[int]]) -> None:
        """Have each partition of these topics kept by the brokers that are drawn for it; the first is to lead it.

        Raises:
            RuntimeError: Kafka refuses.
        """
        async with self.admin() as admin:
            described = await admin.describe_topics([self.settings.topic(name) for name in names])
            wanted = [(t["topic"], [(p["partition"], brokers(), {}) for p in t["partitions"]], {}) for t in described]
            said = await admin._send_request(AlterPartitionReassignmentsRequest(30_000, wanted, {}))
        if refused := [(t, p, code) for t, ps, _ in said.responses for p, code, _, _ in ps if code] or said.error_code:
            raise RuntimeError(f"chaos: Kafka reassigns no partitions: {refused}")

    async def read(self, name: str) -> list[ConsumerRecord]:
        """All committed records of a topic."""
        tail = Tail(self, name)
        async with tail:
            await tail.poll()
        return tail.records


class Tail:
    """A topic's records as far as read; `poll` reads to the end that the topic has by then."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self.records: list[ConsumerRecord] = []

    async def __aenter__(self) -> "Tail":
        self._context = self._cluster.consumer()
        self._consumer = await self._context.__aenter__()
        self._tps = await self._cluster.partitions(self._consumer, self._name)
        self._consumer.assign(self._tps)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._context.__aexit__(*error)

    async def poll(self) -> list[ConsumerRecord]:
        """The new records."""
        found: list[ConsumerRecord] = []
        ends = await self._consumer.end_offsets(self._tps)
        while any([await self._consumer.position(tp) < ends[tp] for tp in self._tps]):
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                found += records
            await asyncio.sleep(0)
        self.records += found
        return found
