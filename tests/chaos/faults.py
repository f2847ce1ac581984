"""The faults that chaos draws from, and how they are drawn.

Lanes run side by side: faults of workers, of servers, of the raw log; of a cluster's brokers where there is one (then
servers' faults are Redis's). Each lane deals its faults from a shuffled
deck, so that a short run covers many, and waits a drawn time between them. The seed decides the order in each lane and
every fault's parameters; how the lanes fall together is up to the machine. `lost` waits until it is alone.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final

from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from tests.chaos import broker_faults, input_faults, server_faults, worker_faults
from tests.chaos.field import Field
from tests.chaos.server_faults import Copies

Fault = Callable[[Field, random.Random], Awaitable[bool | None]]

WORKERS: Final[dict[str, Fault]] = {
    "kill": worker_faults.kill,
    "stop": worker_faults.stop,
    "leave": worker_faults.leave,
    "rebalance": worker_faults.rebalance,
    "midrelease": worker_faults.midrelease,
    "skew": worker_faults.skew,
}
ONE_BROKER: Final[dict[str, Fault]] = {
    "broker": server_faults.broker,
    "servers": server_faults.servers,
}
BROKERS: Final[dict[str, Fault]] = {
    "node": broker_faults.node,
    "two": broker_faults.two,
    "every": broker_faults.every,
    "hang": broker_faults.hang,
    "order": broker_faults.order,
    "disk": broker_faults.disk,
    "reassign": broker_faults.reassign,
}
SERVERS: Final[dict[str, Fault]] = {
    "redis": server_faults.redis,
    "restore": server_faults.restore,  # type: ignore[dict-item]  # gets the copies, see `lanes`
    "promote": server_faults.promote,
    "flush": server_faults.flush,
    "pause": server_faults.pause,
    "full": server_faults.full,
    "tcp": server_faults.tcp,
}
RAW_LOG: Final[dict[str, Fault]] = {"poison": input_faults.poison, "lost": input_faults.lost}
LANES: Final = {
    1: (WORKERS, SERVERS | ONE_BROKER, RAW_LOG),
    3: (WORKERS, SERVERS, RAW_LOG, BROKERS),
}
ALONE: Final = frozenset({"lost"})
SHORT: Final = 3  # a lane of fewer faults waits longer between them
OVERTIME_S: Final = 180.0


def faults(brokers: int) -> list[str]:
    """The names of all that there are with so many brokers."""
    return [name for lane in LANES[brokers] for name in lane]


def lanes(names: Sequence[str], copies: Copies, brokers: int) -> list[dict[str, Fault]]:
    """The chosen faults by lane."""

    async def restore(field: Field, rng: random.Random) -> None:
        await server_faults.restore(field, rng, copies)

    every = [{name: restore if name == "restore" else fault for name, fault in lane.items()} for lane in LANES[brokers]]
    chosen = [{name: fault for name, fault in lane.items() if name in names} for lane in every]
    return [lane for lane in chosen if lane]


def left_out(field: Field) -> dict[str, str]:
    """The faults that this machine can't do, and why."""
    reasons = {}
    if field.proxy is None:
        reasons["tcp"] = "there is no Go to build the proxy with"
    if field.faketime is None:
        reasons["skew"] = "libfaketime is not installed"
    if field.servers.redis_version < (7,):
        reasons["promote"] = "Redis is older than 7: its port can't be changed while it runs"
    return reasons


async def play(field: Field, names: Sequence[str], seed: int, for_s: float) -> None:
    """Deal faults for so long; and until each was done once, if that takes a little longer."""
    copies = Copies(field.folder)
    taking = asyncio.create_task(copies.keep_taking(field))
    loop = asyncio.get_running_loop()
    until = loop.time() + for_s
    try:
        async with asyncio.TaskGroup() as group:
            for number, lane in enumerate(lanes(names, copies, 3 if field.brokers else 1)):
                group.create_task(_lane(field, lane, random.Random(f"{seed}/{number}"), until))
    finally:
        taking.cancel()


def dealt(names: Iterable[str], rng: random.Random) -> Iterator[tuple[str, random.Random]]:
    """Names without end, each of them once before any comes again; and what its parameters are drawn from."""
    while True:
        deck = sorted(names)
        rng.shuffle(deck)
        for name in deck:
            yield name, random.Random(rng.random())


async def _lane(field: Field, lane: dict[str, Fault], rng: random.Random, until: float) -> None:
    loop = asyncio.get_running_loop()
    for name, drawn in dealt(lane, rng):
        missing = [name for name in lane if not field.done[name]]
        now = loop.time()
        if now >= until and (not missing or now >= until + OVERTIME_S):
            return
        await asyncio.sleep(drawn.uniform(5.0, 20.0) if len(lane) < SHORT else drawn.uniform(0.5, 3.0))
        if loop.time() >= until and field.done[name]:
            continue
        await _do(field, name, lane[name], drawn)


async def _do(field: Field, name: str, fault: Fault, rng: random.Random) -> None:
    async with field.turns.alone() if name in ALONE else field.turns.together():
        field.say(name)
        try:
            done = await fault(field, rng)
        except (RedisError, KafkaError, OSError, TimeoutError) as error:
            # Another lane's fault was in the way of this one's tools.
            field.say(f"{name} not done: {type(error).__name__}: {error}")
            return
    if done is not False:
        field.done[name] += 1
