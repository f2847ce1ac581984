"""Faults of workers. The watchman doesn't touch a worker that a fault holds."""

import asyncio
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from schemas.topics import LEDGER
from tests.chaos.field import SESSION_S, Field

JOIN_S = 30.0
LEDGER_S = 30.0


@contextmanager
def held(field: Field, *names: str) -> Iterator[None]:
    """Nobody else starts these workers meanwhile."""
    field.held.update(names)
    try:
        yield
    finally:
        field.held.difference_update(names)


async def kill(field: Field, rng: random.Random) -> None:
    """SIGKILL a worker; start it again at once, or when its session is over."""
    name = field.one(rng)
    with held(field, name):
        await field.end(name, signal.SIGKILL)
        await asyncio.sleep(rng.choice([0.0, 0.0, SESSION_S + 2]))
        await field.workers.start(name)


async def stop(field: Field, rng: random.Random) -> None:
    """SIGSTOP a worker, mostly for longer than its session, and let it go on: a zombie."""
    await field.freeze([field.one(rng)], rng.choice([0.5, SESSION_S + 2, SESSION_S + 4, SESSION_S + 6]))


async def leave(field: Field, rng: random.Random) -> None:
    """End a worker in order, and start it again."""
    name = field.one(rng)
    with held(field, name):
        if code := await field.end(name):
            field.say(f"{name} left with {code}: {field.last_words(name)}")
        await field.workers.start(name)


async def rebalance(field: Field, rng: random.Random) -> None:
    """One more worker joins for a while; as soon as the group begins to rebalance another is killed or stopped."""
    role = rng.choice(["gateway", "crowd", "release"])
    other = field.one(rng, role)
    extra = f"{role}-9"
    what = rng.choice(["kill", "stop", "nothing"])
    with held(field, extra, other):
        await field.workers.start(extra)
        await _unsettled(field, role)
        await asyncio.sleep(rng.uniform(0.0, 0.6))
        if what == "kill":
            await field.end(other, signal.SIGKILL)
        elif what == "stop":
            await field.freeze([other], rng.choice([1.0, SESSION_S + 2]))
        await asyncio.sleep(rng.uniform(0.5, 4.0))
        process = field.workers.running[other]
        if process.returncode is not None:
            await field.workers.start(other)
        await field.end(extra, rng.choice([signal.SIGTERM, signal.SIGKILL]))
        field.workers.running.pop(extra)


async def _unsettled(field: Field, role: str) -> None:
    """Wait until the group is no longer stable; for a while, since a broker may be away."""
    try:
        async with asyncio.timeout(JOIN_S), field.cluster.admin() as admin:
            while await field.cluster.group_state(admin, role) == "Stable":  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.03)
    except Exception as error:  # noqa: BLE001 - whatever the broker's absence makes of the question
        field.say(f"rebalance not seen ({type(error).__name__})")


async def midrelease(field: Field, rng: random.Random) -> None:
    """The moment that the ledger grows, and a drawn time later, kill or stop the release workers."""
    delay = rng.choice([0.0, 0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3])
    stopping = rng.random() < 0.4
    for_s = rng.choice([1.0, SESSION_S + 2])
    releases = sorted(name for name in field.workers.running if name.startswith("release"))
    with held(field, *releases):
        await _ledger_grows(field)
        await asyncio.sleep(delay)
        if stopping:
            await field.freeze(releases, for_s)
            return
        for name in releases:
            field.send(name, signal.SIGKILL)
        for name in releases:
            await field.end(name, signal.SIGKILL)
            await field.workers.start(name)


async def _ledger_grows(field: Field) -> None:
    try:
        async with asyncio.timeout(LEDGER_S), field.cluster.consumer() as consumer:
            tps = await field.cluster.partitions(consumer, LEDGER)
            before = await consumer.end_offsets(tps)
            while await consumer.end_offsets(tps) == before:  # noqa: ASYNC110 - other processes
                await asyncio.sleep(0.002)
    except Exception as error:  # noqa: BLE001 - as above
        field.say(f"the ledger was not seen to grow ({type(error).__name__})")


async def skew(field: Field, rng: random.Random) -> None:
    """A worker runs for a while by a clock that is hours off; its monotonic clock is right."""
    assert field.faketime is not None
    name = field.one(rng)
    hours = rng.choice([-30, -3, -1, 1, 5, 26])
    environ = {
        "LD_PRELOAD": str(field.faketime),
        "FAKETIME": f"{hours:+d}h",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with held(field, name):
        await field.end(name, rng.choice([signal.SIGTERM, signal.SIGKILL]))
        await field.workers.start(name, environ)
        await asyncio.sleep(rng.uniform(6.0, 12.0))
        await field.end(name, rng.choice([signal.SIGTERM, signal.SIGKILL]))
        await field.workers.start(name)
