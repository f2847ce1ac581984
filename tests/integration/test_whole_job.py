"""The whole job on a real Kafka and a real Redis, against the oracle: one worker, and three workers on eight
partitions.

A simulated town's hours with everything that can go wrong at raised rates go through `throng worker` processes;
then the exact panes, the rejects, the drops, Redis's sliding windows and the metrics must be what the oracle
computes from the same raw log, and nothing that leaves may hold an identifier.
"""

import asyncio
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import orjson
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.panes import Pane, pairs
from schemas.topics import EPOCHS, FLOWS, FOOTFALL, LEDGER, PANES, REGISTRY, REJECTS, SALTS, SIGHTINGS
from streams.core.pseudonyms import pseudonym
from streams.demo.processes import free_port
from streams.settings import Settings, load_settings, to_environ
from streams.simulate import Rates, generate, make_town, plan, registry
from streams.simulate.people import imsis, msisdns
from streams.simulate.publish import producer, publish, publish_registry
from streams.stores.counts import CountStore
from streams.stores.keys import FileKeys
from streams.stores.log import TailReader
from streams.stores.salts import Vault
from streams.stores.topics import create
from tests.oracle.counting import Result, count, window
from tests.oracle.gate import Gate
from tests.oracle.gate import screen as oracle_screen
from tests.support.scanner import Scanner, Secrets

pytestmark = pytest.mark.integration

START = 1_772_427_600_000  # 2026-03-02T06:00+01:00
HOURS = 3
RAW = 4
RATES = Rates(duplicates=0.01, reorder=0.1, late=0.01, clock_error=0.005, malformed=0.01, ping_pong=0.2, rfc3339=0.05)
EXCLUDED = {"hospital", "church", "mosque", "synagogue", "shelter", "party_office"}


class World(NamedTuple):
    """The simulated input, and what the oracle makes of its raw part (the panes need the epochs of a run)."""

    town: object
    log: list
    registry: dict
    plan: dict
    hours: int


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(3000, HOURS)


def make_world(subscribers: int, hours: int) -> World:
    town = make_town(7, subscribers, 40, consent=0.8, roamers=0.02)
    log, offsets = [], Counter()
    for piece in generate(town, START, START + hours * 3_600_000, RAW, 3, RATES):
        for partition in range(RAW):
            for time, value in piece.values(partition):
                log.append((partition, offsets[partition], time, value))
                offsets[partition] += 1
    people = {key.decode(): orjson.loads(value) for key, value in registry(town)}
    return World(town, log, people, plan(town), hours)


class Run(NamedTuple):
    """A deployment after it has handled everything."""

    settings: Settings
    epochs: list[Epoch]
    panes: dict
    metrics: dict[str, str]
    folder: Path
    gate: Gate
    result: Result
    ports: dict[str, int]


class Workers:
    """The worker processes of a deployment, by name (`crowd-0`), with their HTTP ports and logs."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.ports: dict[str, int] = {}
        self.running: dict[str, asyncio.subprocess.Process] = {}

    async def start(self, name: str) -> None:
        port = self.ports.setdefault(name, free_port())
        with (self.folder / f"{name}.log").open("ab") as log:
            self.running[name] = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "streams.cli.main", "worker", name.split("-")[0]),
                env=to_environ(self.settings) | {"THRONG_WORKER_HTTP_PORT": str(port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def kill(self, name: str) -> None:
        self.running[name].kill()
        await self.running[name].wait()

    async def stop(self) -> list[int]:
        for process in self.running.values():
            process.terminate()
        return [await asyncio.wait_for(process.wait(), 30) for process in self.running.values()]

    def all_up(self) -> bool:
        return all(process.returncode is None for process in self.running.values())


@asynccontextmanager
async def deployment(
    stack: object,
    name: str,
    world: World,
    folder: Path,
    roles: dict[str, int],
    partitions: int,
    speed: float | None = None,
    faults: Callable[[Workers], Awaitable[None]] | None = None,
) -> AsyncIterator[Run]:
    """Publish the world, run the workers until all panes are there, and give what came of it.

    Args:
        speed: publish so much faster than the events' own time, while the workers run; None: all before they start.
        faults: what to do to the workers meanwhile.
    """
    (folder / "plan.json").write_bytes(orjson.dumps(world.plan))
    settings = load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
            "redis.url": stack.redis,  # type: ignore[attr-defined]
            "kafka.namespace": name,
            "kafka.keep_forever": True,
            "kafka.raw_partitions": RAW,
            "kafka.partitions": partitions,
            "kafka.session_ms": 6000,
            "gateway.plan": str(folder / "plan.json"),
            "gateway.keys": str(folder / "keys"),
            "crowd.snapshot_ms": 2000,
        },
        {},
    )
    await create(settings)
    sender = producer(settings.kafka.bootstrap)
    await sender.start()
    await publish_registry(sender, settings.topic(REGISTRY), registry(world.town))
    slices = generate(world.town, START, START + world.hours * 3_600_000, RAW, 3, RATES)
    publishing = asyncio.create_task(publish(sender, settings.topic("attach"), slices, speed, lambda _: None))
    if speed is None:
        await publishing
    workers = Workers(settings, folder)
    try:
        for role, number in roles.items():
            for each in range(number):
                await workers.start(f"{role}-{each}")
        epochs = await opened(settings)
        if faults is not None:
            await faults(workers)
        await publishing
        gate = oracle_screen(
            world.log, world.registry, policy(), world.plan, [msgspec.to_builtins(e) for e in epochs], 10_000
        )
        parents = [[p["id"] for p in world.plan["parents"]].index(zone["parent"]) for zone in world.plan["zones"]]
        result = count(gate.sightings, [msgspec.to_builtins(e) for e in epochs], parents, gate.until)
        panes = await all_panes(settings, max(number for _, _, number in result.panes), workers)
        await caught_up(settings, panes)
        metrics = {role: await asyncio.to_thread(fetch, port) for role, port in workers.ports.items()}
        yield Run(settings, epochs, panes, metrics, folder, gate, result, workers.ports)
        assert set(await workers.stop()) == {0}
    finally:
        await sender.stop()
        for process in workers.running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


def policy() -> dict:
    return {
        "mcc": "001",
        "home": "00101",
        "minimum_age": 18,
        "purpose": "marketing",
        "excluded": EXCLUDED,
        "suspended": {"262"},
    }


async def read_topic(settings: Settings, name: str) -> list:
    """All records of a topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    try:
        await consumer._client.add_topic(settings.topic(name))
        tps = [TopicPartition(settings.topic(name), p) for p in consumer.partitions_for_topic(settings.topic(name))]
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        found: list = []
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
        return found
    finally:
        await consumer.stop()


async def opened(settings: Settings) -> list[Epoch]:
    async with asyncio.timeout(120):
        while not (records := await read_topic(settings, EPOCHS)):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.5)
    first: dict[int, Epoch] = {}
    for record in records:
        epoch = msgspec.json.decode(record.value, type=Epoch)
        first.setdefault(epoch.epoch, epoch)
    return list(first.values())


async def all_panes(settings: Settings, last: int, workers: Workers) -> dict:
    """Every partition's panes up to `last`, summed; repeats must be equal."""
    async with asyncio.timeout(240):
        while True:
            assert workers.all_up(), "a worker ended"
            firsts: dict = {}
            for record in await read_topic(settings, PANES):
                pane = msgspec.msgpack.decode(record.value, type=Pane)
                assert firsts.setdefault((pane.epoch, pane.partition, pane.number), pane) == pane
            if sum(number == last for _, _, number in firsts) == settings.kafka.partitions:
                break
            await asyncio.sleep(1)
    summed: dict = {}
    for pane in firsts.values():
        for name, counts in pane.counts.items():
            keys, values = pairs(counts)
            mine = summed.setdefault((pane.epoch, name, pane.number), Counter())
            mine.update(dict(zip(keys.tolist(), values.tolist(), strict=True)))
    return summed


async def caught_up(settings: Settings, panes: dict) -> None:
    """Wait until every measure's pane is in the ledger."""
    async with asyncio.timeout(120):
        while True:
            drawn = {
                (entry.epoch, entry.measure, entry.number)
                for record in await read_topic(settings, LEDGER)
                if (entry := msgspec.msgpack.decode(record.value, type=LedgerRecord))
            }
            if drawn >= panes.keys():
                return
            await asyncio.sleep(0.5)


def fetch(port: int, path: str = "metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return str(answer.read().decode())


def total(metrics: dict[str, str], role: str, name: str) -> Counter:
    """A counter's values by its labels' values, added up over the role's workers."""
    found: Counter = Counter()
    for worker, text in metrics.items():
        if worker.startswith(role):
            for family in text_string_to_metric_families(text):
                for sample in family.samples:
                    if sample.name == name and sample.value:
                        found[",".join(sample.labels.values())] += int(sample.value)
    return found


ONE = ({"gateway": 1, "crowd": 1, "release": 1}, 4)
THREE = ({"gateway": 3, "crowd": 3, "release": 2}, 8)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("workers", "partitions"), [ONE, THREE], ids=["one worker", "three workers"])
async def test_all_that_is_counted_equals_the_oracle_and_no_identifier_leaves(
    stack: object, namespace: str, world: World, tmp_path: Path, workers: dict[str, int], partitions: int
) -> None:
    async with deployment(stack, namespace, world, tmp_path, workers, partitions) as run:
        assert sum(sum(counts.values()) for counts in run.panes.values()) > 10_000
        assert run.panes == {name: +counts for name, counts in run.result.panes.items()}
        await rejects_are_told(run)
        metrics_say_what_was_fed(run)
        await windows_in_redis_are_right(run)
        released = await released_records_keep_the_rules(run)
        blobs = [(f"{name} {n}", data) for n, (name, data) in enumerate(released)]
        blobs += [(f"metrics of {role}", text.encode()) for role, text in run.metrics.items()]
    blobs += [(log.name, log.read_bytes()) for log in tmp_path.glob("*.log")]  # noqa: ASYNC240
    scanner = Scanner(await secrets_of(run, world))
    assert scanner.scan(blobs) == []
    sightings = await read_topic(run.settings, SIGHTINGS)
    planted = max((record.value for record in sightings), key=len)
    assert {found.kind for found in scanner.scan([("sightings", planted)])} == {"pseudonym"}


@pytest.mark.timeout(900)
async def test_workers_killed_at_work_go_on_from_their_snapshots(
    stack: object, namespace: str, world: World, tmp_path: Path
) -> None:
    snapshots_used = 0

    async def kill_each_twice(workers: Workers) -> None:
        for name in ("crowd-0", "gateway-0", "release-0", "crowd-0", "gateway-0", "crowd-0"):
            await asyncio.sleep(4)
            await workers.kill(name)
            await workers.start(name)

    roles = {"gateway": 1, "crowd": 1, "release": 1}
    # Three hours in half a minute: every kill falls among events that are still to come.
    async with deployment(stack, namespace, world, tmp_path, roles, 4, 360.0, kill_each_twice) as run:
        assert run.panes == {name: +counts for name, counts in run.result.panes.items()}
        await rejects_are_told(run)
        await windows_in_redis_are_right(run)
        await released_records_keep_the_rules(run)
        log = (tmp_path / "crowd-0.log").read_text()
        snapshots_used = sum("goes on from offset" in line and "offset 0" not in line for line in log.splitlines())
    assert snapshots_used > 0


async def rejects_are_told(run: Run) -> None:
    found = {}
    for record in await read_topic(run.settings, REJECTS):
        headers = {name: value.decode() for name, value in record.headers}
        position = (int(headers["partition"]), int(headers["offset"]), int(headers["index"]))
        assert found.setdefault(position, headers["reason"]) == headers["reason"]
    assert found == run.gate.rejects


def metrics_say_what_was_fed(run: Run) -> None:
    assert sum(total(run.metrics, "gateway", "throng_gateway_events_total").values()) == run.gate.events
    assert total(run.metrics, "gateway", "throng_gateway_rejects_total") == Counter(run.gate.rejects.values())
    assert total(run.metrics, "gateway", "throng_gateway_drops_total") == run.gate.drops
    assert total(run.metrics, "gateway", "throng_gateway_sightings_total")[""] == len(run.gate.sightings)
    assert sum(total(run.metrics, "crowd", "throng_crowd_sightings_total").values()) == len(run.gate.sightings)


async def windows_in_redis_are_right(run: Run) -> None:
    epoch = run.epochs[0]
    async with Redis.from_url(run.settings.redis.url) as redis:
        store = CountStore(redis, f"{run.settings.kafka.namespace}:")
        for length in epoch.windows_ms:
            ticks = [await store.read(p, length) for p in range(run.settings.kafka.partitions)]
            last = epoch.start_ms + (run.gate.until - epoch.start_ms) // epoch.tick_ms * epoch.tick_ms
            assert {tick and tick.tick_ms for tick in ticks} == {last}
            counts = sum(tick.counts.astype(np.int64) for tick in ticks if tick is not None)
            got = Counter({(int(z), int(c)): int(counts[z, c]) for z, c in zip(*np.nonzero(counts), strict=True)})
            assert got == window(run.result, msgspec.to_builtins(epoch), epoch.zones, last, length)


async def released_records_keep_the_rules(run: Run) -> list[tuple[str, bytes]]:
    """Nothing below k has a number, repeats are identical, Redis shows what the topics said. Returns all bytes."""
    k = run.epochs[0].k
    seen: dict = {}
    blobs = []
    for topic in (FOOTFALL, FLOWS):
        for record in await read_topic(run.settings, topic):
            said = orjson.loads(record.value)
            blobs.append((topic, record.key + b"\n" + record.value))
            name = tuple(said.get(f) for f in ("measure", "zone", "origin", "destination", "age_band", "gender", "end"))
            assert seen.setdefault(name, record.value) == record.value
            if "estimate" in said:
                assert said["estimate"] - 1.6448 * said["se"] >= k - 0.2
                assert not said.get("suppressed")
            elif topic == FOOTFALL:
                assert said["suppressed"] and "noisy" not in said
    assert any(b"estimate" in value for value in seen.values())
    async with Redis.from_url(run.settings.redis.url) as redis:
        keys = [key async for key in redis.scan_iter(f"{run.settings.kafka.namespace}:released:*")]
        assert keys
        for key in keys:
            value = await redis.hget(key, "record")
            assert value is not None
            blobs.append(("redis", key + b"\n" + value))
            parts = value if b":flows:" not in key else orjson.dumps(orjson.loads(value)[-1])
            assert parts in seen.values()
    return blobs


async def secrets_of(run: Run, world: World) -> Secrets:
    numbers = [f"{imsi:015d}" for imsi in imsis(world.town).tolist()]
    reader = TailReader(run.settings.kafka.bootstrap, run.settings.topic(SALTS))
    await reader.start()
    vault = Vault(reader, None, "", FileKeys(run.folder / "keys"))  # type: ignore[arg-type]
    salts = [await vault.ensure(epoch.epoch) for epoch in run.epochs]
    await reader.stop()
    names = frozenset(pseudonym(number.encode(), salt) for number in numbers for salt in salts)
    phones = frozenset(f"{number}" for number in msisdns(world.town).tolist())
    return Secrets(frozenset(numbers), phones, names, tuple(salts))
