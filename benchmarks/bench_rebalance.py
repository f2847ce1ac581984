"""How long a rebalance of crowd workers holds up counting, on a real Kafka and Redis.

8 partitions with a million subscribers' state, and sightings that keep coming. Workers are processes that run the
crowd as `throng worker crowd` does and note what happens when. In each round: a fourth joins three, leaves in order,
joins again and is killed, another is killed, and one leaves; then one worker alone owns all, is killed and started
anew, and is stopped and started anew. Kept after each round in benchmarks/results/rebalance.json, with how busy the
machine was (load average of 5 minutes).

    python -m benchmarks.bench_rebalance [--subscribers 1000000] [--rate 20000] [--snapshot-s 60] [--rounds 4]

Told of each (s; the session timeout of a killed one, 10 s, is not in it but in `from_signal`):
    rebalance      from the first worker that gives up its partitions to the last assignment
    serving        from a worker's assignment to the first chunk handled of the last of its partitions
    level          from a worker's assignment until it stands where the log ended then
    whole          from the first partition given up anywhere to the first chunk of the last partition
    stall_stayed   longest wait between two chunks of a partition that stayed where it was
    stall_moved    the same of one that moved, from when it was given up
    moved          how many partitions moved
    from_signal    of one that is started anew: from the signal that ends it to the first chunk of its last partition
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import orjson
from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

from benchmarks.peers.peers import RESULTS
from schemas.measures import DEFAULT_MEASURES
from schemas.plan import Plan
from schemas.sightings import Section, encode_frame
from schemas.topics import EPOCHS, SIGHTINGS
from streams.agents import consumer_thread, workers
from streams.agents.crowd import CrowdAgent
from streams.agents.logs import configure_logging
from streams.agents.roles import Chunk, LogRange
from streams.core.epochs import EpochTable, Terms, make_epoch
from streams.core.release.budget import rho_for
from streams.local.stack import Stack, start
from streams.settings import Settings, load_settings, to_environ
from streams.simulate import make_town, plan
from streams.stores.snapshots import SnapshotStore
from streams.stores.topics import create

START_MS = 1_772_427_600_000
PARTITIONS = 8
FILL_ROWS = 25_000
STEP_S = 0.1
KEYS: Final = ("rebalance", "serving", "level", "whole", "stall_stayed", "stall_moved", "moved", "from_signal")

Told = list[tuple[float, str, int, int]]


# A worker process: `bench_rebalance.py --worker FILE`, with settings in the environment.


def work(told: Path) -> None:
    """Run the crowd and write (time, what, partition, offset) lines; the clock is the machine's, so all agree."""
    configure_logging("info")
    with told.open("a", buffering=1, encoding="utf-8") as file:

        def tell(what: str, partition: int = -1, offset: int = -1) -> None:
            file.write(json.dumps([time.monotonic(), what, partition, offset]) + "\n")

        class Telling(CrowdAgent):
            async def positions(self, logs: Mapping[int, LogRange]) -> dict[int, int | None]:
                for partition, log in logs.items():
                    tell("end", partition, log.end)
                found = await super().positions(logs)
                tell("placed")
                return found

            async def revoked(self, partitions: frozenset[int]) -> None:
                await super().revoked(partitions)
                tell("given up")

            async def handle(self, chunk: Chunk) -> None:
                await super().handle(chunk)
                tell("chunk", chunk.partition, chunk.next_offset)

        class Listener(consumer_thread.RebalanceListener):
            def on_partitions_revoked(self, revoked: Any) -> Any:
                tell("revoked")
                return super().on_partitions_revoked(revoked)

            def on_partitions_assigned(self, assigned: Any) -> Any:
                tell("assigned")
                for tp in assigned:
                    tell("has", tp.partition)
                return super().on_partitions_assigned(assigned)

        workers.CrowdAgent = Telling  # type: ignore[misc]
        workers_transport = sys.modules["streams.agents.transport"]
        workers_transport.Consumer.RebalanceListener = Listener
        asyncio.run(workers.run_crowd(load_settings(None, {}), asyncio.Event()))


# The deployment around it.


class Feed:
    """Writes sightings: a million subscribers once, then a part of them again and again, in real time."""

    def __init__(self, settings: Settings, subscribers: int, rate: int, zones: int) -> None:
        draws = np.random.default_rng(1)
        self._people = draws.integers(1, 1 << 63, (PARTITIONS, subscribers // PARTITIONS)).astype(np.uint64)
        self._draws = draws
        self._zones = zones
        self._rows = max(1, int(rate * STEP_S / PARTITIONS))
        self._topic = settings.topic(SIGHTINGS)
        self._at = START_MS
        self._offset = 0
        self._producer = AIOKafkaProducer(
            bootstrap_servers=settings.kafka.bootstrap, compression_type="zstd", max_request_size=16 << 20
        )

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def fill(self) -> None:
        for first in range(0, self._people.shape[1], FILL_ROWS):
            await self._send([people[first : first + FILL_ROWS] for people in self._people], 60_000)

    async def go_on(self) -> None:
        due = time.monotonic()
        while True:
            await self._send([self._draws.choice(people, self._rows) for people in self._people], int(STEP_S * 1000))
            due += STEP_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    async def _send(self, rows: list[np.ndarray], span_ms: int) -> None:
        to = self._offset + max(len(some) for some in rows)
        for partition, some in enumerate(rows):
            count = len(some)
            section = Section(
                0,
                0,
                self._offset,
                to,
                self._at + span_ms - 10_000,
                some,
                self._at + np.sort(self._draws.integers(0, span_ms, count)),
                np.arange(self._offset, self._offset + count),
                np.zeros(count, np.uint32),
                self._draws.integers(0, self._zones, count).astype(np.uint16),
                np.zeros(count, np.uint8),
                np.zeros(count, np.uint8),
            )
            await self._producer.send(self._topic, encode_frame([section]), partition=partition)
        self._offset = to
        self._at += span_ms


class Fleet:
    """The worker processes and what they told, by name."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.running: dict[str, asyncio.subprocess.Process] = {}

    async def begin(self, name: str) -> None:
        with (self.folder / f"{name}.err").open("ab") as log:
            self.running[name] = await asyncio.create_subprocess_exec(
                *(sys.executable, __file__, "--worker", str(self.folder / f"{name}.told")),
                env=to_environ(self.settings) | {"PYTHONPATH": ":".join(sys.path)},
                stderr=log,
            )

    async def end(self, name: str, how: signal.Signals) -> None:
        self.running[name].send_signal(how)
        await self.running.pop(name).wait()

    def told(self, since: float) -> dict[str, Told]:
        found = {}
        for path in self.folder.glob("*.told"):
            lines = path.read_text().splitlines(keepends=True)
            rows = [tuple(json.loads(line)) for line in lines if line.endswith("\n")]
            found[path.stem] = [row for row in rows if row[0] >= since]
        return found

    async def serving(self) -> None:
        """Wait until all of them handle chunks."""
        since, busy = time.monotonic(), set[str]()
        async with asyncio.timeout(300):
            while not busy >= set(self.running):
                await asyncio.sleep(0.5)
                busy = {name for name, rows in self.told(since).items() if any(row[1] == "chunk" for row in rows)}

    def broken(self) -> list[str]:
        return [name for name, process in self.running.items() if process.returncode is not None]


def owners(told: Mapping[str, Told]) -> dict[int, tuple[str, float]]:
    """Who handled a chunk of each partition last, and when."""
    found: dict[int, tuple[str, float]] = {}
    for name, rows in told.items():
        for at, what, partition, _ in rows:
            if what == "chunk" and at > found.get(partition, ("", 0.0))[1]:
                found[partition] = (name, at)
    return found


def measure(told: Mapping[str, Told], before: Mapping[int, tuple[str, float]]) -> dict[str, float] | None:
    """The figures of one rebalance, or None if it isn't over. `before`: the owners when it began."""
    last = {}
    for name, rows in told.items():
        began = [place for place, row in enumerate(rows) if row[1] == "assigned"]
        if began:
            last[name] = rows[began[-1] :]
    claims = [(row[2], name) for name, rows in last.items() for row in rows if row[1] == "has"]
    has = dict(claims)
    if sorted(partition for partition, _ in claims) != list(range(PARTITIONS)):
        return None  # not all of them have heard yet
    serving, level, chunks = {}, {}, {}
    for partition, name in has.items():
        rows = last[name]
        ends = [row[3] for row in rows if row[1] == "end" and row[2] == partition]
        of = [row for row in rows if row[1] == "chunk" and row[2] == partition]
        reached = [row for row in of if ends and row[3] >= ends[0]]
        if not reached:
            return None
        serving[partition] = of[0][0] - rows[0][0]
        level[partition] = reached[0][0] - rows[0][0]
        chunks[partition] = of[0][0]
    # Of a killed worker's last chunks the session's silence is no part.
    given_up = min((row[0] for rows in told.values() for row in rows if row[1] == "revoked"), default=None)
    assigned = max(rows[0][0] for rows in last.values())
    first = given_up if given_up is not None else min(rows[0][0] for rows in last.values())
    stayed = {p: chunks[p] - at for p, (name, at) in before.items() if has[p] == name}
    moved = {p: chunks[p] - max(at, first) for p, (name, at) in before.items() if has[p] != name}
    return {
        "rebalance": assigned - first,
        "serving": max(serving.values()),
        "level": max(level.values()),
        "whole": max(chunks.values()) - first,
        "stall_stayed": max(stayed.values(), default=0.0),
        "stall_moved": max(moved.values(), default=0.0),
        "moved": len(moved),
    }


class Bench:
    """The steps, each with the figures of the rebalance that it brings about."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.figures: dict[str, list[dict[str, float]]] = {}

    async def step(self, name: str, *actions: Any, alone: bool = False) -> None:
        """Do it, wait until the rebalance is over, note the figures; of a worker that is alone its own only."""
        before, since = owners(self.fleet.told(0.0)), time.monotonic()
        for action in actions:
            await action
        figures = None
        async with asyncio.timeout(180):
            while figures is None:
                await asyncio.sleep(1.0)
                assert not self.fleet.broken(), f"ended: {self.fleet.broken()}"
                told = self.fleet.told(since - 5)
                lasts = {p: (who, _before_giving_up(told[who], p, since)) for p, (who, _) in before.items()}
                told = {name: [row for row in rows if row[0] >= since] for name, rows in told.items()}
                if {name for name, rows in told.items() if any(r[1] == "has" for r in rows)} >= set(self.fleet.running):
                    figures = measure(told, lasts)
        if alone:  # the rest is the process's start, and the silence of its predecessor
            assigned = max(row[0] for rows in told.values() for row in rows if row[1] == "assigned")
            figures = {key: figures[key] for key in ("serving", "level")}
            figures["from_signal"] = assigned + figures["serving"] - since
        self.figures.setdefault(name, []).append(figures)
        print(f"{name}: " + ", ".join(f"{key} {value:.2f}" for key, value in figures.items()), flush=True)
        await asyncio.sleep(3)


def worst(steps: Mapping[str, list[dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Of each step the most of any round."""
    return {name: {key: max(each[key] for each in rounds) for key in rounds[0]} for name, rounds in steps.items()}


def table(steps: Mapping[str, list[dict[str, float]]]) -> str:
    """A line a step."""
    lines = [f"\n{'s (worst of the rounds)':34}" + "".join(f"{key:>14}" for key in KEYS)]
    for name, of in worst(steps).items():
        lines.append(f"{name:34}" + "".join(f"{of[key]:14.2f}" if key in of else f"{'-':>14}" for key in KEYS))
    return "\n".join(lines)


def _before_giving_up(rows: Told, partition: int, since: float) -> float:
    last = since
    for at, what, of, _ in rows:
        if what == "revoked" and at >= since:
            break
        if what == "chunk" and of == partition:
            last = at
    return last


async def stored(settings: Settings, after: Mapping[int, int]) -> dict[int, int]:
    """Wait until every partition has a snapshot that is newer than `after`."""
    async with Redis.from_url(settings.redis.url) as redis, asyncio.timeout(300):
        store = SnapshotStore(redis, f"{settings.kafka.namespace}:")
        while True:
            found = {p: await store.newest(p) or 0 for p in range(PARTITIONS)}
            if all(found[p] > after.get(p, 0) for p in found):
                return found
            await asyncio.sleep(0.5)


async def prepare(stack: Stack, folder: Path, snapshot_s: float) -> tuple[Settings, Plan]:
    """Topics, plan and epoch."""
    zones = msgspec.convert(plan(make_town(1, 20_000)), Plan)
    (folder / "plan.json").write_bytes(orjson.dumps(msgspec.to_builtins(zones)))
    given: dict[str, object] = {
        "kafka.bootstrap": stack.kafka,
        "redis.url": stack.redis,
        "kafka.namespace": "bench",
        "kafka.keep_forever": True,
        "kafka.raw_partitions": 1,
        "kafka.partitions": PARTITIONS,
        "gateway.plan": str(folder / "plan.json"),
        "crowd.snapshot_ms": int(snapshot_s * 1000),
        "worker.http_port": 0,
    }
    settings = load_settings(None, given, {})
    await create(settings)
    terms = Terms(
        *("Europe/Berlin", 4, PARTITIONS, zones.hash(), len(zones.zones), len(zones.parents), DEFAULT_MEASURES),
        *(2.0, 2e-9, rho_for(2.0, 2e-9), 20, "bench", (0,)),
    )
    epoch = make_epoch(START_MS, terms, EpochTable())
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka) as producer:
        await producer.send_and_wait(settings.topic(EPOCHS), msgspec.json.encode(epoch), key=b"0", partition=0)
    return settings, zones


async def play(bench: Bench, settings: Settings) -> None:
    """One round, of the workers a, b and c."""
    fleet = bench.fleet
    await fleet.serving()
    await stored(settings, await stored(settings, {}))
    await bench.step("a 4th joins 3", fleet.begin("d"))
    await bench.step("it leaves in order", fleet.end("d", signal.SIGTERM))
    await bench.step("a 4th joins 3", fleet.begin("d"))
    await bench.step("1 of 4 is killed", fleet.end("d", signal.SIGKILL))
    await bench.step("1 of 3 is killed", fleet.end("c", signal.SIGKILL))
    await bench.step("1 of 2 leaves: all to one", fleet.end("b", signal.SIGTERM))
    await stored(settings, await stored(settings, {}))
    await bench.step("the only one is killed, and back", fleet.end("a", signal.SIGKILL), fleet.begin("a"), alone=True)
    await bench.step("the only one stops, and back", fleet.end("a", signal.SIGTERM), fleet.begin("a"), alone=True)


async def run(stack: Stack, folder: Path, options: argparse.Namespace) -> None:
    """All rounds."""
    settings, zones = await prepare(stack, folder, options.snapshot_s)
    feed = Feed(settings, options.subscribers, options.rate, len(zones.zones))
    await feed.start()
    await feed.fill()
    fleet = Fleet(settings, folder)
    bench = Bench(fleet)
    load: list[float] = []
    feeding = asyncio.create_task(feed.go_on())
    try:
        await fleet.begin("a")
        for _ in range(options.rounds):
            await fleet.begin("b")
            await fleet.begin("c")
            await play(bench, settings)
            load.append(os.getloadavg()[1])
            of = {name: getattr(options, name) for name in ("subscribers", "rate", "snapshot_s")}
            of |= {"partitions": PARTITIONS, "cores": len(os.sched_getaffinity(0)), "load_average": load}
            options.results.write_text(json.dumps({**of, "steps": bench.figures}, indent=1) + "\n")
        print(table(bench.figures))
    finally:
        feeding.cancel()
        for process in fleet.running.values():
            if process.returncode is None:
                process.kill()
        await asyncio.gather(*(process.wait() for process in fleet.running.values()))
        await feed.stop()


def main() -> None:
    """Print a line a step and a table of the worst, and keep all."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--subscribers", type=int, default=1_000_000)
    options.add_argument("--rate", type=int, default=20_000, help="sightings a second, over all partitions")
    options.add_argument("--snapshot-s", type=float, default=60.0)
    options.add_argument("--rounds", type=int, default=4)
    options.add_argument("--results", type=Path, default=RESULTS / "rebalance.json")
    options.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.worker:
        work(chosen.worker)
        return
    with tempfile.TemporaryDirectory() as folder, start(ephemeral=True, progress=print) as stack:
        asyncio.run(run(stack, Path(folder), chosen))


if __name__ == "__main__":
    main()
