"""Faults of one broker of three, or of more than one, in a cluster that keeps all that it acknowledged."""

import asyncio
import random
import signal
from collections.abc import Sequence

from schemas.topics import ATTACH, EPOCHS, LEDGER, PANES, REGISTRY, SIGHTINGS
from tests.chaos.field import Field
from tests.support.kafka_cluster import BROKERS, KafkaCluster

IN_STEP_S = 90.0
MOVED = (ATTACH, REGISTRY, EPOCHS, SIGHTINGS, PANES, LEDGER)


async def node(field: Field, rng: random.Random) -> None:
    """SIGKILL a broker, and start it again, at once or after others lead what it led."""
    await _die(field, [rng.choice(BROKERS)], rng.choice([0.0, 5.0, 15.0]))


async def two(field: Field, rng: random.Random) -> None:
    """SIGKILL two: too few are left to acknowledge anything, and maybe to lead."""
    await _die(field, rng.sample(BROKERS, 2), rng.uniform(0.0, 12.0))


async def every(field: Field, rng: random.Random) -> None:
    """SIGKILL all three, and start them in a drawn order."""
    await _die(field, rng.sample(BROKERS, 3), rng.uniform(0.0, 6.0))


async def hang(field: Field, rng: random.Random) -> None:
    """SIGSTOP a broker, mostly until others lead what it led: it then thinks that it leads it still."""
    which = rng.choice(BROKERS)
    cluster = _cluster(field)
    cluster.signal(which, signal.SIGSTOP)
    await asyncio.sleep(rng.choice([2.0, 8.0, 15.0, 25.0]))
    cluster.signal(which, signal.SIGCONT)


async def order(field: Field, rng: random.Random) -> None:
    """Restart all three in order, each once the one before it is in step again, as an upgrade does."""
    cluster = _cluster(field)
    for which in rng.sample(BROKERS, 3):
        if not await _in_step(field):
            field.say("order: not all partitions came back in step")
        await asyncio.to_thread(cluster.end, which)
        await _start(cluster, which)


async def disk(field: Field, rng: random.Random) -> bool:
    """A broker loses its disk, and gets all from the others again. Returns False where these may not have it all."""
    if not await _in_step(field):
        return False
    cluster, which = _cluster(field), rng.choice(BROKERS)
    await asyncio.to_thread(cluster.kill, which)
    await asyncio.to_thread(cluster.lose_disk, which)
    await _start(cluster, which)
    return True


async def reassign(field: Field, rng: random.Random) -> None:
    """Each partition of a few topics gets another leader, drawn anew a few times: nobody is gone meanwhile."""
    topics = rng.sample(MOVED, 3)
    for _ in range(rng.randint(1, 3)):
        await field.cluster.reassign(topics, lambda: rng.sample(BROKERS, 3))
        await asyncio.sleep(rng.uniform(5.0, 8.0))  # Kafka looks every 5 s who is to lead


def _cluster(field: Field) -> KafkaCluster:
    assert field.brokers is not None
    return field.brokers


async def _die(field: Field, which: Sequence[int], for_s: float) -> None:
    cluster = _cluster(field)
    for each in which:
        await asyncio.to_thread(cluster.kill, each)
    await asyncio.sleep(for_s)
    await _start(cluster, *reversed(which))


async def _start(cluster: KafkaCluster, *which: int) -> None:
    for each in which:
        cluster.start(each)
    await asyncio.to_thread(cluster.wait_for, *which)


async def _in_step(field: Field) -> bool:
    """Wait until every partition is kept by all three; whether it came to that."""
    deadline = asyncio.get_running_loop().time() + IN_STEP_S
    while behind := await field.cluster.kept_by_fewer(len(BROKERS)):
        if asyncio.get_running_loop().time() > deadline:
            field.say(f"after {IN_STEP_S:g} s not in step: {behind[:3]}")
            return False
        await asyncio.sleep(0.5)
    return True
