"""A cluster of three brokers, of which each goes in a way of its own while a deployment works: it goes on, and loses
nothing. That a worker stands still no longer than Kafka itself is `tests/unit/test_silent_broker.py`."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from streams.local.stack import Stack
from tests.integration.test_away import equals_the_oracle
from tests.support.deployment import START, Workers, World, deployment, fetch, make_world, total
from tests.support.kafka_cluster import KafkaCluster
from tests.support.outages import all_ready

pytestmark = pytest.mark.integration

ROLES = {"gateway": 2, "crowd": 2, "release": 1}
PARTITIONS = 4
SPEED = 80.0
STEP_S = 60
HOURS = 2
# Of the last minute nobody knows whether more comes.
ALL_S = START / 1000 + HOURS * 3600 - 60


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[KafkaCluster]:
    with KafkaCluster(tmp_path / "kafka", session_ms=3000) as ready:
        yield ready


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(1000, HOURS)


def watermarks(workers: Workers) -> dict[str, int]:
    """How far each partition is counted, s of event time. Who had it before still tells how far it came."""
    found: dict[str, int] = {}
    for name, port in workers.ports.items():
        for partition, at in total({name: fetch(port)}, "crowd", "throng_crowd_watermark_seconds").items():
            found[partition] = max(at, found.get(partition, 0))
    return found


async def goes_on(workers: Workers) -> None:
    """Wait until each partition of both topics has gone on (a raw one that stands holds all), or is at its end."""
    async with asyncio.timeout(240):
        before = await asyncio.to_thread(watermarks, workers)
        while True:
            assert workers.all_up(), "a worker ended"
            now = await asyncio.to_thread(watermarks, workers)
            on = {each: min(before.get(each, 0) + STEP_S, ALL_S) for each in now}
            if len(now) == PARTITIONS and all(now[each] >= on[each] for each in now):
                return
            await asyncio.sleep(0.3)


async def one_is_killed(workers: Workers, cluster: KafkaCluster) -> None:
    await asyncio.to_thread(cluster.kill, 1)
    await goes_on(workers)
    cluster.start(1)
    await asyncio.to_thread(cluster.wait_for, 1)


async def one_hangs(workers: Workers, cluster: KafkaCluster) -> None:
    cluster.signal(2, signal.SIGSTOP)
    await goes_on(workers)
    cluster.signal(2, signal.SIGCONT)  # it thinks that it leads what others lead by now


async def one_loses_its_disk(workers: Workers, cluster: KafkaCluster) -> None:
    await asyncio.to_thread(cluster.kill, 3)
    await asyncio.to_thread(cluster.lose_disk, 3)
    cluster.start(3)
    await asyncio.to_thread(cluster.wait_for, 3)
    await goes_on(workers)


async def one_is_restarted_in_order(workers: Workers, cluster: KafkaCluster) -> None:
    await asyncio.to_thread(cluster.end, 1)
    cluster.start(1)
    await asyncio.to_thread(cluster.wait_for, 1)


async def too_few_are_left(workers: Workers, cluster: KafkaCluster) -> None:
    """One, where two must have what is acknowledged."""
    for broker in (1, 2):
        await asyncio.to_thread(cluster.kill, broker)
    await asyncio.sleep(5)
    for broker in (1, 2):
        cluster.start(broker)
    await asyncio.to_thread(cluster.wait_for, 1, 2)


@pytest.mark.timeout(600)
async def test_a_deployment_outlives_the_loss_of_each_broker(
    stack: Stack, cluster: KafkaCluster, namespace: str, world: World, tmp_path: Path
) -> None:
    losses = one_is_killed, one_hangs, one_loses_its_disk, one_is_restarted_in_order, too_few_are_left

    async def one_after_the_other(workers: Workers) -> None:
        await all_ready(workers)
        await goes_on(workers)
        for loss in losses:
            await loss(workers, cluster)
            await all_ready(workers)
            await goes_on(workers)

    on = SimpleNamespace(kafka=cluster.bootstrap, redis=stack.redis)
    settings = {"kafka.replication": 3, "kafka.min_insync": 2}
    async with deployment(
        on, namespace, world, tmp_path, ROLES, PARTITIONS, SPEED, one_after_the_other, settings
    ) as run:
        await equals_the_oracle(run)
