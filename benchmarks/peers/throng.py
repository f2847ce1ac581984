"""throng on the same job: the real roles gateway and crowd as processes, a real Redis, a namespace of its own a run.

What it does is more than the job: see README.md. Its registry holds everybody's consent and is loaded before the CPU
is sampled, so its loading is not in the figure; neither are the servers' CPU (Kafka's and Redis's; as with every peer
it is told beside it) nor the release role, which works once a pane. Panes are throng's own: exact counts by its own
rules, which `check_throng` holds against its own plain oracle.
"""

import asyncio
import contextlib
import json
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.peers.job import PARTITIONS, SHAPES, Size, blocks, cell_texts, zone_of
from benchmarks.peers.measure import cpu_s, memory_mb, servers_cpu_s
from benchmarks.peers.publish import Input, Packed, Told, people, publish, registry, remove
from schemas.panes import Pane
from schemas.topics import ATTACH, PANES, REGISTRY, TOPICS
from streams.local.stack import Stack
from streams.settings import Settings, load_settings
from streams.stores.topics import create
from tests.oracle.counting import count
from tests.oracle.gate import screen
from tests.support.deployment import Workers, fetch, opened, policy, total
from tests.support.panes import summed

BASE_PANE_MS: Final = 300_000
WITHIN_S: Final = 600.0
SAMPLED_S: Final = 0.2
DISTRICTS: Final = 40
# By role the counter of what it has taken.
EVENTS: Final = {"gateway": "throng_gateway_events_total", "crowd": "throng_crowd_sightings_total"}
DOES_MORE: Final = (
    "consent, policy and age by a registry of all subscribers; keyed BLAKE2b; sorting in event time across partitions; "
    "windows of 15 and 60 minutes as of each 10 s, the newest into Redis; silence, ping-pong, stays; caps; cohorts; "
    "chained frames through Kafka; rejects on a topic"
)


class Mark(NamedTuple):
    """How far the workers were: CPU-seconds and events of each role; CPU-seconds of Kafka and Redis."""

    at_s: float
    gateway_cpu_s: float
    gateway_events: int
    crowd_cpu_s: float
    crowd_events: int
    servers_s: float = 0.0


class ThrongRun(NamedTuple):
    """Events per CPU-second after the warm-up: of both roles together, and each; per second of wall time; what the
    servers took, ns an event."""

    rate: float
    gateway: float
    crowd: float
    wall_rate: float
    servers_ns: float
    memory_mb: dict[str, float]


def zone_plan(size: Size) -> dict[str, object]:
    """The same cells and zones as a zone plan."""
    names = cell_texts(size.cells)
    return {
        **{"version": 1, "name": "peers", "timezone": "Europe/Berlin"},
        "parents": [{"id": f"d{number}", "name": f"District {number}"} for number in range(DISTRICTS)],
        "zones": [{"id": f"z{n}", "name": f"Zone {n}", "parent": f"d{n % DISTRICTS}"} for n in range(size.zones)],
        "cells": [{"cell": names[number], "zone": f"z{zone_of(number, size.zones)}"} for number in range(size.cells)],
    }


def settings_in(folder: Path, stack: Stack, size: Size, others: dict[str, object] | None = None) -> Settings:
    """Defaults, but for where things are, 16 raw partitions, topics that keep a replay's old records, and `others`."""
    (folder / "plan.json").write_text(json.dumps(zone_plan(size)))
    overrides = {
        **{"kafka.bootstrap": stack.kafka, "redis.url": stack.redis, "kafka.namespace": f"p{uuid.uuid4().hex[:8]}"},
        **{"kafka.keep_forever": True, "kafka.raw_partitions": PARTITIONS},
        **{"gateway.plan": str(folder / "plan.json"), "gateway.keys": str(folder / "keys")},
        **(others or {}),
    }
    return load_settings(None, overrides, {})


class Deployment:
    """One run's namespace: its topics, filled; its workers; the panes they made. `stack`: whose CPU is sampled too."""

    def __init__(self, settings: Settings, folder: Path, stack: Stack | None = None) -> None:
        self.settings = settings
        self._stack = stack
        self.workers = Workers(settings, folder)
        self.panes: dict[tuple[int, int], Pane] = {}
        self._consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka.bootstrap, enable_auto_commit=False)

    async def fill(self, packed: list[Packed], consents: list[Packed], told: Told) -> None:
        """Make the topics and publish."""
        await create(self.settings)
        await publish(self.settings.kafka.bootstrap, self.settings.topic(REGISTRY), consents, lambda _: None)
        await publish(self.settings.kafka.bootstrap, self.settings.topic(ATTACH), packed, told)

    async def start(self, sets: int = 1) -> None:
        """Start `sets` workers of both roles, and follow the panes."""
        await self._consumer.start()
        self._consumer.assign([TopicPartition(self.settings.topic(PANES), 0)])
        await self._consumer.seek_to_beginning()
        for number in range(sets):
            for role in ("crowd", "gateway"):
                await self.workers.start(f"{role}-{number}")

    async def until(self, end_ms: int) -> None:
        """Wait for the pane that ends then, from all partitions."""
        async with asyncio.timeout(WITHIN_S):
            while sum(pane.end_ms == end_ms for pane in self.panes.values()) < self.settings.kafka.partitions:
                assert self.workers.all_up(), "a worker ended"
                for records in (await self._consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        pane = msgspec.msgpack.decode(record.value, type=Pane)
                        self.panes[pane.partition, pane.number] = pane

    def mark(self) -> Mark:
        """Sample all workers."""
        said, cpu = {}, {}
        for name, process in self.workers.running.items():
            counter = EVENTS[name.split("-")[0]]
            # A busy worker answers late, and tells how far it is then. What it takes to answer is in its CPU.
            said[name] = fetch(self.workers.ports[name], f"metrics?name[]={counter}")
            cpu[name] = cpu_s(process.pid)
        gateway, crowd = (sum(total(said, role, counter).values()) for role, counter in EVENTS.items())
        spent = {role: sum(s for name, s in cpu.items() if name.startswith(role)) for role in ("gateway", "crowd")}
        servers_s = servers_cpu_s(self._stack) if self._stack else 0.0
        return Mark(time.monotonic(), spent["gateway"], gateway, spent["crowd"], crowd, servers_s)

    def memory(self) -> dict[str, float]:
        """Resident memory by worker, MB."""
        return {name: memory_mb(process.pid) for name, process in self.workers.running.items()}

    async def follow(self, marks: list[Mark]) -> None:
        """Sample all workers until cancelled."""
        while True:
            with contextlib.suppress(OSError):  # they are starting
                marks.append(await asyncio.to_thread(self.mark))
            await asyncio.sleep(SAMPLED_S)

    async def stop(self) -> None:
        """End the workers and remove the topics."""
        for process in self.workers.running.values():
            if process.returncode is None:
                process.terminate()
        for process in self.workers.running.values():
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()
        await self._consumer.stop()
        await remove(self.settings.kafka.bootstrap, [self.settings.topic(topic.name) for topic in TOPICS])


async def run_throng(
    stack: Stack,
    made: Input,
    shape: str,
    consents: list[Packed],
    told: Told,
    watch: Callable[[Workers], None] | None = None,
) -> ThrongRun:
    """One run over the whole input. `watch` is told of the workers once the crowd's warm-up is over."""
    with tempfile.TemporaryDirectory() as name:
        deployment = Deployment(settings_in(Path(name), stack, made.size), Path(name), stack)
        await deployment.fill(made.packed[shape], consents, told)
        marks: list[Mark] = []
        following: asyncio.Task[None] | None = None
        try:
            await deployment.start()
            following = asyncio.create_task(deployment.follow(marks))
            ends = pane_ends(made.size)
            await deployment.until(ends[len(ends) // 3 - 1])
            if watch is not None:
                watch(deployment.workers)
            await deployment.until(ends[-1])
            marks.append(await asyncio.to_thread(deployment.mark))
            return rates(*warmed(marks), deployment.memory())
        finally:
            if following is not None:
                following.cancel()
            await deployment.stop()


def pane_ends(size: Size) -> list[int]:
    """The ends of throng's panes that hold events."""
    last = -(-size.end_ms // BASE_PANE_MS) * BASE_PANE_MS
    return list(range(size.end_ms - size.minutes * 60_000 + BASE_PANE_MS, last + 1, BASE_PANE_MS))


def warmed(marks: list[Mark]) -> tuple[Mark, Mark]:
    """Where each role had taken a third of its events, and where all of them; the wall time is the crowd's.

    The gateway may have all before the crowd has a third: its share by the crowd's times would be that of idling. The
    servers' time can't be told apart by role: it is from the gateway's third to the crowd's end, so rather too much.
    """
    last = marks[-1]
    gateways = [mark for mark in marks if mark.gateway_events >= last.gateway_events / 3]
    crowds = [mark for mark in marks if mark.crowd_events >= last.crowd_events / 3]
    ended = next(mark for mark in marks if mark.gateway_events == last.gateway_events)
    third = gateways[0]
    begun = crowds[0]._replace(
        gateway_cpu_s=third.gateway_cpu_s, gateway_events=third.gateway_events, servers_s=third.servers_s
    )
    return begun, last._replace(gateway_cpu_s=ended.gateway_cpu_s)


def rates(begin: Mark, end: Mark, memory: dict[str, float]) -> ThrongRun:
    """Each role's cost by its own events, the servers' by the gateway's.

    Raises:
        AssertionError: a role had nothing left to do after the warm-up.
    """
    assert end.gateway_events > begin.gateway_events, "the gateway was too fast to be sampled: take more events"
    assert end.crowd_events > begin.crowd_events, "the crowd was too fast to be sampled: take more events"
    gateway = (end.gateway_cpu_s - begin.gateway_cpu_s) / (end.gateway_events - begin.gateway_events)
    crowd = (end.crowd_cpu_s - begin.crowd_cpu_s) / (end.crowd_events - begin.crowd_events)
    wall = (end.crowd_events - begin.crowd_events) / (end.at_s - begin.at_s)
    servers_ns = (end.servers_s - begin.servers_s) / (end.gateway_events - begin.gateway_events) * 1e9
    return ThrongRun(1 / (gateway + crowd), 1 / gateway, 1 / crowd, wall, servers_ns, memory)


async def check_throng(stack: Stack, made: Input, shapes: list[str], told: Told) -> int:
    """Whether the panes of a deployment are those of throng's own oracle; how many shapes aren't."""
    consents = registry(made.size.subscribers)
    wrong = 0
    for shape in shapes:
        with tempfile.TemporaryDirectory() as name:
            deployment = Deployment(settings_in(Path(name), stack, made.size), Path(name))
            await deployment.fill(made.packed[shape], consents, told)
            try:
                await deployment.start()
                ends = pane_ends(made.size)
                await deployment.until(ends[-1])
                epochs = [msgspec.to_builtins(epoch) for epoch in await opened(deployment.settings)]
            finally:
                await deployment.stop()
        found = summed(pane for pane in deployment.panes.values() if pane.end_ms <= ends[-1])
        right = _right(made, shape, epochs)
        bad = [key for key, counts in found.items() if counts != right[key]]
        bad += [key for key in right.keys() - found.keys() if epochs[0]["start_ms"] + key[2] * BASE_PANE_MS <= ends[-1]]
        wrong += bool(bad)
        judged = f"WRONG: {bad[:5]}" if bad else "equal to its own oracle"
        told(f"throng {shape}: {judged} ({len(found)} panes of measures)")
    return wrong


def _right(made: Input, shape: str, epochs: list[dict]) -> dict:
    """The panes by the plain implementation in tests/oracle."""
    log = [
        (block.partition, offset, at, value)
        for block in blocks(made.size, made.events, SHAPES[shape])
        for offset, (at, value) in enumerate(block.values())
    ]
    registered = {key.decode(): json.loads(value) for key, value in people(made.size.subscribers)}
    gate = screen(log, registered, policy(), zone_plan(made.size), epochs, 10_000)
    return count(gate.sightings, epochs, [n % DISTRICTS for n in range(made.size.zones)], gate.until).panes
