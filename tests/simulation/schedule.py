"""One schedule: a small world's events, workers that read them, faults drawn from a seed, and what came of it.

`run(seed)` returns what was wrong, nothing if all was right. `shrunk(seed)` leaves faults out as long as something
stays wrong. The world's panes are counted beforehand by the oracle.
"""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Callable, Sequence
from functools import cache, partial
from operator import itemgetter
from typing import Final
from unittest.mock import patch

import msgspec
import numpy as np
import orjson
from aiokafka.errors import KafkaError
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from schemas.ledger import LedgerRecord
from schemas.registry import BEAT_KEY
from schemas.sightings import encode_control
from schemas.topics import ATTACH, EPOCHS, LEDGER, PANES, REGISTRY, REJECTS, RELEASED, SALTS, SIGHTINGS
from streams.agents import pacing, shredder
from streams.core.release import ledger
from streams.errors import ThrongError
from streams.metrics import CrowdMetrics, GatewayMetrics, ReleaseMetrics
from streams.stores import salts
from streams.stores.ledger import Ledger
from streams.stores.ledger_trim import cut_of
from tests.simulation.broker import Broker, Node, Tail
from tests.simulation.checks import complete, how_far, misaccounted, sent, shut, wrongs
from tests.simulation.clock import VirtualLoop
from tests.simulation.faults import FORGET, NAMES, PLAY_S, TRIM, Fault, faults_of, may_lose_state, with_retention
from tests.simulation.redis import Redis
from tests.simulation.workers import ALIGN_MS, BY_FAULTS, Keys, Shared, Worker
from tests.simulation.world import ALL_SOURCES, LENGTH, PARTITIONS, SOURCES, START, WORLDS, world
from tests.support.world import PLAN

PATIENCE_S: Final = 120.0
BEAT_S: Final = 10.0
WATCH_S: Final = 0.5
EVER_MS: Final = 1 << 62
# By how much the sources may be apart in a crowd: what alignment allows, and what is read until it is noticed.
APART_MS: Final = ALIGN_MS + 480_000


@cache
def _metrics() -> tuple[GatewayMetrics, CrowdMetrics, ReleaseMetrics]:
    """Each with a registry of its own, as in processes of their own."""
    return GatewayMetrics(CollectorRegistry()), CrowdMetrics(CollectorRegistry()), ReleaseMetrics(CollectorRegistry())


class _Secrets:
    """In place of the system's randomness, which no seed decides."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"salts {seed}")

    def token_bytes(self, number: int) -> bytes:
        return self._rng.randbytes(number)


class Schedule:
    """One run of it.

    Attributes:
        wrong: what was found. trace: a digest of all that the logs hold in the end.
        struck: how far the releases were whenever a worker was killed or paused (`checks.how_far`).
        gaps: sections that the crowds ignored because rows before them were missing. told: what they gave as reasons.
        cut: how many of the ledger's records were deleted.
        lacking: how many panes say that they lack something.
        apart_ms: the most that the sources were apart in a crowd: what its reorder buffer has to hold.
    """

    def __init__(self, seed: int, faults: Sequence[Fault], losing: bool = False) -> None:
        self.seed = seed
        self.faults = faults
        self.world = world(seed // 4 % WORLDS, opting=not may_lose_state(seed), losing=losing)
        self.wrong: list[str] = []
        self.trace = ""
        self.struck: set[str] = set()
        self.apart_ms = 0
        self.lacking = 0
        self.gaps = 0
        self.told: set[str] = set()
        self.cut = 0
        self._begins_read = 0
        self._operators: list[asyncio.Task[None]] = []
        self._lossy = any(fault.what == FORGET for fault in faults)
        self._draws = 0
        self._workers: dict[str, Worker] = {}
        self._ledger_read: dict[str, list[int]] = {}

    async def run(self) -> None:
        broker = Broker({ATTACH: SOURCES, SIGHTINGS: PARTITIONS, **dict.fromkeys((REJECTS, PANES, LEDGER), 1)})
        broker.logs |= Broker(dict.fromkeys((*RELEASED, EPOCHS, SALTS, REGISTRY), 1)).logs
        for number in range(PARTITIONS):
            broker.logs[SIGHTINGS, number].append([(0, None, encode_control(1, ALL_SOURCES), [])])
        self._broker, self._redis = broker, Redis()
        self._shared = Shared(
            broker,
            self._redis,
            Keys(_Secrets(self.seed).token_bytes),
            self.world.registry,
            np.array(PLAN.zone_parents(), np.uint16),
            self._noise,
            self._begins,
            self._begun,
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
        beating = asyncio.create_task(self._beat())
        await self._until(lambda: complete(broker, self.world))
        if self._operators and not self.wrong:
            await self._begin_again()
        tasks = (*keeping.values(), watching, beating, *self._operators)
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended
        for worker in self._workers.values():
            worker.kill()
        await asyncio.gather(*(worker.task for worker in self._workers.values()), return_exceptions=True)
        self.wrong += wrongs(broker, self.world, self._ledger_read, may_miss=self._lossy)
        self.lacking = sum(bool(pane.lacking) for pane in sent(broker))
        if (told := shut(broker)) and not may_lose_state(self.seed):
            self.wrong.append(f"{len(told)} panes are shut, though no state was lost")
        self.trace = self._digest()

    def _noise(self, counts: NDArray[np.int64], *_: float) -> NDArray[np.int64]:
        """Every draw adds a number of its own to all keys, so that it can be told apart and taken away again."""
        self._draws += 1
        return counts + 1000 * self._draws

    def _begins(self, writer: str) -> None:
        """A drawer of noise is asked where to begin: what is in the ledger now it must know before it draws."""
        self._ledger_read.setdefault(writer, []).append(self._broker.logs[LEDGER, 0].end)

    def _begun(self, ledger: Ledger) -> None:
        """A release has read the ledger, and is about to read panes."""
        self._begins_read += 1
        self.wrong += misaccounted(self._broker, ledger)

    async def _trim(self, fault: Fault) -> None:
        """`throng topics trim-ledger` again and again, of somebody by whose clock everything is old."""
        node = Node("operator", random.Random(f"{self.seed} operator"))
        log = self._broker.logs[LEDGER, 0]
        while True:
            cut = await cut_of(Tail(self._broker, node, LEDGER), EVER_MS)  # type: ignore[arg-type]
            await asyncio.sleep(node.rng.choice([0.0, 0.0, 0.3, 6.5]))
            await node.reach(self._broker.up)
            log.start = self.cut = max(log.start, cut.to)
            await asyncio.sleep(fault.length)

    async def _begin_again(self) -> None:
        """When all is done the crowds fall back as far as they may, and all begin by what is left of the ledger."""
        if not with_retention(self.seed):
            self._redis.becomes({})
        before = self._begins_read
        for name in NAMES:
            if not name.startswith("gateway"):
                self._workers[name].kill()
        await self._until(lambda: self._begins_read > before, "no release begins by what is left of the ledger")
        await self._until(lambda: self.cut > 0 or self._ends_with_an_old_word(), "the ledger is not shortened")
        await asyncio.sleep(BEAT_S)

    def _ends_with_an_old_word(self) -> bool:
        """Is the ledger's last record of a writer that was paused, and names an older place than one before it does?

        Then it is not shortened before the next draw, and here comes none.
        """
        records = (msgspec.msgpack.decode(value, type=LedgerRecord) for value in self._broker.logs[LEDGER, 0].values)
        named = [record.begins.offset if record.begins else 0 for record in records]
        return named[-1] < max(named)

    async def _until(self, there: Callable[[], bool], else_wrong: str = "") -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while not there() and not self.wrong:  # noqa: ASYNC110 - the clock is virtual
                    await asyncio.sleep(1.0)
        if else_wrong and not there() and not self.wrong:
            self.wrong.append(else_wrong)

    async def _grow(self) -> None:
        """The raw logs and the registry's, as time goes."""
        todo = [
            (batch[0][0], ATTACH, source, batch, (source, at) in self.world.lost)
            for source, batches in self.world.batches.items()
            for at, batch in enumerate(batches)
        ]
        todo += [(change[0], REGISTRY, 0, [change], False) for change in self.world.changes]
        for time, topic, number, batch, lost in sorted(todo, key=itemgetter(0)):
            due = (time - START) / LENGTH * PLAY_S
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            log = self._broker.logs[topic, number]
            if lost:
                await self._until(partial(self._committed, number), f"nobody reads on in source {number}")
            log.append(batch)
            log.start = log.end if lost else log.start

    def _committed(self, source: int) -> bool:
        """Whether all of the source that isn't lost was read, so that retention takes nothing else with it."""
        log, commit = self._broker.logs[ATTACH, source], self._broker.groups[ATTACH].commits.get(source)
        return log.start == log.end or (commit is not None and commit.offset == log.end)

    async def _beat(self) -> None:
        """Where state may be lost, the gateways' beats once all is said, which tell no later time than the last record.

        Whoever is resumed behind that must hear of the source again.
        """
        while may_lose_state(self.seed):
            for source, batches in self.world.batches.items():
                latest = max(time for batch in batches for time, *_ in batch)
                beat = orjson.dumps({"kind": "beat", "source": f"gateway-{source}", "ts": latest})
                self._broker.logs[ATTACH, source].append([(latest, None, beat, [])])
            latest = max(time for time, *_ in self.world.changes)
            self._broker.logs[REGISTRY, 0].append([(latest, BEAT_KEY, b"", [])])
            await asyncio.sleep(BEAT_S)

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
        """What must hold all the time; retention, which follows the snapshots."""
        heads: dict[int, tuple[int, int]] = {}
        while True:
            await asyncio.sleep(WATCH_S)
            self._see_apart()
            for number in range(PARTITIONS):
                now = (self._redis.lives, self._stored(number))
                if now < heads.get(number, now):
                    self.wrong.append(f"the snapshot of partition {number} went back to {now[1]}")
                heads[number] = now
                if with_retention(self.seed):
                    log = self._broker.logs[SIGHTINGS, number]
                    log.start = max(log.start, now[1])

    def _stored(self, number: int) -> int:
        """Where the snapshot of a partition stands, 0 if there is none."""
        return int(self._redis.data.get(f"{{p{number}}}:snapshot", {}).get("offset", 0))

    def _see_apart(self) -> None:
        """How far the raw sources are ahead of the slowest in the crowds; the registry has next to no rows."""
        for worker in self._workers.values():
            self.told.update(worker.readiness.reasons)
            for owned in worker.crowd._owned.values() if worker.crowd else ():
                self.gaps = max(self.gaps, owned.crowd.gaps)
                marks = owned.crowd.watermarks
                if marks.live and marks.live <= marks.heard.keys():
                    raw = max(ms for source, ms in marks.heard.items() if source < SOURCES)
                    self.apart_ms = max(self.apart_ms, raw - min(marks.heard.values()))
        if self.apart_ms > APART_MS and not self._lossy and not any("apart" in wrong for wrong in self.wrong):
            self.wrong.append(f"the sources are {self.apart_ms // 1000} s apart")

    def _inject(self, fault: Fault) -> None:
        worker, loop = self._workers[fault.worker], asyncio.get_running_loop()
        if fault.what == TRIM:
            self._at_moment(worker, fault, lambda: self._operators.append(asyncio.create_task(self._trim(fault))))
        elif fault.what in ("kill", "pause"):
            self._at_moment(worker, fault, partial(self._strike, worker, fault))
        elif fault.what == "leave":
            worker.leave()
        elif fault.what == FORGET:
            self._broker.forgets.add((SIGHTINGS, int(fault.length) % PARTITIONS))
        elif fault.what == "lose":
            worker.producer.lose(1)
        elif fault.what == "broker":
            self._broker.up.clear()
            loop.call_later(min(fault.length, 5.0), self._broker.up.set)
        elif fault.what == "redis":
            self._redis.away = True
            loop.call_later(fault.length, setattr, self._redis, "away", False)
        elif fault.what == "flush":
            self._redis.becomes({})
        elif fault.what == "copy":
            self._redis.copy = dict(self._redis.data)
        else:
            self._redis.becomes(self._redis.copy)

    def _at_moment(self, worker: Worker, fault: Fault, does: Callable[[], None]) -> None:
        if fault.moment == "now":
            does()
        else:
            worker.node.traps[fault.moment] = does
            worker.node.steps = fault.steps

    def _strike(self, worker: Worker, fault: Fault) -> None:
        self.struck.add(how_far(self._broker, self._draws))
        if fault.what == "kill":
            worker.kill()
        else:
            worker.node.running.clear()
            asyncio.get_running_loop().call_later(fault.length, worker.node.running.set)

    def _digest(self) -> str:
        hashed = hashlib.blake2b(digest_size=8)
        for place in sorted(self._broker.logs):
            hashed.update(repr((place, self._broker.logs[place].end)).encode())
            if place[0] in (SIGHTINGS, PANES):
                hashed.update(b"".join(self._broker.logs[place].values))
        return hashed.hexdigest()


_current: Schedule


def event_time_now() -> int:
    """Where the raw logs would be by the clock, ms: what only a mutant asks."""
    return START + round(asyncio.get_running_loop().time() / PLAY_S * LENGTH)


def read_ahead() -> dict[int, int]:
    """Record times that gateways have reached, committed or not: what only a mutant asks."""
    found: dict[int, int] = {}
    for worker in _current._workers.values():
        for source, at in worker.gateway.reached().items() if worker.gateway else ():
            found[source] = max(at, found.get(source, at))
    return found


def run(seed: int, faults: Sequence[Fault] | None = None, losing: bool = False) -> Schedule:
    """Run one schedule. `losing`: retention takes raw records before anybody can read them."""
    global _current
    schedule = _current = Schedule(seed, faults_of(seed) if faults is None else faults, losing)
    with (
        asyncio.Runner(loop_factory=VirtualLoop) as runner,
        patch.object(salts, "secrets", _Secrets(seed)),
        # The logs grow a hundred times as fast as their events' time.
        patch.object(pacing, "ALIGN_EVERY_S", 0.2),
        patch.object(shredder, "EVERY_S", 0.5),
        # There are but two epochs: the first is over as soon as anything of the second is drawn.
        patch.object(ledger, "KEPT", 1),
    ):
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
