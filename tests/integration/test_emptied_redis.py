"""Redis emptied while a deployment runs, and logs cut: rebuilt, or shut until it is whole; lost panes are void."""

import asyncio
import urllib.error
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import orjson
import pytest
from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from redis.asyncio import Redis

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.measures import DEFAULT_MEASURES
from schemas.panes import Pane
from schemas.plan import Plan
from schemas.sightings import REGISTRY_SOURCE, Control, decode_frame
from schemas.topics import ATTACH, LEDGER, PANES, REGISTRY, RELEASED, SIGHTINGS
from streams.core.times import rfc3339
from streams.settings import Settings, load_settings
from streams.simulate import generate, make_town, plan, registry
from streams.simulate.publish import producer, publish_registry
from streams.stores.counts import CountStore
from streams.stores.topics import create
from tests.oracle.counting import Result, count, window
from tests.oracle.gate import screen
from tests.support.deployment import EXCLUDED, RATES, START, Workers, fetch, opened, policy, read_topic, total
from tests.support.panes import summed
from tests.support.reading import admin, delete_before

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

MINUTE = 60_000
SOURCES = PARTITIONS = 2
TOWN = make_town(3, 400, 30)
# Local time is 06:00 at START, and pseudonyms change at 08:00.
EPOCH_END = START + 120 * MINUTE
END = START + 200 * MINUTE


class Log:
    """The raw log, published piece by piece: [time, value] by source, and how many of them are out."""

    def __init__(self) -> None:
        slices = list(generate(TOWN, START, END, SOURCES, 3, RATES))
        records = {source: [r for piece in slices for r in piece.values(source)] for source in range(SOURCES)}
        self.records = {source: [(at, v) for at, v in some if v is not None] for source, some in records.items()}
        self.out = dict.fromkeys(range(SOURCES), 0)

    async def publish(self, settings: Settings, until_ms: int) -> None:
        """All with a record time before `until_ms`, and wait until the gateway has taken them up."""
        sender = producer(settings.kafka.bootstrap)
        await sender.start()
        for source, records in self.records.items():
            due = sum(at < until_ms for at, _ in records)
            acks = [
                await sender.send(settings.topic(ATTACH), value, partition=source, timestamp_ms=at)
                for at, value in records[self.out[source] : due]
            ]
            await asyncio.gather(*acks)
            self.out[source] = due
        await sender.stop()


class Deployment(NamedTuple):
    """Workers at work on a log."""

    settings: Settings
    workers: Workers
    log: Log


@asynccontextmanager
async def deployed(stack: object, namespace: str, folder: Path) -> AsyncIterator[Deployment]:
    (folder / "plan.json").write_bytes(orjson.dumps(plan(TOWN)))
    settings = load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
            "redis.url": stack.redis,  # type: ignore[attr-defined]
            "kafka.namespace": namespace,
            "kafka.keep_forever": True,
            "kafka.raw_partitions": SOURCES,
            "kafka.partitions": PARTITIONS,
            "epoch.change_hour": 8,
            "gateway.plan": str(folder / "plan.json"),
            "gateway.keys": str(folder / "keys"),
            "crowd.snapshot_ms": 2000,
        },
        {},
    )
    await create(settings)
    sender = producer(settings.kafka.bootstrap)
    await sender.start()
    await publish_registry(sender, settings.topic(REGISTRY), registry(TOWN))
    await sender.stop()
    workers = Workers(settings, folder)
    try:
        for name in ("gateway-0", "crowd-0", "release-0"):
            await workers.start(name)
        yield Deployment(settings, workers, Log())
        await workers.stop()
    finally:
        for process in workers.running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


async def panes_of(settings: Settings) -> list[Pane]:
    return [msgspec.msgpack.decode(record.value, type=Pane) for record in await read_topic(settings, PANES)]


async def ledger_of(settings: Settings) -> dict[tuple[int, str, int], LedgerRecord]:
    first: dict[tuple[int, str, int], LedgerRecord] = {}
    for record in await read_topic(settings, LEDGER):
        entry = msgspec.msgpack.decode(record.value, type=LedgerRecord)
        first.setdefault((entry.epoch, entry.measure, entry.number), entry)
    return first


async def covered(settings: Settings) -> dict[tuple[int, int], int]:
    """How far the frames go, by partition and raw source."""
    frames = [(r.partition, decode_frame(r.value)) for r in await read_topic(settings, SIGHTINGS)]
    sections = ((p, s) for p, frame in frames if not isinstance(frame, Control) for s in frame)
    return {(p, section.source): section.to for p, section in sections if section.source < REGISTRY_SOURCE}


async def until(what: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await what():  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.5)


async def taken_up(run: Deployment) -> None:
    """Wait until the gateway has sent frames of all that is published."""
    wanted = {(p, source): number for p in range(PARTITIONS) for source, number in run.log.out.items()}

    async def all_covered() -> bool:
        return await covered(run.settings) == wanted

    await until(all_covered)


async def released_to(run: Deployment, end_ms: int) -> None:
    """Wait until the pane that ends there is in the ledger, with each of the measures that it ends."""
    due = {measure.name for measure in DEFAULT_MEASURES if (end_ms - START) % measure.pane_ms == 0}

    async def is_there() -> bool:
        return due <= {entry.measure for entry in (await ledger_of(run.settings)).values() if entry.end_ms >= end_ms}

    await until(is_there)


async def readiness(run: Deployment) -> list[str]:
    try:
        said = await asyncio.to_thread(fetch, run.workers.ports["crowd-0"], "readyz")
    except urllib.error.HTTPError as error:
        said = error.read().decode()
    return list(orjson.loads(said)["reasons"])


async def said_of_each(run: Deployment, words: str) -> list[str]:
    """Wait until readiness says so of every partition."""
    found: list[str] = []

    async def is_said() -> bool:
        try:
            found[:] = [reason for reason in await readiness(run) if words in reason]
        except OSError:
            return False
        return len(found) == PARTITIONS

    await until(is_said)
    return found


async def flush(settings: Settings) -> None:
    async with Redis.from_url(settings.redis.url) as redis:
        await redis.flushall()


async def cut_sightings(settings: Settings) -> None:
    """DeleteRecords of all that is there."""
    async with admin(settings.kafka.bootstrap) as client:
        tps = [TopicPartition(settings.topic(SIGHTINGS), number) for number in range(PARTITIONS)]
        await client.delete_records({tp: RecordsToDelete(-1) for tp in tps})


def oracle(run: Deployment, epochs: list[Epoch]) -> tuple[Result, int]:
    log = [
        (source, offset, at, value)
        for source, records in run.log.records.items()
        for offset, (at, value) in enumerate(records)
    ]
    builtins = [msgspec.to_builtins(epoch) for epoch in epochs]
    people = {key.decode(): orjson.loads(value) for key, value in registry(TOWN)}
    gate = screen(log, people, policy(), plan(TOWN), builtins, 10_000)
    parents = [[p["id"] for p in plan(TOWN)["parents"]].index(zone["parent"]) for zone in plan(TOWN)["zones"]]
    return count(gate.sightings, builtins, parents, gate.until), gate.until


async def finished(run: Deployment) -> tuple[Result, list[Epoch], dict[tuple[int, str, int], LedgerRecord]]:
    """Publish the rest and wait until every pane is closed."""
    await run.log.publish(run.settings, END)
    await taken_up(run)
    epochs = await opened(run.settings)
    assert len(epochs) == 2
    result, _ = oracle(run, epochs)

    async def all_closed() -> bool:
        return (await ledger_of(run.settings)).keys() >= result.panes.keys()

    await until(all_closed)
    ledger = await ledger_of(run.settings)
    assert ledger.keys() == result.panes.keys()
    return result, epochs, ledger


async def windows_are_whole(run: Deployment, result: Result, epochs: list[Epoch]) -> None:
    """Redis shows the windows of the last tick as the oracle has them."""
    last, until_ms = epochs[-1], oracle(run, epochs)[1]
    tick_ms = last.start_ms + (until_ms - last.start_ms) // last.tick_ms * last.tick_ms
    async with Redis.from_url(run.settings.redis.url) as redis:
        store = CountStore(redis, f"{run.settings.kafka.namespace}:")
        for length in last.windows_ms:
            ticks = [await store.read(number, length) for number in range(PARTITIONS)]
            assert {tick and tick.tick_ms for tick in ticks} == {tick_ms}
            counts = sum(tick.counts.astype(np.int64) for tick in ticks if tick is not None)
            got = Counter({(int(z), int(c)): int(counts[z, c]) for z, c in zip(*np.nonzero(counts), strict=True)})
            assert got == window(result, msgspec.to_builtins(last), last.zones, tick_ms, length)


async def shown(settings: Settings) -> set[str]:
    """The keys of what consumers read."""
    prefix = f"{settings.kafka.namespace}:"
    async with Redis.from_url(settings.redis.url) as redis:
        return {key.decode().removeprefix(prefix) async for key in redis.scan_iter(match=f"{prefix}released:*")}


async def test_an_emptied_redis_is_rebuilt_from_the_log(stack: object, namespace: str, tmp_path: Path) -> None:
    async with deployed(stack, namespace, tmp_path) as run:
        await run.log.publish(run.settings, START + 40 * MINUTE)
        await released_to(run, START + 35 * MINUTE)
        await run.workers.kill("crowd-0")
        before = await shown(run.settings)
        await flush(run.settings)
        await run.workers.start("crowd-0")
        result, epochs, ledger = await finished(run)
        assert f"released:places:{msgspec.convert(plan(TOWN), Plan).hash()}" in before <= await shown(run.settings)
        assert {record.kind for record in ledger.values()} == {"release"}
        firsts = {(pane.epoch, pane.partition, pane.number): pane for pane in reversed(await panes_of(run.settings))}
        assert summed(firsts.values()) == {name: +counts for name, counts in result.panes.items()}
        await windows_are_whole(run, result, epochs)
    assert "lost its state" not in (tmp_path / "crowd-0.log").read_text()


async def test_where_the_log_is_cut_too_it_is_shut_until_it_is_whole(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    async with deployed(stack, namespace, tmp_path) as run:
        await run.log.publish(run.settings, START + 20 * MINUTE)
        await released_to(run, START + 15 * MINUTE)
        await run.workers.kill("crowd-0")
        # What comes while nobody counts is lost as well.
        await run.log.publish(run.settings, START + 25 * MINUTE)
        await taken_up(run)
        await cut_sightings(run.settings)
        await flush(run.settings)
        await run.workers.start("crowd-0")
        await said_of_each(run, "it waits for its sources to be heard")
        await run.log.publish(run.settings, START + 40 * MINUTE)
        for reason in await said_of_each(run, "shut are"):
            assert f"arrivals until {rfc3339(EPOCH_END)}" in reason
            assert "present until 2026-03-02T06:" in reason, "65 minutes after what is whole, in UTC"
        metrics = {"crowd-0": await asyncio.to_thread(fetch, run.workers.ports["crowd-0"])}
        assert set(total(metrics, "crowd", "throng_crowd_shut_measures").values()) == {len(DEFAULT_MEASURES)}

        result, epochs, ledger = await finished(run)
        firsts = {(pane.epoch, pane.partition, pane.number): pane for pane in reversed(await panes_of(run.settings))}
        shut = {(pane.epoch, name, pane.number) for pane in firsts.values() for name in pane.shut}
        told = {name: counts for name, counts in summed(firsts.values()).items() if name not in shut}
        assert told == {name: +counts for name, counts in result.panes.items() if name not in shut}
        what_is_shut_is_what_should_be(shut, epochs, {name for name, record in ledger.items() if record.kind == "void"})
        assert {record.reason for record in ledger.values() if record.kind == "void"} == {"shut"}
        await consumers_are_told(run, ledger)
        assert await readiness(run) == []
        metrics = {name: await asyncio.to_thread(fetch, port) for name, port in run.workers.ports.items()}
        assert sum(total(metrics, "crowd", "throng_crowd_shut_measures").values()) == 0
        assert sum(total(metrics, "release", "throng_release_voids_total").values()) == len(shut)
        await windows_are_whole(run, result, epochs)
    assert "lost its state" in (tmp_path / "crowd-0.log").read_text()


async def test_panes_that_retention_took_before_their_release_are_void_and_the_next_go_on(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    async with deployed(stack, namespace, tmp_path) as run:
        await run.log.publish(run.settings, START + 20 * MINUTE)
        await released_to(run, START + 15 * MINUTE)
        await run.workers.kill("release-0")
        await run.log.publish(run.settings, START + 50 * MINUTE)

        async def counted() -> bool:
            return max(pane.end_ms for pane in await panes_of(run.settings)) >= START + 45 * MINUTE

        await until(counted)
        panes = await panes_of(run.settings)
        cut = max(number for number, pane in enumerate(panes) if pane.end_ms <= START + 30 * MINUTE) + 1
        gone = max(pane.end_ms for pane in panes[:cut])
        await delete_before(run.settings.kafka.bootstrap, run.settings.topic(PANES), cut)
        await run.workers.start("release-0")
        _, _, ledger = await finished(run)
        voids = {record.end_ms: record.reason for record in ledger.values() if record.kind == "void"}
        assert voids == dict.fromkeys(range(START + 20 * MINUTE, gone + 1, 5 * MINUTE), "lost")
        metrics = {"release-0": await asyncio.to_thread(fetch, run.workers.ports["release-0"])}
        counts = total(metrics, "release", "throng_release_voids_total")
        assert sum(counts.values()) == sum(record.kind == "void" for record in ledger.values())
    assert "are lost: they are closed without a release" in (tmp_path / "release-0.log").read_text()


def what_is_shut_is_what_should_be(shut: set, epochs: list[Epoch], void: set) -> None:
    assert void == shut
    assert {epoch for epoch, _, _ in shut} == {epochs[0].epoch}
    ends = {
        name: [epochs[0].start_ms + number * 5 * MINUTE for _, measure, number in shut if measure == name]
        for name in ("present", "arrivals")
    }
    # Panes of before the loss were sent, and stand; those of present open again before the epoch's end.
    assert START + 20 * MINUTE < min(ends["arrivals"]) < max(ends["arrivals"]) == EPOCH_END
    assert START + 15 * MINUTE < min(ends["present"]) < START + 30 * MINUTE
    assert START + 90 * MINUTE < max(ends["present"]) < START + 110 * MINUTE


async def consumers_are_told(run: Deployment, ledger: dict[tuple[int, str, int], LedgerRecord]) -> None:
    """For every void there are suppressed records that say why, and Redis shows none of them as a number."""
    told: Counter = Counter()
    for topic in RELEASED:
        for record in await read_topic(run.settings, topic):
            said = orjson.loads(record.value)
            if said.get("state_lost"):
                assert said.get("suppressed", True)
                assert not said["complete"]
                assert "estimate" not in said
                assert said["covered"] < 1, "a partition that can't count covers nothing"
                told[said["measure"], said["end"]] += 1
    places = plan(TOWN)
    zones, parents = sum(zone["kind"] not in EXCLUDED for zone in places["zones"]), len(places["parents"])
    sizes = {"arrivals": zones, "present_cohort": zones} | dict.fromkeys(
        ("present", "dwell", "visits"), zones + parents
    )
    for (_, measure, _), record in ledger.items():
        if record.kind == "void":
            assert told[measure, rfc3339(record.end_ms)] >= sizes.get(measure, 1)
        else:
            assert told[measure, rfc3339(record.end_ms)] == 0
