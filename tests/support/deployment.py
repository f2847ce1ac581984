"""A deployment of worker processes on a real Kafka and Redis, fed with a simulated town, beside the oracle."""

import asyncio
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.panes import Pane
from schemas.topics import ATTACH, EPOCHS, LEDGER, PANES, REGISTRY
from streams.agents.producing import Producer
from streams.local.ports import free_ports
from streams.settings import Settings, load_settings
from streams.simulate import Rates, generate, make_town, plan, registry
from streams.simulate.publish import publish, publish_registry
from streams.stores.connection import client_options
from streams.stores.topics import create
from tests.oracle.counting import Result, count
from tests.oracle.gate import Gate
from tests.oracle.gate import screen as oracle_screen
from tests.support.panes import summed
from tests.support.processes import Begin, Process, begin_worker, on_port

START = 1_772_427_600_000  # 2026-03-02T06:00+01:00
HOURS = 3
RAW = 4
RATES = Rates(duplicates=0.01, reorder=0.1, late=0.01, clock_error=0.005, malformed=0.01, ping_pong=0.2, rfc3339=0.05)
EXCLUDED = {"hospital", "church", "mosque", "synagogue", "shelter", "party_office"}

# Workers by role, and partitions of `sightings`.
ONE = ({"gateway": 1, "crowd": 1, "release": 1}, 4)
THREE = ({"gateway": 3, "crowd": 3, "release": 2}, 8)


class World(NamedTuple):
    """The simulated input. `log`: each partition's raw records as they are published."""

    town: object
    log: list
    registry: dict
    plan: dict
    hours: float
    rates: Rates
    start: int = START

    @property
    def end(self) -> int:
        return self.start + round(self.hours * 3600) * 1000


def make_world(subscribers: int, hours: float, rates: Rates = RATES, start: int = START) -> World:
    town = make_town(7, subscribers, 40, consent=0.8, roamers=0.02)
    world = World(town, [], {}, plan(town), hours, rates, start)
    offsets = Counter[int]()
    for piece in generate(town, start, world.end, RAW, 3, rates):
        for partition in range(RAW):
            for time, value in piece.values(partition):
                world.log.append((partition, offsets[partition], time, value))
                offsets[partition] += 1
    world.registry.update((key.decode(), orjson.loads(value)) for key, value in registry(town))
    return world


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

    def __init__(self, settings: Settings, folder: Path, begin: Begin = begin_worker) -> None:
        self.settings = settings
        self.folder = folder
        self.begin = begin
        self.ports: dict[str, int] = {}
        self.running: dict[str, Process] = {}

    async def start(self, name: str, environ: Mapping[str, str] | None = None) -> None:
        """Start a worker (again), with `environ` over what all get."""
        port = self.ports.setdefault(name, free_ports(1)[0])
        self.running[name] = await self.begin(
            name.split("-")[0], self.settings, self.folder / f"{name}.log", {**on_port(port), **(environ or {})}
        )

    async def kill(self, name: str) -> None:
        self.running[name].kill()
        await self.running[name].wait()

    async def end(self, name: str) -> int:
        """End it in order; its exit code."""
        process = self.running.pop(name)
        process.terminate()
        return await asyncio.wait_for(process.wait(), 30)

    async def stop(self) -> None:
        """End all in order, which each must say by its exit code."""
        for process in self.running.values():
            if process.returncode is None:
                process.terminate()
        codes = {name: await asyncio.wait_for(process.wait(), 30) for name, process in self.running.items()}
        failed = [f"{name}: exit {code}\n{self.last_words(name)}" for name, code in codes.items() if code != 0]
        assert not failed, "\n".join(failed)

    def last_words(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()[-4000:]

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
    overrides: Mapping[str, object] | None = None,
    environs: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[Run]:
    """Publish the world, run the workers until all panes are there, and give what came of it.

    Args:
        speed: publish so much faster than the events' own time, while the workers run; None: all before they start.
        faults: what to do to the workers meanwhile.
        overrides: settings beside those that a deployment has here.
        environs: what each role's workers get in their environment, by role.
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
            **(overrides or {}),
        },
        {},
    )
    await create(settings)
    sender = Producer(settings.kafka, settings.kafka.request_ms)  # one that waits for a broker that is away
    await sender.start()
    await publish_registry(sender, settings.topic(REGISTRY), registry(world.town))
    slices = generate(world.town, world.start, world.end, RAW, 3, world.rates)
    publishing = asyncio.create_task(publish(sender, settings.topic(ATTACH), slices, speed, lambda _: None))
    if speed is None:
        await publishing
    workers = Workers(settings, folder)
    try:
        for role, number in roles.items():
            for each in range(number):
                await workers.start(f"{role}-{each}", (environs or {}).get(role))
        epochs = await opened(settings)
        if faults is not None:
            await faults(workers)
        await publishing
        log = await raw_log(settings)
        holds_the_published(log, world.log, repeats=faults is not None)
        gate = oracle_screen(
            log, world.registry, policy(), world.plan, [msgspec.to_builtins(e) for e in epochs], 10_000
        )
        parents = [[p["id"] for p in world.plan["parents"]].index(zone["parent"]) for zone in world.plan["zones"]]
        result = count(gate.sightings, [msgspec.to_builtins(e) for e in epochs], parents, gate.until)
        panes = await all_panes(settings, max(number for _, _, number in result.panes), workers)
        await caught_up(settings, panes)
        metrics = {role: await asyncio.to_thread(fetch, port) for role, port in workers.ports.items()}
        yield Run(settings, epochs, panes, metrics, folder, gate, result, workers.ports)
        await workers.stop()
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
        **client_options(settings.kafka), auto_offset_reset="earliest", enable_auto_commit=False
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


async def raw_log(settings: Settings) -> list:
    """All of `attach` as the oracle takes it: (partition, offset, record time, value)."""
    return [(r.partition, r.offset, r.timestamp, r.value) for r in await read_topic(settings, ATTACH)]


def holds_the_published(log: list, published: list, *, repeats: bool) -> None:
    """Assert that a raw log holds what was published in its order, and nothing else.

    Args:
        repeats: a batch may be there twice. A broker that comes back has forgotten a producer whose newest record is
            older than a day by the record's own time (producer.id.expiration.ms), and then takes a batch again of
            which it could not say before that it had it.
    """
    for partition in range(RAW):
        found = [record[2:] for record in log if record[0] == partition]
        wanted = [record[2:] for record in published if record[0] == partition]
        if repeats:
            assert set(found) == set(wanted)
            rest = iter(found)
            assert all(record in rest for record in wanted), "records are missing, or not in their order"
        else:
            assert found == wanted


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
    return summed(firsts.values())


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
