"""One run: a deployment, its load, the faults; then waiting until everything has come through, and the verdict."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from pathlib import Path

import msgspec
import orjson

from schemas.topics import REGISTRY
from streams.local.kafka_server import Also
from streams.local.ports import free_ports
from streams.local.stack import Stack, start
from streams.settings import Settings, load_settings
from streams.simulate import make_town, registry
from streams.simulate import plan as zone_plan
from streams.simulate.publish import producer, publish_registry
from streams.stores.topics import create
from tests.chaos import load, oracle
from tests.chaos.completion import Complete, all_ready, complete
from tests.chaos.faults import left_out, play
from tests.chaos.field import Field
from tests.chaos.proxy import Proxy, build
from tests.chaos.servers import Servers
from tests.chaos.verdict import verdict
from tests.support.deployment import RAW, Workers, opened
from tests.support.kafka_cluster import BROKERS, KafkaCluster
from tests.support.processes import exec_worker

SUBSCRIBERS = 60_000
ZONES = 40
ROLES = {"gateway": 4, "crowd": 4, "release": 2}
PARTITIONS = 8
SETTLE_S = 4.0
SESSION_MS = 3_000  # a third of Kafka's: brokers that are gone are told sooner, so that a run has more of them
FAKETIME = ("usr/lib/*/faketime/libfaketime.so.1", "usr/lib/faketime/libfaketime.so.1")

Said = dict[str, object]


async def run(seed: int, minutes: float, names: Sequence[str], brokers: int, folder: Path) -> tuple[Said, list[str]]:
    """What the run's last line says, and all that is wrong, a line a finding."""
    town = make_town(seed, SUBSCRIBERS, ZONES, consent=0.8, roamers=0.02)
    people = {key.decode(): orjson.loads(value) for key, value in registry(town)}
    planning = asyncio.create_task(asyncio.to_thread(load.plan, town, minutes * 60))
    async with servers_and_proxy(folder, brokers) as (stack, cluster, proxy, behind):
        settings = settings_for(stack, cluster, folder, zone_plan(town))
        await create(settings)
        sender = producer(settings.kafka.bootstrap)
        await sender.start()
        await publish_registry(sender, settings.topic(REGISTRY), registry(town))
        await sender.stop()
        plan = await planning
        pieces = load.slices(town, plan.end_ms + (plan.end_ms - load.START))
        field = Field(
            settings,
            folder,
            Workers(behind(settings), folder, exec_worker),
            Servers(stack.folder),
            load.Load(settings, pieces, plan.speed),
            proxy,
            find_faketime(),
            cluster,
        )
        out = {name: why for name, why in left_out(field).items() if name in names}
        for name, why in out.items():
            print(f"chaos: {name} is left out: {why}", flush=True)
        try:
            await field.servers.restart_redis()
            done = await _play(field, [name for name in names if name not in out], seed, minutes * 60)
            asking = oracle.ask(_question(field, people, zone_plan(town), done), RAW)
            field.say("complete; asking the oracle")
            found = await verdict(field.cluster, await asking, done)
        finally:
            await _end_all(field)
    seconds = field.load.ended_s - field.load.began_s
    said: Said = {
        "seed": seed,
        "events": found.answer.events,
        "faults": dict(sorted(field.done.items())),
        "panes_compared": len(found.answer.panes),
        "differences": len(found.panes),
        "duplicate_releases_differing": len(found.releases),
        "rejects_accounted": not found.rejects,
        "minutes": round(seconds / 60, 1),
        "events_per_s": round(found.answer.events / seconds),
        "ended_by_themselves": dict(sorted(field.ended_by_themselves.items())),
        "lost": field.lost,
        "recovered_s": round(done.recovered_s, 1),
        "left_out": out,
    }
    return said, [*found.panes, *found.releases, *found.rejects, *found.others, *field.wrong]


def find_faketime() -> Path | None:
    """libfaketime, where a package put it."""
    return next((path for pattern in FAKETIME for path in Path("/").glob(pattern)), None)


@asynccontextmanager
async def servers_and_proxy(
    folder: Path, brokers: int
) -> AsyncIterator[tuple[Stack, KafkaCluster | None, Proxy | None, "Behind"]]:
    """A stack, a cluster in place of its broker if there are to be three, a proxy before all if there can be one, and
    what turns the servers' addresses into the workers'."""

    def say(line: str) -> None:
        print(line, flush=True)

    program = await asyncio.to_thread(build, say)
    nodes = BROKERS if brokers > 1 else (1,)
    redis_port, *ports = free_ports(1 + 2 * len(nodes))
    also = {node: Also(*ports[2 * n : 2 * n + 2]) for n, node in enumerate(nodes)} if program else {}
    alone = also.get(1) if brokers == 1 else None
    async with AsyncExitStack() as running:
        stack = await asyncio.to_thread(start, folder / "stack", progress=say, ephemeral=True, kafka_also=alone)
        running.push_async_callback(asyncio.to_thread, stack.stop)
        servers, cluster = Servers(stack.folder), None
        if brokers > 1:
            await servers.kill_broker()
            cluster = running.enter_context(KafkaCluster(folder / "kafka", SESSION_MS, also))
        if program is None:
            yield stack, cluster, None, Behind("", 0)
            return
        proxy = Proxy(program, folder / "proxy.log")
        running.callback(proxy.stop)
        kafka = {f"kafka-{node}": (each.advertised, each.port) for node, each in also.items()}
        await proxy.start(kafka | {"redis": (redis_port, servers.redis.port)})
        yield stack, cluster, proxy, Behind(",".join(f"127.0.0.1:{e.advertised}" for e in also.values()), redis_port)


class Behind(msgspec.Struct, frozen=True):
    """Where workers find the proxy's Kafka, and its port for Redis; empty and 0 where there is none."""

    kafka: str
    redis: int

    def __call__(self, settings: Settings) -> Settings:
        """Settings for a worker."""
        if not self.kafka:
            return settings
        return msgspec.structs.replace(
            settings,
            kafka=msgspec.structs.replace(settings.kafka, bootstrap=self.kafka),
            redis=msgspec.structs.replace(settings.redis, url=f"redis://127.0.0.1:{self.redis}/0"),
        )


def settings_for(stack: Stack, cluster: KafkaCluster | None, folder: Path, plan: dict[str, object]) -> Settings:
    """With a short session, so that takeovers fall within the run."""
    (folder / "plan.json").write_bytes(orjson.dumps(plan))
    return load_settings(
        None,
        {
            "kafka.bootstrap": cluster.bootstrap if cluster else stack.kafka,
            **({"kafka.replication": len(BROKERS), "kafka.min_insync": 2} if cluster else {}),
            "redis.url": stack.redis,
            "kafka.keep_forever": True,
            "kafka.raw_partitions": RAW,
            "kafka.partitions": PARTITIONS,
            "kafka.session_ms": 6000,
            "gateway.plan": str(folder / "plan.json"),
            "gateway.keys": str(folder / "keys"),
            "crowd.snapshot_ms": 2000,
        },
        {},
    )


async def _play(field: Field, chosen: Sequence[str], seed: int, seconds: float) -> Complete:
    """Load and faults, and after them the wait until all has come through."""
    for name in chain.from_iterable([f"{role}-{n}" for n in range(count)] for role, count in ROLES.items()):
        await field.workers.start(name)
    await all_ready(field)
    sending = asyncio.create_task(field.load.run())
    watching = asyncio.create_task(field.keep_running())
    try:
        await opened(field.settings)
        await play(field, chosen, seed, seconds - (time.monotonic() - field.load.began_s) - SETTLE_S)
        await asyncio.sleep(max(SETTLE_S, seconds - (time.monotonic() - field.load.began_s)))
        await field.load.stop()
        await sending
        field.say("no more faults, no more events; waiting for what is under way")
        done = await complete(field)
    finally:
        sending.cancel()
        watching.cancel()
    names = list(field.workers.running)
    for name, code in zip(names, await asyncio.gather(*map(field.end, names)), strict=True):
        if code:
            field.wrong.append(f"{name} ended with {code} when it was told to stop: {field.last_words(name)}")
    return done


def _question(field: Field, people: dict[str, object], plan: dict[str, object], done: Complete) -> oracle.Question:
    epochs = [msgspec.to_builtins(epoch) for epoch in done.epochs]
    return oracle.Question(field.settings, field.folder, people, plan, epochs, done.lost.ranges)


async def _end_all(field: Field) -> None:
    for process in field.workers.running.values():
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
            await process.wait()
    field.servers.stop()
