"""The whole job on a real Kafka and a real Redis, against the oracle: one worker, and three workers on eight
partitions.

A simulated town's hours with everything that can go wrong at raised rates go through `throng worker` processes;
then the exact panes, the rejects, the drops, Redis's sliding windows and the metrics must be what the oracle
computes from the same raw log, and nothing that leaves may hold an identifier.
"""

import asyncio
import json
import re
from collections import Counter
from pathlib import Path

import msgspec
import orjson
import pytest
from msgspec.structs import asdict, replace
from prometheus_client import Histogram
from redis.asyncio import Redis

from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.topics import FLOWS, REJECTS, RELEASED, SALTS, SIGHTINGS
from streams.core.crowd.snapshot import Header
from streams.core.gateway.pseudonyms import pseudonym
from streams.metrics_page import PARTS, exposed, metrics_of
from streams.simulate.people import imsis, msisdns
from streams.stores.keys import FileKeys
from streams.stores.log import TailReader
from streams.stores.salts import Vault
from streams.stores.snapshots import SnapshotStore
from tests.support.deployment import (
    HOURS,
    ONE,
    START,
    THREE,
    Run,
    Workers,
    World,
    deployment,
    make_world,
    read_topic,
    total,
)
from tests.support.scanner import Scanner, Secrets
from tests.support.windows import windows_in_redis_are_right
from tests.unit.test_schemas import validator

pytestmark = pytest.mark.integration


HOUR_MS = 3_600_000
# Series that begin with what happens seldom: an epoch's end, a pane without a release.
SELDOM = {"throng_gateway_keys_destroyed_total", "throng_release_voids_total"}
# The default ones, and all others that there are.
MEASURES = (
    *(replace(measure, share=measure.share * 0.75) for measure in DEFAULT_MEASURES),
    *(Measure(area, area, "zone", HOUR_MS, 16, 0.05) for area in ("home", "work")),
    *(Measure(times, times, "parent", HOUR_MS, 32, 0.05) for times in ("travel_times", "travel_times_by_pair")),
    Measure("passes", "passes", "parent", HOUR_MS, 48, 0.05),
)


@pytest.fixture(scope="module")
def world() -> World:
    """From 08:00 on: who comes from 09:00 on comes from a home that is known, or not."""
    return make_world(3000, HOURS, start=START + 2 * HOUR_MS)


@pytest.fixture(scope="module")
def afternoon() -> World:
    """From 15:30 on: places of work are known from 17:00 on, and no homes."""
    return make_world(3000, HOURS, start=START + 19 * HOUR_MS // 2)


@pytest.fixture
def measures(tmp_path: Path) -> dict[str, object]:
    """The setting that names a file of MEASURES."""
    tables = [
        "[[measure]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in asdict(each).items())
        for each in MEASURES
    ]
    (tmp_path / "measures.toml").write_text("".join(tables))
    return {"release.measures": str(tmp_path / "measures.toml")}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("workers", "partitions"), [ONE, THREE], ids=["one worker", "three workers"])
async def test_all_that_is_counted_equals_the_oracle_and_no_identifier_leaves(
    stack: object,
    namespace: str,
    world: World,
    measures: dict[str, object],
    tmp_path: Path,
    workers: dict[str, int],
    partitions: int,
) -> None:
    async with deployment(stack, namespace, world, tmp_path, workers, partitions, overrides=measures) as run:
        assert sum(sum(counts.values()) for counts in run.panes.values()) > 10_000
        assert run.panes == {name: +counts for name, counts in run.result.panes.items()}
        assert_areas(run, "home", known=True)
        await rejects_are_told(run)
        metrics_say_what_was_fed(run)
        await states_have_taken_each_row_once(run)
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
    stack: object, namespace: str, afternoon: World, measures: dict[str, object], tmp_path: Path
) -> None:
    snapshots_used = 0

    async def kill_each_twice(workers: Workers) -> None:
        for name in ("crowd-0", "gateway-0", "release-0", "crowd-0", "gateway-0", "crowd-0"):
            await asyncio.sleep(4)
            await workers.kill(name)
            await workers.start(name)

    roles = {"gateway": 1, "crowd": 1, "release": 1}
    # Three hours in half a minute: every kill falls among events that are still to come.
    async with deployment(
        stack, namespace, afternoon, tmp_path, roles, 4, 360.0, kill_each_twice, overrides=measures
    ) as run:
        assert run.panes == {name: +counts for name, counts in run.result.panes.items()}
        assert_areas(run, "home", known=False)
        assert_areas(run, "work", known=True)
        await rejects_are_told(run)
        await windows_in_redis_are_right(run)
        await released_records_keep_the_rules(run)
        log = (tmp_path / "crowd-0.log").read_text()
        snapshots_used = sum("goes on from offset" in line and "offset 0" not in line for line in log.splitlines())
    assert snapshots_used > 0


@pytest.mark.timeout(900)
async def test_partitions_that_stay_while_workers_come_and_go_go_on_from_memory_and_count_the_same(
    stack: object, namespace: str, world: World, tmp_path: Path
) -> None:
    async def come_and_go(workers: Workers) -> None:
        for name in ("crowd-1", "crowd-2", "crowd-1"):
            await joined(workers, name)
            assert await workers.end(name) == 0
            await asyncio.sleep(1)
        for name in ("crowd-1", "crowd-2"):
            await joined(workers, name)

    async def joined(workers: Workers, name: str) -> None:
        log = tmp_path / f"{name}.log"
        before = log.read_text().count("health: ready") if log.exists() else 0
        await workers.start(name)
        async with asyncio.timeout(180):
            while log.read_text().count("health: ready") <= before:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)

    roles = {"gateway": 1, "crowd": 1, "release": 1}
    async with deployment(stack, namespace, world, tmp_path, roles, 8, 300.0, come_and_go) as run:
        assert run.panes == {name: +counts for name, counts in run.result.panes.items()}
        await windows_in_redis_are_right(run)
    log = (tmp_path / "crowd-0.log").read_text()
    taken_up: dict[str, list[str]] = {}
    for partition, source in re.findall(r"partition (\d+) goes on from offset \d+, from (\w+)", log):
        taken_up.setdefault(partition, []).append(source)
    assignments = max(map(len, taken_up.values()))
    assert assignments >= 6
    stayed = [sources for sources in taken_up.values() if len(sources) == assignments]
    assert stayed
    assert all(source == "memory" for sources in stayed for source in sources[1:]), taken_up


def assert_areas(run: Run, name: str, known: bool) -> None:
    """Visitors were counted by home or work: of some the area is known, or of none."""
    areas = run.epochs[0].parents + 1  # the last: not known
    told = Counter[int]()
    for (_, measure, _), counts in run.panes.items():
        for key, number in counts.items() if measure == name else ():
            told[key % areas] += number
    assert told[areas - 1] > 0
    assert (told.total() - told[areas - 1] > 100) == known


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
    assert total(run.metrics, "crowd", "throng_crowd_panes_total").keys() == {
        str(partition) for partition in range(run.settings.kafka.partitions)
    }
    names = {line.split("{")[0].split(" ")[0] for text in run.metrics.values() for line in text.splitlines()}
    for part in PARTS.keys() - {"API"}:
        for metric in metrics_of(part):
            name = exposed(metric) + ("_count" if isinstance(metric, Histogram) else "")
            assert name in names | SELDOM, f"no worker has a series of {name}"
    # What is read again after a rebalance is work done again, so the crowds' counters may be ahead.
    assert sum(total(run.metrics, "crowd", "throng_crowd_sightings_total").values()) >= len(run.gate.sightings)


async def states_have_taken_each_row_once(run: Run) -> None:
    async with Redis.from_url(run.settings.redis.url) as redis, asyncio.timeout(30):
        store = SnapshotStore(redis, f"{run.settings.kafka.namespace}:")
        while await _taken(store, run.settings.kafka.partitions) != len(run.gate.sightings):  # noqa: ASYNC110
            await asyncio.sleep(0.5)  # the last snapshots come within seconds


async def _taken(store: SnapshotStore, partitions: int) -> int:
    taken = 0
    for partition in range(partitions):
        if (found := await store.read(partition)) is not None:
            taken += msgspec.msgpack.decode(found[1]["header"], type=Header).counters[0]
    return taken


async def released_records_keep_the_rules(run: Run) -> list[tuple[str, bytes]]:
    """Nothing below k has a number, repeats are identical, each is as its schema says, Redis comes to show what the
    topics say. Returns all bytes."""
    released, seen = await _released(run)
    assert any(b"estimate" in value for value in seen)
    shown = await _shown_in_redis(run)
    # The last pane may be in the ledger, which a run ends with, and in Redis before it was read in the topics.
    async with asyncio.timeout(30):
        while not {newest for _, newest in shown if newest is not None} <= seen:
            await asyncio.sleep(0.5)
            released, seen = await _released(run)
    return released + [("redis", blob) for blob, _ in shown]


async def _released(run: Run) -> tuple[list[tuple[str, bytes]], set[bytes]]:
    """All records of the released topics, and their values, each of which keeps the rules."""
    k = run.epochs[0].k
    told: dict = {}
    blobs = []
    for topic in RELEASED:
        schema = validator(topic)
        for record in await read_topic(run.settings, topic):
            said = orjson.loads(record.value)
            schema.validate(said)
            blobs.append((topic, record.key + b"\n" + record.value))
            fields = ("measure", "zone", "origin", "destination", "age_band", "gender", "bucket", "visit")
            fields += ("area", "unknown", "band", "end")
            name = tuple(said.get(field) for field in fields)
            assert told.setdefault(name, record.value) == record.value
            if "estimate" in said:
                assert said["estimate"] - 1.6448 * said["se"] >= k - 0.2
                assert not said.get("suppressed")
            elif topic != FLOWS:
                assert said["suppressed"] and "noisy" not in said
    return blobs, set(told.values())


async def _shown_in_redis(run: Run) -> list[tuple[bytes, bytes | None]]:
    """Of each released key in Redis all its bytes, and the newest record; of what is known of the places, which is no
    release, None."""
    found: list[tuple[bytes, bytes | None]] = []
    async with Redis.from_url(run.settings.redis.url) as redis:
        async for key in redis.scan_iter(f"{run.settings.kafka.namespace}:released:*"):
            if b":released:places:" in key:
                found.append((key + b"\n" + await redis.get(key), None))
                continue
            value = await redis.hget(key, "record")
            assert value is not None
            newest = value if b":footfall:" in key else orjson.dumps(orjson.loads(value)[-1])
            found.append((key + b"\n" + value, newest))
    assert any(newest is not None for _, newest in found)
    return found


async def secrets_of(run: Run, world: World) -> Secrets:
    numbers = [f"{imsi:015d}" for imsi in imsis(world.town).tolist()]
    reader = TailReader(run.settings.kafka.bootstrap, run.settings.topic(SALTS))
    await reader.start()
    vault = Vault(reader, None, "", FileKeys(run.folder / "keys" / run.settings.kafka.namespace))  # type: ignore[arg-type]
    salts = [await vault.ensure(epoch.epoch) for epoch in run.epochs]
    await reader.stop()
    names = frozenset(pseudonym(number.encode(), salt) for number in numbers for salt in salts)
    phones = frozenset(f"{number}" for number in msisdns(world.town).tolist())
    return Secrets(frozenset(numbers), phones, names, tuple(salts))
