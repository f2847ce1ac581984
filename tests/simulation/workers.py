"""Workers of the three roles: the real shell (`streams.agents`) on the simulated cluster.

`Worker.live` stands in for Faust and the consumer: it joins the group, asks the role where to begin, fetches, and
gives everything back at a rebalance, all through the real `Tenure`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from aiokafka.errors import KafkaError
from numpy.typing import NDArray

from schemas.salts import WrappedSalt
from schemas.sightings import REGISTRY_SOURCE
from schemas.topics import ATTACH, EPOCHS, LEDGER, PANES, REJECTS, RELEASED, SALTS, SIGHTINGS
from streams.agents.crowd import CrowdAgent, Stores
from streams.agents.gateway import Commits, Gateway, Limits, Topics
from streams.agents.health import Readiness
from streams.agents.pacing import Alignment
from streams.agents.providing import Provider, Salts
from streams.agents.registrar import READER_OF, Registrar
from streams.agents.release import Releaser
from streams.agents.roles import Chunk, LogRange, Role, Tenure, Turn
from streams.agents.shredder import Shredder
from streams.agents.transport import Committed
from streams.core.crowd.crowd import Crowd
from streams.core.epochs import make_epoch
from streams.core.gateway.framing import Framer
from streams.core.gateway.gateway import NEVER_MS
from streams.core.release.render import Pages
from streams.errors import ThrongError
from streams.metrics import CrowdMetrics, GatewayMetrics, ReleaseMetrics
from streams.stores.counts import CountStore
from streams.stores.epochs import EpochKeeper, EpochReader
from streams.stores.ledger import Ledger
from streams.stores.noise import Noise, OnTheSpot
from streams.stores.released import Publisher
from streams.stores.salts import Vault
from streams.stores.snapshots import SnapshotStore
from tests.simulation.broker import Broker, Group, Node, Producer, RegistryTail
from tests.simulation.broker import Tail as SimulatedTail
from tests.simulation.redis import Client, Redis
from tests.simulation.world import ALL_SOURCES, LATENESS_MS, PARTITIONS, WORLD_TERMS
from tests.support.rules import SettledRules
from tests.support.world import PLAN, context_of

# Codes of an end that faults may bring about; every other one is a defect.
BY_FAULTS = {"drain_late", "positions_late", "overtaken", "ledger_cut"}
BEAT_S = 0.8
FETCH_S = 0.2
DRAIN_S = 5.0
SNAPSHOT_MS = 2_000
FLUSH_MS = 700
FLUSH_ROWS = 12
ALIGN_MS = 120_000


class Shared(NamedTuple):
    """What all workers of a schedule have in common; the metrics are one set for all, since nobody reads them."""

    broker: Broker
    redis: Redis
    keys: "Keys"
    registry: dict[str, dict[str, object]]
    parents: NDArray[np.uint16]
    noise: Noise
    begins: Callable[[str], None]
    begun: Callable[[Ledger], None]
    metrics: tuple[GatewayMetrics, CrowdMetrics, ReleaseMetrics]


class Keys:
    """A key service: keys of epochs, made once; destroyed for good."""

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._keys: dict[int, bytes | None] = {}

    def look(self) -> None: ...

    def seal(self, epoch: int, secret: bytes) -> WrappedSalt | None:
        key = self._keys.setdefault(epoch, self._token_bytes(32))
        return None if key is None else WrappedSalt(epoch, f"simulated:{epoch}", b"", _masked(secret, key))

    def open(self, wrapped: WrappedSalt) -> bytes | None:
        key = self._keys.get(wrapped.epoch)
        return None if key is None else _masked(wrapped.sealed, key)

    def holds(self, epoch: int) -> bool:
        return self._keys.get(epoch) is not None

    def destroyed(self, epoch: int) -> bool:
        return epoch in self._keys and not self.holds(epoch)

    def destroy(self, epoch: int) -> None:
        self._keys[epoch] = None


def _masked(secret: bytes, key: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(secret, key, strict=True))


class _Readiness(Readiness):
    """Says nothing in the log."""

    def waiting(self, name: str, reason: str) -> None:
        self._reasons[name] = reason

    def over(self, name: str) -> None:
        self._reasons.pop(name, None)


class Worker:
    """One process. `task` ends with the failure that ended it, or None after `leave`."""

    def __init__(self, name: str, node: Node, shared: Shared, max_batches: int) -> None:
        self.name = name
        self.node = node
        self.shared = shared
        self.producer = Producer(shared.broker, node)
        self.crowd: CrowdAgent | None = None
        self.gateway: Gateway | None = None
        self.ledger: Ledger | None = None
        self.readiness = _Readiness()
        self._max_batches = max_batches
        self._leaving = asyncio.Event()
        self._lost = False
        make = {"gateway": self._gateway, "crowd": self._crowd, "release": self._release}
        role, self._services = make[name.split("-")[0]]()
        self.role = role
        self.tenure = Tenure(role)
        self.group = shared.broker.groups.setdefault(role.topic, Group(shared.broker, role.topic))
        self.task = asyncio.create_task(self._run())

    def leave(self) -> None:
        """End in order."""
        self._leaving.set()

    def kill(self) -> None:
        """End at once."""
        self.task.cancel()
        self.producer.die()

    async def _run(self) -> BaseException | None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(service()) for service in (*self._services, self._beat)]
            live = group.create_task(self._live())
            ends = [live, *tasks]
            done, _ = await asyncio.wait([self.tenure.failure, *ends], return_when=asyncio.FIRST_COMPLETED)
            for task in ends:
                task.cancel()
            failed = [task for task in ends if task in done and not task.cancelled()]
        if self.tenure.failure.done():
            return self.tenure.failure.result()
        return failed[0].result() if failed else None

    async def _guarded(self, service: Callable[[], Awaitable[object]]) -> BaseException | None:
        try:
            await service()
        except (ThrongError, KafkaError) as error:
            return error
        return None

    async def _beat(self) -> None:
        while True:
            await self.node.running.wait()
            if not self.group.beat(self.name):
                self._lost = True
            await asyncio.sleep(BEAT_S)

    async def _live(self) -> BaseException | None:
        try:
            while not self._leaving.is_set():
                await self._joined()
                await self._read()
        except (ThrongError, KafkaError) as error:
            return error
        self.group.leave(self.name)
        return None

    async def _joined(self) -> None:
        await self.node.reach(self.shared.broker.up)
        await self.group.join(self.name)
        self._lost = False

    async def _read(self) -> None:
        """Place and read until the group settles anew, or this worker has been thrown out or is to leave."""
        generation = self.group.generation
        await self.node.reach(self.shared.broker.up)
        reading = asyncio.create_task(self._fetch(generation))
        try:
            while self.group.generation == generation and not self.group.settling and not self._left():
                await self.node.running.wait()
                if reading.done():
                    reading.result()
                await asyncio.sleep(BEAT_S / 4)
                self.group.look()
            # As in the transport: the chunk in hand is finished, nothing after it is begun.
            await self.tenure.end(DRAIN_S, leaving=self._leaving.is_set())
        finally:
            reading.cancel()
            await asyncio.wait([reading])

    def _left(self) -> bool:
        return self._lost or self._leaving.is_set()

    async def _fetch(self, generation: int) -> None:
        ranges = self.group.ranges(self.name)
        if not ranges:
            await self.tenure.begin(self.tenure.term, generation, {})
            return
        try:
            term, positions = await self.tenure.place(ranges, 30.0)
        except asyncio.CancelledError:
            return
        if not await self.tenure.begin(term, generation, positions):
            return
        reached = dict(positions)
        while self.tenure.generation == generation:
            for number in sorted(reached):
                if number in self.tenure.held:
                    continue
                await self._one(number, reached, generation)
            await asyncio.sleep(FETCH_S)

    async def _one(self, number: int, reached: dict[int, int], generation: int) -> None:
        log = self.shared.broker.logs[self.role.topic, number]
        await self.node.reach(self.shared.broker.up)
        if reached[number] < log.start:
            going_on = await self.tenure.outrun(number, reached[number], LogRange(log.start, log.end))
            if going_on is None:
                return
            reached[number] = going_on
        batches = log.fetch(reached[number], self.node.rng.randint(1, self._max_batches))
        await self.node.running.wait()
        if not batches:
            return
        first, reached[number] = reached[number], batches[-1].next_offset
        chunk = Chunk(
            topic=self.role.topic,
            partition=number,
            batches=batches,
            first_offset=first,
            next_offset=reached[number],
            generation=generation,
        )
        await self.tenure.handle(chunk)

    def _epochs(self) -> EpochReader:
        return EpochReader(SimulatedTail(self.shared.broker, self.node, EPOCHS))  # type: ignore[arg-type]

    def _gateway(self) -> tuple[Role, list[Callable[[], Awaitable[BaseException | None]]]]:
        shared, broker = self.shared, self.shared.broker

        async def read() -> Mapping[int, Committed]:
            await self.node.reach(broker.up)
            return dict(self.group.commits)

        async def write(marks: Mapping[int, Committed]) -> bool:
            generation = self.tenure.generation
            await self.node.reach(broker.up)
            own = {number for number, owner in self.group.owner.items() if owner == self.name}
            own |= {REGISTRY_SOURCE} if READER_OF in own else set()
            if self.name not in self.group.heard or not marks.keys() <= own or generation is None:
                return False
            self.group.commits |= marks
            return True

        epochs = self._epochs()
        salts = Salts({}, set(), shared.keys)  # type: ignore[arg-type]
        known = context_of([], shared.registry, LATENESS_MS, PARTITIONS)
        context = replace(known, epochs=epochs.table, salts=salts.states, gone=salts.gone)
        vault = Vault(SimulatedTail(broker, self.node, SALTS), self.producer, SALTS, shared.keys)  # type: ignore
        keeper = EpochKeeper(
            epochs,
            vault,
            self.producer,  # type: ignore[arg-type]
            EPOCHS,
            lambda ts: make_epoch(ts, WORLD_TERMS, epochs.table),
        )

        provide = Provider(keeper, vault, salts, PARTITIONS, lambda: None).provide

        async def committed() -> Mapping[int, int]:
            return dict.fromkeys(ALL_SOURCES, NEVER_MS) | {
                source: mark.record_time_ms() for source, mark in (await read()).items()
            }

        shredder = Shredder(
            lambda: epochs.table.epochs,
            *salts,
            committed,
            lambda: None,
            LATENESS_MS,
            0,
            shared.metrics[0],
            self.readiness,
        )
        framer = Framer(PARTITIONS, context.watermark_ms)
        registrar = Registrar(
            RegistryTail(broker, self.node), framer, context, 1, provide, epochs.refresh, shared.metrics[0]
        )
        gateway = Gateway(
            Topics(ATTACH, SIGHTINGS, REJECTS),
            Limits(FLUSH_MS, FLUSH_ROWS, 1 << 20),
            framer,
            context,
            provide,
            self.producer,  # type: ignore[arg-type]
            Commits(read, write, frozenset),
            lambda: True,
            shared.metrics[0],
            _Readiness(),
            SettledRules(context),
            Turn.of(lambda: self.tenure),
            registrar,
        )

        async def heard() -> Mapping[int, Committed]:
            return {source: mark for source, mark in (await read()).items() if mark.record_time_ms() != NEVER_MS}

        def hold(sources: Collection[int]) -> None:
            self.tenure.hold(sources)

        alignment = Alignment(heard, gateway.reached, lambda: ALL_SOURCES, hold, ALIGN_MS, shared.metrics[0])
        role = Role(
            "gateway",
            ATTACH,
            gateway.handle,
            gateway.positions,
            lambda _: alignment.look(),
            on_revoked=gateway.revoked,
            on_lost=gateway.lost,
        )
        self.gateway = gateway
        services = (
            gateway.keep_flushing,
            registrar.keep_reading,
            alignment.keep_looking,
            lambda: shredder.keep_checking(gateway.placed),
        )
        return role, [partial(self._guarded, service) for service in services]

    def _crowd(self) -> tuple[Role, list[Callable[[], Awaitable[BaseException | None]]]]:
        shared = self.shared
        client = Client(shared.redis, self.node)
        agent = CrowdAgent(
            PANES,
            lambda partition: Crowd(partition, shared.parents),
            self._epochs(),
            Stores(SnapshotStore(client, ""), CountStore(client, "")),  # type: ignore[arg-type]
            self.producer,  # type: ignore[arg-type]
            shared.metrics[1],
            self.readiness,
        )
        self.crowd = agent
        role = Role(
            "crowd",
            SIGHTINGS,
            agent.handle,
            agent.positions,
            agent.assigned,
            on_revoked=agent.revoked,
            on_leaving=agent.leaving,
            on_lost=agent.lost,
        )
        storing = partial(agent.keep_storing, SNAPSHOT_MS)
        return role, [
            partial(self._guarded, service) for service in (storing, agent.keep_showing, agent.keep_telling_gaps)
        ]

    def _release(self) -> tuple[Role, list[Callable[[], Awaitable[BaseException | None]]]]:
        shared = self.shared
        client = Client(shared.redis, self.node)
        tail = SimulatedTail(shared.broker, self.node, LEDGER)
        ledger = self.ledger = Ledger(tail, self.producer, LEDGER)  # type: ignore[arg-type]
        releaser = Releaser(
            Pages(lambda _: PLAN, 0.95),
            self._epochs(),
            ledger,
            Publisher(
                self.producer,  # type: ignore[arg-type]
                client,  # type: ignore[arg-type]
                {name: name for name in RELEASED},
                dict.fromkeys(RELEASED, 1),
                "",
            ),
            OnTheSpot(shared.noise),
            shared.metrics[2],
            _Readiness(),
            SettledRules(),
            Turn.of(lambda: self.tenure),
        )

        async def positions(logs: Mapping[int, LogRange]) -> dict[int, int | None]:
            shared.begins(releaser._writer)
            placed = await releaser.positions(logs)
            shared.begun(ledger)
            return placed

        role = Role("release", PANES, releaser.handle, positions, on_revoked=releaser.revoked, on_lost=releaser.lost)
        return role, [partial(self._guarded, releaser.keep_showing)]
