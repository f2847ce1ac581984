"""One schedule: a small world's events, workers that read them, faults drawn from a seed, and what came of it.

`run(seed)` returns what was wrong, nothing if all was right. `shrunk(seed)` leaves faults out as long as something
stays wrong. The world's panes are counted beforehand by the oracle.
"""

import asyncio
import contextlib
import hashlib
import random
from collections import Counter
from functools import cache
from typing import NamedTuple

import msgspec
import numpy as np
import orjson
from aiokafka.errors import KafkaError
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.measures import DEFAULT_MEASURES
from schemas.panes import Pane
from schemas.sightings import encode_control
from schemas.topics import ATTACH, FLOWS, FOOTFALL, LEDGER, PANES, REJECTS, SIGHTINGS
from streams.core.release import publications
from streams.errors import ThrongError
from streams.metrics import CrowdMetrics, GatewayMetrics, ReleaseMetrics
from tests.oracle.counting import count
from tests.oracle.gate import screen as oracle_screen
from tests.simulation.clock import VirtualLoop
from tests.simulation.cluster import Broker, Node, Redis
from tests.simulation.workers import BY_FAULTS, Shared, Worker
from tests.support.panes import summed
from tests.support.raw import Written
from tests.support.world import ORACLE_POLICY, PLAN, context_of, epochs_at

START = 1_772_449_200_000
MINUTE = 60_000
LENGTH = 34 * MINUTE
WORLDS = 4
PEOPLE = 12
SOURCES = PARTITIONS = 2
PLAY_S = 20.0  # the raw logs grow over this time
PATIENCE_S = 120.0
NAMES = ("gateway-0", "gateway-1", "crowd-0", "crowd-1", "release-0", "release-1")
FAULTS = ("kill", "pause", "leave", "lose", "broker", "redis")
OF_REDIS = ("flush", "copy", "older", "retention")


class Fault(NamedTuple):
    """What happens at a time, s. `length` in s, where it lasts."""

    at: float
    what: str
    worker: str
    length: float


class World(NamedTuple):
    """Raw batches by source, with the events' registry, and what the oracle counts."""

    batches: dict[int, list[list[Written]]]
    registry: dict[str, dict[str, object]]
    epochs: list[Epoch]
    panes: dict[tuple[int, str, int], Counter]
    rejects: int


@cache
def world(number: int) -> World:
    """A world of the few there are."""
    rng = random.Random(number)
    imsis = [f"00101{n:010d}" for n in range(PEOPLE)]
    registry: dict[str, dict[str, object]] = {
        imsi: {
            "imsi": imsi,
            "birth_year": 1970 + n,
            "gender": None,
            "consent": {"marketing": "granted"},
            "opted_out": False,
        }
        for n, imsi in enumerate(imsis)
    }
    epochs = [
        msgspec.structs.replace(epoch, partitions=PARTITIONS, measures=DEFAULT_MEASURES[:2])
        for epoch in epochs_at(START)
    ]
    batches: dict[int, list[list[Written]]] = {}
    log = []
    for source in range(SOURCES):
        batches[source], time, offset = [], START, 0
        while time < START + LENGTH:
            batch: list[Written] = []
            for _ in range(rng.randint(3, 10)):
                time += rng.choice([0, 2_000, 10_000, 20_000])
                value = orjson.dumps(_event(rng, time, imsis))
                batch.append((time, None, value, []))
                log.append((source, offset, time, value))
                offset += 1
            batches[source].append(batch)
    builtin = [msgspec.to_builtins(epoch) for epoch in epochs]
    gate = oracle_screen(log, registry, ORACLE_POLICY, msgspec.to_builtins(PLAN), builtin, 10_000)
    parents = list(PLAN.zone_parents())
    result = count(gate.sightings, builtin, parents, gate.until)
    panes = {key: +counts for key, counts in result.panes.items()}
    return World(batches, registry, epochs, panes, len(gate.rejects))


def _event(rng: random.Random, time: int, imsis: list[str]) -> dict[str, object]:
    early = rng.choice([0, 0, 1_000, 9_000, 9_999, 10_000, 15_000, -30_000, -58_000])
    return {
        "event_id": "e",
        "imsi": rng.choice([*imsis, "bad"]),
        "ts": time - early,
        "cell": f"001-01-000{rng.randrange(12):04x}",
        "kind": rng.choice(["update", "attach", "handover", "service", "detach"]),
    }


@cache
def _metrics() -> tuple[GatewayMetrics, CrowdMetrics, ReleaseMetrics]:
    """Each with a registry of its own, as in processes of their own."""
    return GatewayMetrics(CollectorRegistry()), CrowdMetrics(CollectorRegistry()), ReleaseMetrics(CollectorRegistry())


def faults_of(seed: int) -> list[Fault]:
    """The faults of a schedule, in the order of time."""
    rng = random.Random(f"faults {seed}")
    # What Redis lost can be rebuilt as long as the log is whole: retention comes with none of the losses.
    losses = rng.choice([("retention",), ("flush", "copy", "older")])
    kinds = [*FAULTS, *losses]
    number = rng.randint(1, 8)
    faults = [
        Fault(
            rng.uniform(0.5, PLAY_S + 3),
            rng.choice(kinds),
            rng.choice(NAMES),
            rng.choice([0.3, 2.0, 5.0, 8.0, 11.0]),
        )
        for _ in range(number)
    ]
    return sorted(faults)


class Schedule:
    """One run of it.

    Attributes:
        wrong: what was found. trace: a digest of all that the logs hold in the end.
        apart_ms: the most that the sources were apart in a crowd: what its reorder buffer has to hold.
    """

    def __init__(self, seed: int, faults: list[Fault]) -> None:
        self.seed = seed
        self.faults = faults
        self.world = world(seed % WORLDS)
        self.wrong: list[str] = []
        self.trace = ""
        self.apart_ms = 0
        self._rng = random.Random(seed)
        self._draws = 0
        self._workers: dict[str, Worker] = {}

    async def run(self) -> None:
        broker = Broker({ATTACH: SOURCES, SIGHTINGS: PARTITIONS, **dict.fromkeys((REJECTS, PANES, LEDGER), 1)})
        broker.logs |= Broker({FOOTFALL: 1, FLOWS: 1}).logs
        for number in range(PARTITIONS):
            broker.logs[SIGHTINGS, number].append([(0, None, encode_control(1, list(range(SOURCES))), [])])
        self._broker, self._redis, self._redis_up = broker, Redis(), asyncio.Event()
        self._redis_up.set()
        self._shared = Shared(
            broker,
            self._redis,
            self._redis_up,
            context_of(self.world.epochs, self.world.registry, partitions=PARTITIONS),
            self.world.epochs,
            np.array(PLAN.zone_parents(), np.uint16),
            self._noise,
            _metrics(),
        )
        growing = asyncio.create_task(self._grow())
        keeping = {name: asyncio.create_task(self._keep(name)) for name in NAMES}
        watching = asyncio.create_task(self._watch())
        began = 0.0
        for fault in self.faults:
            await asyncio.sleep(max(0.0, fault.at - began))
            began = max(began, fault.at)
            self._inject(fault)
        await growing
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not self._complete() and not self.wrong:  # noqa: ASYNC110 - the clock is virtual
                    await asyncio.sleep(1.0)
        for task in (*keeping.values(), watching):
            task.cancel()
        await asyncio.gather(*keeping.values(), watching, return_exceptions=True)
        for worker in self._workers.values():
            worker.kill()
        await asyncio.gather(*(worker.task for worker in self._workers.values()), return_exceptions=True)
        self._check()

    def _noise(self, counts: NDArray[np.int64], *_: float) -> NDArray[np.int64]:
        """Every draw adds a number of its own to all keys, so that it can be told apart and taken away again."""
        self._draws += 1
        return counts + 1000 * self._draws

    async def _grow(self) -> None:
        """The raw logs, as time goes."""
        todo = sorted(
            (batch[0][0], source, number)
            for source, batches in self.world.batches.items()
            for number, batch in enumerate(batches)
        )
        for time, source, number in todo:
            due = (time - START) / LENGTH * PLAY_S
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            self._broker.logs[ATTACH, source].append(self.world.batches[source][number])

    async def _keep(self, name: str) -> None:
        """Start a worker whenever it isn't there, as a service manager would."""
        lives = 0
        while True:
            lives += 1
            node = Node(name, random.Random(f"{self.seed} {name} {lives}"))
            worker = self._workers[name] = Worker(f"{name}-{lives}", node, self._shared, 1 + self.seed % 5)
            await asyncio.wait([worker.task])
            failure = None if worker.task.cancelled() else (worker.task.exception() or worker.task.result())
            worker.producer.die()
            code = failure.code if isinstance(failure, ThrongError) else ""
            if failure is not None and not isinstance(failure, KafkaError) and code not in BY_FAULTS:
                self.wrong.append(f"{name} ended: {code or type(failure).__name__}: {failure}")
            await asyncio.sleep(node.rng.choice([0.1, 1.0, 4.0]))

    async def _watch(self) -> None:
        """How far apart the sources are in the crowds."""
        while True:
            await asyncio.sleep(0.5)
            for worker in self._workers.values():
                for owned in worker.crowd._owned.values() if worker.crowd else ():
                    marks = owned.crowd.watermarks
                    if marks.live and marks.live <= marks.heard.keys():
                        apart = max(marks.heard.values()) - min(marks.heard.values())
                        self.apart_ms = max(self.apart_ms, apart)

    def _inject(self, fault: Fault) -> None:
        worker, loop = self._workers[fault.worker], asyncio.get_running_loop()
        if fault.what == "kill":
            worker.kill()
        elif fault.what == "leave":
            worker.leave()
        elif fault.what == "pause":
            worker.node.running.clear()
            loop.call_later(fault.length, worker.node.running.set)
        elif fault.what == "lose":
            worker.producer.lose(1)
        elif fault.what == "broker":
            self._broker.up.clear()
            loop.call_later(min(fault.length, 5.0), self._broker.up.set)
        elif fault.what == "redis":
            self._redis.away = True
            loop.call_later(fault.length, setattr, self._redis, "away", False)
        elif fault.what == "flush":
            self._redis.data.clear()
        elif fault.what == "copy":
            self._redis.copy = dict(self._redis.data)
        elif fault.what == "older":
            self._redis.data = dict(self._redis.copy)
        else:
            self._retain()

    def _retain(self) -> None:
        """Retention takes of the sightings what the snapshots don't need, as it does on a real cluster in time."""
        for number in range(PARTITIONS):
            head = self._redis.data.get(f"{{p{number}}}:snapshot")
            if head:
                self._broker.logs[SIGHTINGS, number].start = int(head["offset"])

    def _panes(self) -> dict[tuple[int, str, int], Counter]:
        """Summed panes of the log; repeats must be equal."""
        firsts: dict[tuple[int, int, int], Pane] = {}
        for value in self._broker.logs[PANES, 0].values:
            pane = msgspec.msgpack.decode(value, type=Pane)
            if firsts.setdefault((pane.epoch, pane.partition, pane.number), pane) != pane:
                self.wrong.append(f"pane {pane.number} of partition {pane.partition} was sent twice and differs")
        return summed(firsts.values())

    def _first_released(self) -> dict[tuple[int, str, int], LedgerRecord]:
        """The ledger by its rule, read plainly: the first record of a pane is its release."""
        first: dict[tuple[int, str, int], LedgerRecord] = {}
        for value in self._broker.logs[LEDGER, 0].values:
            record = msgspec.msgpack.decode(value, type=LedgerRecord)
            first.setdefault((record.epoch, record.measure, record.number), record)
        return first

    def _published(self) -> Counter:
        return Counter(value for topic in (FOOTFALL, FLOWS) for value in self._broker.logs[topic, 0].values)

    def _complete(self) -> bool:
        if len(self._broker.logs[LEDGER, 0].values) < len(self.world.panes):
            return False
        first = self._first_released()
        if first.keys() < self.world.panes.keys():
            return False
        published = self._published()
        return all(item.value in published for record in first.values() for item in publications(record))

    def _check(self) -> None:
        panes = {key: +counts for key, counts in self._panes().items()}
        if panes != self.world.panes:
            missing, more = self.world.panes.keys() - panes.keys(), panes.keys() - self.world.panes.keys()
            differ = sorted(k for k in panes.keys() & self.world.panes.keys() if panes[k] != self.world.panes[k])
            self.wrong.append(f"panes: {len(missing)} missing, {len(more)} too many, different: {differ[:3]}")
        first = self._first_released()
        if first.keys() != self.world.panes.keys():
            self.wrong.append(f"ledger: {sorted(self.world.panes.keys() - first.keys())[:5]} are not released")
        for key, record in first.items():
            noisy = np.frombuffer(record.noisy, "<i8")
            exact = np.zeros(len(noisy), np.int64)
            for at, number in self.world.panes.get(key, Counter()).items():
                exact[at] = number
            if len(set((noisy - exact).tolist())) != 1:
                self.wrong.append(f"release {key} is not the pane with noise")
        said = {item.value for record in first.values() for item in publications(record)}
        published = self._published()
        if unsaid := published.keys() - said:
            self.wrong.append(f"{len(unsaid)} published records are not what the ledger says first")
        if unpublished := said - published.keys():
            self.wrong.append(f"{len(unpublished)} records of the ledger were not published")
        hashed = hashlib.blake2b(digest_size=8)
        for place in sorted(self._broker.logs):
            hashed.update(repr((place, self._broker.logs[place].end)).encode())
            if place[0] in (SIGHTINGS, PANES):
                hashed.update(b"".join(self._broker.logs[place].values))
        self.trace = hashed.hexdigest()
        if self.world.rejects and not self._broker.logs[REJECTS, 0].values:
            self.wrong.append("no rejects arrived")


def run(seed: int, faults: list[Fault] | None = None) -> Schedule:
    """Run one schedule."""
    schedule = Schedule(seed, faults_of(seed) if faults is None else faults)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(schedule.run())
    return schedule


def shrunk(seed: int) -> list[Fault]:
    """A failing seed's faults, without those that it fails without too."""
    faults = faults_of(seed)
    for fault in list(faults):
        fewer = [other for other in faults if other is not fault]
        if run(seed, fewer).wrong:
            faults = fewer
    return faults
