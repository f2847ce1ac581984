"""Replays on a real Kafka: no second noise where a ledger holds the release, turns, parts, other topics, and a diff."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from msgspec.structs import replace

from schemas.ledger import LedgerRecord
from schemas.panes import Pane
from schemas.sightings import REGISTRY_SOURCE, Control, decode_frame
from schemas.topics import ATTACH, LEDGER, PANES, REGISTRY, RELEASED, SIGHTINGS
from streams.recording.file import Reader, Writer
from streams.settings import Settings
from streams.stores.admin import open_admin
from streams.stores.topics import create
from tests.support.deployment import Workers, caught_up, read_topic
from tests.support.panes import summed
from tests.support.processes import throng
from tests.support.recordings import START, fill, record, settings_for

pytestmark = pytest.mark.integration

MINUTE = 60_000


@asynccontextmanager
async def running(settings: Settings, folder: Path, *names: str) -> AsyncIterator[Workers]:
    await create(settings)
    workers = Workers(settings, folder)
    try:
        for name in names:
            await workers.start(name)
        yield workers
        await workers.stop()
    finally:
        for process in workers.running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()


async def replay(settings: Settings, *arguments: str) -> dict:
    said = await throng(settings, "replay", *arguments, "--json")
    assert said.returncode == 0, said.stderr
    return orjson.loads(said.stdout.splitlines()[-1])


async def values(settings: Settings, topic: str) -> list[bytes]:
    return [record.value for record in await read_topic(settings, topic)]


async def all_released(settings: Settings) -> None:
    panes = [msgspec.msgpack.decode(value, type=Pane) for value in await values(settings, PANES)]
    await caught_up(settings, summed(panes))


async def ledger(settings: Settings) -> list[LedgerRecord]:
    """As it is, but for where the deployment's own `panes` stood."""
    records = [msgspec.msgpack.decode(value, type=LedgerRecord) for value in await values(settings, LEDGER)]
    return [replace(record, panes_offset=0) for record in records]


async def published(settings: Settings) -> set[bytes]:
    return {value for topic in RELEASED for value in await values(settings, topic)}


async def handled(settings: Settings) -> None:
    """Wait until the gateway has covered all raw records."""
    ends = Counter(record.partition for record in await read_topic(settings, ATTACH))
    async with asyncio.timeout(180):
        while True:
            frames = [decode_frame(r.value) for r in await read_topic(settings, SIGHTINGS) if r.partition == 0]
            sections = [section for frame in frames if not isinstance(frame, Control) for section in frame]
            if {s.source: s.to for s in sections if s.source < REGISTRY_SOURCE} == ends:
                return
            await asyncio.sleep(0.5)


async def test_a_replay_spends_no_second_privacy_budget(stack: object, namespace: str, tmp_path: Path) -> None:
    source = settings_for(stack, namespace, tmp_path)
    await fill(source, events_a_record=7)
    events, with_ledger = tmp_path / "events.parquet", tmp_path / "ledger.parquet"
    await record(source, events)

    first = settings_for(stack, f"{namespace}a", tmp_path)
    async with running(first, tmp_path, "gateway-0", "crowd-0", "release-0"):
        counted = await replay(first, str(events))
        await all_released(first)
        drawn, told = await ledger(first), await published(first)
        assert len(drawn) > 30 and len(told) > 300
        said = await throng(first, "record", ATTACH, REGISTRY, LEDGER, str(with_ledger), "--contains-personal-data")
        assert said.returncode == 0, said.stderr

        # Into the same deployment: all of it is late, the panes are what they were.
        panes = await values(first, PANES)
        assert await replay(first, str(events)) == counted
        await handled(first)
        assert await values(first, PANES) == panes
        assert await ledger(first) == drawn
        assert await published(first) == told

    # Where days begin at another hour, the ledger's panes are not the same ones: nothing of it is played.
    elsewhere = settings_for(stack, f"{namespace}c", tmp_path, **{"epoch.timezone": "UTC"})
    await create(elsewhere)
    said = await throng(elsewhere, "replay", str(with_ledger))
    assert said.returncode == 1 and "begins at 2026-03-02T03:00:00Z, this deployment's 20260302 at" in said.stderr
    assert not await values(elsewhere, LEDGER) and not await values(elsewhere, ATTACH)

    # Into a new one, of other partitions: the ledger that comes along is the release there.
    other = settings_for(stack, f"{namespace}b", tmp_path, **{"kafka.partitions": 6})
    async with running(other, tmp_path, "gateway-1", "crowd-1", "release-1") as workers:
        assert await replay(other, str(with_ledger)) == counted
        async with asyncio.timeout(180):
            while await published(other) != told:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.5)
        assert await ledger(other) == drawn
        # A release that begins after the ledger does is no different.
        await workers.kill("release-1")
        await workers.start("release-1")
        await asyncio.sleep(8)
        assert workers.all_up()
        assert await ledger(other) == drawn
        assert await published(other) == told


async def test_into_another_topic_partitions_times_keys_and_headers_stay(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = settings_for(stack, namespace, tmp_path)
    await fill(settings, events_a_record=50)
    headers = [("reason", b"x"), ("empty", None)]
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        await producer.send_and_wait(settings.topic(ATTACH), b"odd", b"k", 1, START, headers)
        await producer.send_and_wait(settings.topic(ATTACH), None, b"", 2, START)
    path = tmp_path / "whole.parquet"
    await record(settings, path)
    admin = await open_admin(settings)
    try:
        config = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}
        await admin.create_topics([NewTopic(settings.topic("copy"), 3, 1, topic_configs=config)])
    finally:
        await admin.close()
    said = await throng(settings, "replay", str(path), "--only", ATTACH, "--topic", f"{ATTACH}=copy")
    assert said.returncode == 0, said.stderr
    was, now = [
        {(r.partition, r.offset): (r.timestamp, r.key, r.value, r.headers) for r in await read_topic(settings, name)}
        for name in (ATTACH, "copy")
    ]
    assert now == was
    assert orjson.loads(said.stdout) == {"records": len(was)}


async def test_turns_and_parts_count_as_embedded_and_a_diff_names_the_sighting(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    source = settings_for(stack, namespace, tmp_path)
    await fill(source)
    whole = tmp_path / "whole.parquet"
    await record(source, whole)
    part = ["--from", "2026-03-02T06:45:00+01:00", "--to", "2026-03-02T07:30:00+01:00", "--turns", "2"]
    also = ["--sightings", "--contains-personal-data"]
    embedded = await replay(source, str(whole), "--embedded", *part)
    assert embedded["panes"] > 18
    assert embedded.pop("rejects") and embedded.pop("drops")  # of a run into Kafka the gateways tell
    target = settings_for(stack, f"{namespace}c", tmp_path)
    out = tmp_path / "deployed.parquet"
    async with running(target, tmp_path, "gateway-0", "crowd-0", "crowd-1"):
        assert await replay(target, str(whole), *part, "--out", str(out), *also) == embedded

    planted = _lonely(pq.read_table(out.with_suffix(".sightings.parquet")).to_pylist())
    less = _without(whole, planted, tmp_path / "less.parquet")
    await replay(source, str(less), "--embedded", *part, "--out", str(tmp_path / "run.parquet"), *also)
    said = await throng(source, "diff", str(out), str(tmp_path / "run.parquet"))
    assert said.returncode == 1
    assert said.stdout.count("only in ") == 1
    assert f"only in deployed: {planted['ts']:%H:%M:%S}" in said.stdout


def _lonely(rows: list[dict]) -> dict:
    """Somebody's first sighting, with none after it for ten minutes, in the first turn."""
    before = [{"subscriber": ""}, *rows]
    return next(
        row
        for last, row, after in zip(before, rows, rows[1:], strict=False)
        if last["subscriber"] != row["subscriber"] == after["subscriber"]
        and (after["ts"] - row["ts"]).total_seconds() > 600
        and row["ts"].timestamp() * 1000 < START + 50 * MINUTE
        and row["kind"] != "detach"
    )


def _without(recording: Path, row: dict, path: Path) -> Path:
    """The recording without the record of a sighting."""
    reader, at, dropped = Reader(recording), round(row["ts"].timestamp() * 1000), 0
    with Writer(path, reader.about.topics) as writer:
        for topic in reader.about.topics:
            for table in reader.topic(topic):
                kept = [topic != ATTACH or b"%d" % at not in (value or b"") for value in table["value"].to_pylist()]
                dropped += kept.count(False)
                writer.write(topic, table["partition"][0].as_py(), table.filter(pa.array(kept)))
    assert dropped == 1
    return path
