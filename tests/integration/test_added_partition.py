"""A raw partition added while all runs: announced first, taken up without a restart, counted as the oracle does."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import orjson
import pytest
from aiokafka.admin import NewPartitions

from schemas.panes import Pane
from schemas.sightings import REGISTRY_SOURCE, Control, decode_frame
from schemas.topics import ATTACH, PANES, REGISTRY, SIGHTINGS
from streams.settings import Settings
from streams.simulate import generate, make_town, plan, registry
from streams.simulate.publish import producer, publish_registry
from streams.stores.topics import counts_of, create
from tests.oracle.counting import count
from tests.oracle.gate import screen
from tests.support.deployment import RATES, START, Workers, all_panes, opened, policy, read_topic
from tests.support.processes import throng
from tests.support.reading import admin
from tests.support.small import small

pytestmark = pytest.mark.integration

MINUTE = 60_000
TOWN = make_town(3, 600, 30)
# (record time, value) by partition: half an hour of two partitions, then half an hour of three.
Log = dict[int, list[tuple[int, bytes]]]


def half_hour(first_minute: int, partitions: int) -> Log:
    begin = START + first_minute * MINUTE
    slices = list(generate(TOWN, begin, begin + 30 * MINUTE, partitions, 3, RATES))
    return {p: [record for piece in slices for record in piece.values(p)] for p in range(partitions)}


async def send(settings: Settings, log: Log) -> None:
    sender = producer(settings.kafka.bootstrap)
    await sender.start()
    try:
        acks = [
            await sender.send(settings.topic(ATTACH), value, partition=partition, timestamp_ms=at)
            for partition, records in log.items()
            for at, value in records
            if value is not None
        ]
        await asyncio.gather(*acks)
    finally:
        await sender.stop()


async def topics_create(settings: Settings, raw_partitions: int) -> None:
    done = await throng(settings, "topics", "create", environ={"THRONG_KAFKA_RAW_PARTITIONS": str(raw_partitions)})
    assert done.returncode == 0, done.stderr


async def covered(settings: Settings) -> dict[int, int]:
    """How far the frames of partition 0 go, by raw source."""
    frames = [decode_frame(r.value) for r in await read_topic(settings, SIGHTINGS) if r.partition == 0]
    sections = [section for frame in frames if not isinstance(frame, Control) for section in frame]
    return {section.source: section.to for section in sections if section.source < REGISTRY_SOURCE}


async def last_pane(settings: Settings) -> int:
    panes = [msgspec.msgpack.decode(record.value, type=Pane) for record in await read_topic(settings, PANES)]
    return max((pane.end_ms for pane in panes), default=0)


async def by_throng(settings: Settings) -> None:
    """Several at once, one of them with less in mind."""
    await asyncio.gather(*(topics_create(settings, wanted) for wanted in (3, 3, 1)))


async def by_kafkas_tools(settings: Settings) -> None:
    """A gateway announces what it finds. What comes before that may be too late, so wait for it."""
    async with admin(settings.kafka.bootstrap) as client:
        await client.create_partitions({settings.topic(ATTACH): NewPartitions(3)})
    async with asyncio.timeout(60):
        while not all(3 in versions for versions in await controls(settings)):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.5)


async def controls(settings: Settings) -> list[dict[int, tuple[int, ...]]]:
    """The control records of each partition of `sightings` that counts, by their version."""
    found: list[dict[int, tuple[int, ...]]] = [{}, {}]
    for record in await read_topic(settings, SIGHTINGS):
        if record.partition < len(found) and isinstance(frame := decode_frame(record.value), Control):
            assert found[record.partition].setdefault(frame.version, frame.sources) == frame.sources
    return found


@pytest.mark.parametrize("added", [by_throng, by_kafkas_tools])
async def test_a_partition_added_while_running_is_announced_held_for_and_counted(
    stack: object, namespace: str, tmp_path: Path, added: Callable[[Settings], Awaitable[None]]
) -> None:
    others = {"kafka.keep_forever": True, "kafka.raw_partitions": 2, "kafka.partitions": 2}
    settings = small(stack, namespace, tmp_path, plan(TOWN), **others)
    await create(settings)
    sender = producer(settings.kafka.bootstrap)
    await sender.start()
    await publish_registry(sender, settings.topic(REGISTRY), registry(TOWN))
    await sender.stop()
    before, after = half_hour(0, 2), half_hour(32, 3)
    await send(settings, before)
    workers = Workers(settings, tmp_path)
    try:
        for name in ("gateway-0", "gateway-1", "crowd-0"):
            await workers.start(name)
        epochs = await opened(settings)
        async with asyncio.timeout(120):
            while await last_pane(settings) < START + 25 * MINUTE:
                assert workers.all_up()
                await asyncio.sleep(0.5)

        # Which nobody should do: no subscriber may have another target for it.
        async with admin(settings.kafka.bootstrap) as client:
            await client.create_partitions({settings.topic(SIGHTINGS): NewPartitions(3)})
        await workers.kill("gateway-0")
        await workers.start("gateway-0")
        await added(settings)
        assert (await counts_of(settings, [ATTACH]))[ATTACH] == 3
        held_at = await last_pane(settings)
        await send(settings, {p: after[p] for p in (0, 1)})
        ends = {p: sum(v is not None for _, v in before[p] + after[p]) for p in (0, 1)}
        async with asyncio.timeout(180):
            while await covered(settings) != ends:
                assert workers.all_up()
                await asyncio.sleep(0.5)
        assert await last_pane(settings) == held_at

        await send(settings, {2: after[2]})
        log = [
            (p, offset, at, value)
            for p in range(3)
            for offset, (at, value) in enumerate(r for r in before.get(p, []) + after[p] if r[1] is not None)
        ]
        builtins = [msgspec.to_builtins(epoch) for epoch in epochs]
        people = {key.decode(): orjson.loads(value) for key, value in registry(TOWN)}
        gate = screen(log, people, policy(), plan(TOWN), builtins, 10_000)
        parents = [[p["id"] for p in plan(TOWN)["parents"]].index(zone["parent"]) for zone in plan(TOWN)["zones"]]
        wanted = {key: +counts for key, counts in count(gate.sightings, builtins, parents, gate.until).panes.items()}
        found = await all_panes(settings, max(number for _, _, number in wanted), workers)
        assert found == wanted
        assert held_at < START + 31 * MINUTE < await last_pane(settings)
        await announced_first(settings)
        await workers.stop()
    finally:
        for process in workers.running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


async def announced_first(settings: Settings) -> None:
    """In each partition of `sightings` the control record that names a source stands before its first section."""
    assert await controls(settings) == [{2: (0, 1), 3: (0, 1, 2)}] * 2
    for partition in range(2):
        known: set[int] = set()
        for record in await read_topic(settings, SIGHTINGS):
            if record.partition == partition:
                frame = decode_frame(record.value)
                if isinstance(frame, Control):
                    known |= set(frame.sources)
                else:
                    assert {section.source for section in frame if section.source < REGISTRY_SOURCE} <= known
