"""An opt-out while all runs, on a real Kafka and Redis: through the log into the counts, as the oracle says."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaProducer

from schemas.panes import Pane
from schemas.sightings import OPT_IN, OPT_OUT, REGISTRY_SOURCE, Control, Section, decode_frame
from schemas.topics import ATTACH, PANES, REGISTRY, SIGHTINGS
from streams.errors import ThrongError
from streams.settings import Settings, load_settings
from streams.simulate import make_town, plan
from streams.stores.registry import RegistryLog
from streams.stores.topics import create
from tests.oracle.counting import Sighting, count
from tests.support.deployment import opened, read_topic
from tests.support.panes import summed
from tests.support.processes import Process, begin_worker, on_port
from tests.support.small import small

pytestmark = pytest.mark.integration

NOON = 1_772_449_200_000
MINUTE = 60_000
PEOPLE = [f"00101000000000{n}" for n in range(1, 4)]
GOES = PEOPLE[0]


class Deployment:
    """A gateway and a crowd at work, and what is sent to them by hand."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer, zones: dict) -> None:
        self.settings = settings
        self.producer = producer
        self.zones = [z["id"] for z in zones["zones"]]
        homes = {zone["id"] for zone in zones["zones"] if zone["kind"] == "residential"}
        self.cell, home = next((c["cell"], c["zone"]) for c in zones["cells"] if c["zone"] in homes)
        self.zone = self.zones.index(home)
        self.sent: list[Sighting] = []
        self.workers: dict[str, Process] = {}

    async def start(self, role: str, folder: Path) -> None:
        self.workers[role] = await begin_worker(role, self.settings, folder / f"{role}.log", on_port(0))

    async def stop(self, *roles: str) -> None:
        for role in roles:
            self.workers[role].terminate()
        assert {await self.workers[role].wait() for role in roles} == {0}

    async def event(self, imsi: str, minute: float) -> None:
        at = NOON + round(minute * MINUTE)
        event = {"event_id": "e", "imsi": imsi, "ts": at, "cell": self.cell}
        await self._raw(orjson.dumps(event), at)
        self.sent.append(Sighting(at, 0, len(self.sent), 0, imsi, self.zone, 0, 0))

    async def reach(self, minute: int) -> None:
        """The raw log is complete up to there."""
        for partition in (0, 1):
            at = NOON + minute * MINUTE + 10_000
            await self._raw(orjson.dumps({"kind": "beat", "source": "s", "ts": at}), at, partition)

    async def register(self, imsi: str, minute: float, **changed: object) -> None:
        at = NOON + round(minute * MINUTE)
        person = {"imsi": imsi, "birth_year": 1980, "consent": {"marketing": "granted"}} | changed
        value = orjson.dumps(person)
        await self.producer.send_and_wait(
            self.settings.topic(REGISTRY), value, key=imsi.encode(), timestamp_ms=at, partition=3
        )

    async def _raw(self, value: bytes, at: int, partition: int = 0) -> None:
        await self.producer.send_and_wait(self.settings.topic(ATTACH), value, partition=partition, timestamp_ms=at)

    async def sections(self, partition: int | None = None) -> list[Section]:
        records = [r for r in await read_topic(self.settings, SIGHTINGS) if partition in (None, r.partition)]
        frames = [decode_frame(record.value) for record in records]
        return [section for frame in frames if not isinstance(frame, Control) for section in frame]

    async def rows(self, kind: int) -> list[tuple[int, int]]:
        """Wait until rows of a kind are in `sightings`: (source, ms)."""
        async with asyncio.timeout(180):
            while True:
                found = [(s.source, int(ts)) for s in await self.sections() for ts in s.ts[s.kind == kind]]
                if found:
                    return found
                await asyncio.sleep(0.2)

    async def panes(self, last: int) -> dict:
        """Wait for all partitions' panes up to the one that ends `last` minutes after noon."""
        async with asyncio.timeout(90):
            while True:
                records = await read_topic(self.settings, PANES)
                found = [msgspec.msgpack.decode(record.value, type=Pane) for record in records]
                if sum(pane.end_ms == NOON + last * MINUTE for pane in found) == self.settings.kafka.partitions:
                    return summed(found)
                await asyncio.sleep(0.5)


@asynccontextmanager
async def deployment(stack: object, namespace: str, folder: Path) -> AsyncIterator[Deployment]:
    zones = plan(make_town(1, 100, 20))
    others = {
        "kafka.keep_forever": True,
        "kafka.raw_partitions": 2,
        "kafka.partitions": 3,
        "gateway.align_ms": 3_600_000,
    }
    settings = small(stack, namespace, folder, zones, **others)
    await create(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        running = Deployment(settings, producer, zones)
        for role in ("gateway", "crowd"):
            await running.start(role, folder)
        try:
            yield running
        finally:
            await running.stop("gateway", "crowd")


async def test_who_opts_out_is_out_of_all_counts_from_the_next_pane_on(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    async with deployment(stack, namespace, tmp_path) as running:
        for imsi in PEOPLE:
            await running.register(imsi, -120)
        # The gateway goes by a registry record within seconds; an event before that would be dropped as unknown.
        await asyncio.sleep(5)
        for n, imsi in enumerate(PEOPLE):
            await running.event(imsi, 1 + n / 100)
        await running.reach(6)
        await running.panes(5)
        await running.register(GOES, 7, opted_out=True)
        out = await running.rows(OPT_OUT)
        await running.stop("gateway")
        await running.start("gateway", tmp_path)
        for imsi in PEOPLE[1:]:
            await running.event(imsi, 8)
        await running.reach(16)
        await running.panes(15)
        await running.register(GOES, 17)
        back = await running.rows(OPT_IN)
        await asyncio.sleep(5)
        await running.event(GOES, 18)
        await running.reach(21)
        panes = await running.panes(20)
        epochs = [msgspec.to_builtins(epoch) for epoch in await opened(running.settings)]
        source = REGISTRY_SOURCE + 3
        chain = [(s.from_, s.to) for s in await running.sections(0) if s.source == source]
    # The restarted gateway went on from the commit, which stands beside the raw ones in the same group.
    assert chain[0][0] == 0 and chain[-1][1] == 5
    assert all(before[1] == after[0] for before, after in itertools.pairwise(chain))
    assert (set(out), set(back)) == ({(source, NOON + 7 * MINUTE)}, {(source, NOON + 17 * MINUTE)})
    rows = [
        Sighting(NOON + minute * MINUTE, source, minute, 0, GOES, 0, 0, kind)
        for minute, kind in ((7, OPT_OUT), (17, OPT_IN))
    ]
    parents = [0] * len(running.zones)
    expected = count([*running.sent, *rows], epochs, parents, NOON + 20 * MINUTE)
    first = (NOON - epochs[0]["start_ms"]) // (5 * MINUTE)
    present = [sum(panes[epochs[0]["epoch"], "present", first + n].values()) for n in (1, 2, 3, 4)]
    assert present == [3, 2, 2, 3]
    for name, counts in expected.panes.items():
        if name[1] in ("present", "arrivals"):
            assert panes[name] == +counts, name
    logs = b"".join(path.read_bytes() for path in tmp_path.glob("*.log"))  # noqa: ASYNC240
    assert not any(imsi.encode() in logs for imsi in PEOPLE)


async def test_a_registry_without_the_committed_offset_ends_the_worker(stack: object, namespace: str) -> None:
    settings = load_settings(
        None,
        {"kafka.bootstrap": stack.kafka, "redis.url": stack.redis, "kafka.namespace": namespace},  # type: ignore[attr-defined]
        {},
    )
    await create(settings)
    log = RegistryLog(settings.kafka.bootstrap, settings.topic("registry"))
    await log.start()
    try:
        assert await log.place({0: 0}, NOON) == {0: (0, 0)}
        with pytest.raises(ThrongError, match="the topic was cut or made anew"):
            await log.place({1: 7}, NOON)
    finally:
        await log.stop()
