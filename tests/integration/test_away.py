"""Redis and Kafka full, stopped, and killed under a deployment at work: it waits, says so, loses nothing, goes on."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from redis.asyncio import Redis

from schemas.topics import SIGHTINGS
from streams.local.stack import Stack, start
from streams.stores.snapshots import SnapshotStore
from tests.integration.test_whole_job import (
    rejects_are_told,
    released_records_keep_the_rules,
    windows_in_redis_are_right,
)
from tests.support.deployment import Run, Workers, World, deployment, make_world
from tests.support.outages import Server, all_ready, says

pytestmark = pytest.mark.integration

ROLES = {"gateway": 1, "crowd": 1, "release": 1}
PARTITIONS = 4
# Short, so that each outage outlasts every one of them within seconds.
SHORT = {"kafka.request_ms": 1500, "redis.timeout_ms": 700, "crowd.snapshot_ms": 1000}
LONGER_THAN_ALL_S = 9  # the session of 6 s too


@pytest.fixture
def own_stack() -> "AsyncIterator[Stack]":
    with start(ephemeral=True, brief=True) as ready:
        yield ready


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(1000, 2)


async def stored(workers: Workers) -> None:
    """Wait until there is a snapshot of all that is in the log now, for every partition: they are caught up."""
    settings = workers.settings
    tps = [TopicPartition(settings.topic(SIGHTINGS), number) for number in range(PARTITIONS)]
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(tps)
    finally:
        await consumer.stop()
    async with Redis.from_url(settings.redis.url, socket_timeout=5) as redis, asyncio.timeout(180):
        store = SnapshotStore(redis, f"{settings.kafka.namespace}:")
        for tp in tps:
            while (await store.newest(tp.partition) or 0) < ends[tp]:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.2)


async def redis_is_full(workers: Workers) -> None:
    async with Redis.from_url(workers.settings.redis.url) as redis:
        await redis.config_set("maxmemory", "1")
        said = await says(workers, "crowd", "Redis is full")
        assert "counts" in said or "snapshots" in said
        await asyncio.sleep(1)
        await redis.config_set("maxmemory", "0")


async def redis_is_stopped(workers: Workers, redis: Server) -> None:
    redis.signal(signal.SIGSTOP)
    await says(workers, "crowd", "Redis does not answer in time")
    redis.signal(signal.SIGCONT)


async def redis_is_killed(workers: Workers, redis: Server) -> None:
    await redis.kill()
    await says(workers, "crowd", "Redis does not answer (ConnectionError)")
    await redis.restart()


async def kafka_is_away(workers: Workers) -> None:
    """Every role says so, and goes on saying so for longer than any time-out."""
    for role in ROLES:
        await says(workers, role, "Kafka does not answer for")
    async with asyncio.timeout(180):
        said_s = 0
        while said_s < LONGER_THAN_ALL_S:
            said = await says(workers, "gateway", "Kafka does not answer for")
            said_s = int(re.findall(r"for (\d+) s", said)[0])
            await asyncio.sleep(0.5)


async def kafka_is_stopped(workers: Workers, kafka: Server) -> None:
    kafka.signal(signal.SIGSTOP)
    await kafka_is_away(workers)
    kafka.signal(signal.SIGCONT)


async def kafka_is_killed(workers: Workers, kafka: Server) -> None:
    await kafka.kill()
    await kafka_is_away(workers)
    await kafka.restart()


async def equals_the_oracle(run: Run) -> None:
    assert sum(sum(counts.values()) for counts in run.panes.values()) > 1_000
    assert run.panes == {name: +counts for name, counts in run.result.panes.items()}
    await rejects_are_told(run)
    await windows_in_redis_are_right(run)
    await released_records_keep_the_rules(run)


@pytest.mark.timeout(600)
async def test_a_deployment_outlives_each_outage_and_loses_nothing(
    own_stack: Stack, namespace: str, world: World, tmp_path: Path
) -> None:
    redis, kafka = Server(own_stack, "redis"), Server(own_stack, "kafka")
    outages: list[Callable[[Workers], Awaitable[None]]] = [
        redis_is_full,
        lambda workers: redis_is_stopped(workers, redis),
        lambda workers: redis_is_killed(workers, redis),
        lambda workers: kafka_is_stopped(workers, kafka),
        lambda workers: kafka_is_killed(workers, kafka),
    ]

    async def one_after_the_other(workers: Workers) -> None:
        await all_ready(workers)
        for outage in outages:
            await outage(workers)
            await all_ready(workers)
            await stored(workers)

    try:
        async with deployment(
            own_stack, namespace, world, tmp_path, ROLES, PARTITIONS, 100.0, one_after_the_other, SHORT
        ) as run:
            await equals_the_oracle(run)
    finally:
        redis.end()
        kafka.end()
