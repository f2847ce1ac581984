"""A Kafka in memory, as far as the roles' shell uses it, with everything that can happen on the way.

Each worker talks through a `Node`: what it sends takes a drawn time, waits while the node is paused or the server is
away, keeps its order by partition, and is in part lost if the node dies. A group is generations of an assignment; a
member that is silent for longer than its session is thrown out, and learns of it when it comes back.
"""

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import KafkaTimeoutError

from schemas.topics import REGISTRY
from streams.agents.transport import Committed, LogRange
from streams.core.events.records import RecordBatch
from streams.core.gateway.consents import RegistryRecord
from streams.stores.outgoing import Outgoing
from streams.stores.registry import Stretch
from tests.support.raw import Written, batch_of

SESSION_S = 6.0
POLL_S = 0.5
ACK_S = 0.02
REGISTRY_POLL_S = 0.3


class Record(NamedTuple):
    """What a reader of a control topic gets."""

    value: bytes
    offset: int = 0
    topic: str = ""
    partition: int = 0


class Log:
    """One partition: batches with their first offsets, `start` to `end`."""

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []
        self.records: list[Written] = []
        self.start = 0
        self.end = 0

    def append(self, records: Sequence[Written]) -> None:
        self.batches.append(batch_of(records, self.end))
        self.records += records
        self.end += len(records)

    @property
    def values(self) -> list[bytes]:
        """All values, a null as empty."""
        return [value or b"" for _, _, value, _ in self.records]

    def fetch(self, position: int, most: int) -> tuple[RecordBatch, ...]:
        """Up to `most` batches, the first of which may begin before the position."""
        found = [batch for batch in self.batches if batch.next_offset > position]
        return tuple(found[:most])


class Node:
    """A worker's side of the network.

    Attributes:
        traps: what is to happen once at a moment: when it has handed something to the producer ("send"), when that
            has been appended but not yet acknowledged ("ack"), when it begins to store a snapshot ("store"),
            when it has gone `steps` more ways over the network ("step").
    """

    def __init__(self, name: str, rng: random.Random) -> None:
        self.name = name
        self.rng = rng
        self.running = asyncio.Event()
        self.running.set()
        self.traps: dict[str, Callable[[], None]] = {}
        self.steps = 0

    def spring(self, moment: str) -> None:
        """The moment has come."""
        trap = self.traps.pop(moment, None)
        if trap is not None:
            trap()

    async def reach(self, up: asyncio.Event) -> None:
        """A question's way to a server and back, as far as the node runs and the server is there."""
        self.steps -= 1
        if self.steps == 0:
            self.spring("step")
        await self.running.wait()
        await asyncio.sleep(self.rng.uniform(0.001, 0.05))
        await up.wait()
        await self.running.wait()


class Broker:
    """Topics, and the commits and members of groups."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        self.logs = {(name, number): Log() for name, count in topics.items() for number in range(count)}
        self.up = asyncio.Event()
        self.up.set()
        self.groups: dict[str, Group] = {}
        self.forgets: set[tuple[str, int]] = set()

    def append(self, place: tuple[str, int], written: Written) -> None:
        """Keep a record, or, of a partition in `forgets`, acknowledge one and lose it."""
        if place in self.forgets:
            self.forgets.remove(place)
        else:
            self.logs[place].append([written])

    def partitions(self, topic: str) -> list[int]:
        return [number for name, number in self.logs if name == topic]


class Producer:
    """A worker's producer. `lose(n)`: the next n deliveries fail, and what follows is accepted all the same."""

    def __init__(self, broker: Broker, node: Node) -> None:
        self._broker = broker
        self._node = node
        self._waiting: dict[tuple[str, int], deque[tuple[Written, asyncio.Future[object]]]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._wake: dict[tuple[str, int], asyncio.Event] = {}
        self._to_lose = 0

    def lose(self, number: int) -> None:
        self._to_lose += number

    async def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        partition: int = 0,
        timestamp_ms: int | None = None,
        headers: Sequence[tuple[str, bytes]] = (),
    ) -> "asyncio.Future[object]":
        await self._node.running.wait()
        place = (topic, partition)
        if place not in self._waiting:
            self._waiting[place] = deque()
            self._wake[place] = asyncio.Event()
            self._tasks.append(asyncio.create_task(self._deliver(place)))
        ack: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        ack.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._waiting[place].append(((timestamp_ms or 0, key, value, list(headers)), ack))
        self._wake[place].set()
        self._node.spring("send")
        return ack

    async def send_many(
        self, topic: str, partition: int, records: Iterable[Outgoing]
    ) -> "list[asyncio.Future[object]]":
        return [await self.send(topic, r.value, r.key, partition, r.timestamp_ms, r.headers) for r in records]

    async def send_and_wait(self, topic: str, value: bytes, **more: Any) -> None:
        await (await self.send(topic, value, **more))

    async def _deliver(self, place: tuple[str, int]) -> None:
        waiting, wake = self._waiting[place], self._wake[place]
        while True:
            await wake.wait()
            wake.clear()
            while waiting:
                await self._node.reach(self._broker.up)
                written, ack = waiting.popleft()
                if self._to_lose:
                    self._to_lose -= 1
                    ack.set_exception(KafkaTimeoutError())
                    continue
                self._broker.append(place, written)
                self._node.spring("ack")
                asyncio.get_running_loop().call_later(ACK_S, _acknowledge, ack, self._node)

    def die(self) -> None:
        """What was on its way arrives in part; its acknowledgement reaches nobody."""
        for task in self._tasks:
            task.cancel()
        for place in sorted(self._waiting):
            waiting = self._waiting[place]
            for _ in range(self._node.rng.randint(0, min(2, len(waiting)))):
                self._broker.append(place, waiting.popleft()[0])


def _acknowledge(ack: "asyncio.Future[object]", node: Node) -> None:
    if not node.running.is_set():
        asyncio.get_running_loop().call_later(0.5, _acknowledge, ack, node)
    elif not ack.done():
        ack.set_result(None)


class Tail:
    """In place of `TailReader`: a control topic of one partition."""

    def __init__(self, broker: Broker, node: Node, topic: str) -> None:
        self._broker = broker
        self._node = node
        self._log = broker.logs[topic, 0]
        self._position = 0

    async def bounds(self) -> tuple[int, int]:
        await self._node.reach(self._broker.up)
        return self._log.start, self._log.end

    async def find(self, time_ms: int) -> int | None:
        await self._node.reach(self._broker.up)
        return next((n for n in range(self._log.start, self._log.end) if self._log.records[n][0] >= time_ms), None)

    def seek(self, offset: int) -> None:
        self._position = offset

    async def read_to_end(self, until: int | None = None) -> AsyncIterator[list[Record]]:
        await self._node.reach(self._broker.up)
        end = self._log.end if until is None else min(until, self._log.end)
        await self._node.reach(self._broker.up)
        # Who wants what is gone gets what is left.
        first = max(self._position, self._log.start)
        self._position = max(first, end)
        if first < end:
            found = self._log.records[first:end]
            yield [Record(value or b"", first + n) for n, (_, _, value, _) in enumerate(found)]

    async def start(self) -> None:
        """Nothing to connect to."""


class RegistryTail:
    """In place of `RegistryLog`: the one partition of the registry, read by whoever owns raw partition 0."""

    def __init__(self, broker: Broker, node: Node) -> None:
        self._broker = broker
        self._node = node
        self._log = broker.logs[REGISTRY, 0]
        self._position: int | None = None

    async def place(self, begins: Mapping[int, int], since_ms: int) -> dict[int, tuple[int, int]]:
        self._position = None
        if not begins:
            return {}
        await self._node.reach(self._broker.up)
        first = next((n for n, record in enumerate(self._log.records) if record[0] >= since_ms), self._log.end)
        self._position = begins[0] or first
        return {0: (self._position, self._log.end)}

    async def poll(self) -> dict[int, Stretch]:
        await self._node.reach(self._broker.up)
        position = self._position
        await asyncio.sleep(REGISTRY_POLL_S)
        if position is None or position != self._position or position == self._log.end:
            return {}
        found = self._log.records[position : self._log.end]
        self._position = self._log.end
        records = [RegistryRecord(position + n, *record[:3]) for n, record in enumerate(found)]
        return {0: Stretch(records, self._position)}


class Group:
    """The members of one role, and who has what in which generation."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.broker = broker
        self.topic = topic
        self.generation = 0
        self.settling = False
        self.heard: dict[str, float] = {}
        self.ready: set[str] = set()
        self.owner: dict[int, str] = {}
        self.commits: dict[int, Committed] = {}
        self._settled = asyncio.Event()

    def beat(self, name: str) -> bool:
        """A member is there. False if it has been thrown out."""
        if name in self.heard:
            self.heard[name] = asyncio.get_running_loop().time()
            return True
        return False

    async def join(self, name: str) -> None:
        """Wait for the next generation, with all others that are there."""
        self.heard[name] = asyncio.get_running_loop().time()
        self.ready.add(name)
        self.settling = True
        while self.settling:
            self._settle()
            if self.settling:
                self._settled.clear()
                try:
                    await asyncio.wait_for(self._settled.wait(), POLL_S)
                except TimeoutError:
                    self.heard[name] = asyncio.get_running_loop().time()

    def leave(self, name: str) -> None:
        self.heard.pop(name, None)
        self.ready.discard(name)
        self.settling = True

    def look(self) -> None:
        """Throw out who has been silent for too long."""
        now = asyncio.get_running_loop().time()
        for name in [name for name, at in self.heard.items() if now - at > SESSION_S]:
            self.leave(name)

    def _settle(self) -> None:
        self.look()
        if self.ready >= self.heard.keys():
            members = sorted(self.ready)
            self.generation += 1
            self.owner = {n: members[n % len(members)] for n in self.broker.partitions(self.topic)}
            self.ready = set()
            self.settling = False
            self._settled.set()

    def ranges(self, name: str) -> dict[int, LogRange]:
        """What a member has, with the logs as they are now."""
        own = [number for number, owner in self.owner.items() if owner == name]
        logs = self.broker.logs
        return {n: LogRange(logs[self.topic, n].start, logs[self.topic, n].end) for n in own}
