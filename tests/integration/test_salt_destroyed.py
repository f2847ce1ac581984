"""A past epoch's salt on a real broker: kept while any source's commit is before its end, then gone for good.

Gone means: not in the memory of the gateway that used it, freed memory included; in no file of Redis or of the key
provider; and in Kafka's segments only sealed, by a key that is nowhere any more.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import msgspec
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from redis.asyncio import Redis

from schemas.salts import WrappedSalt
from schemas.sightings import Control, decode_frame
from schemas.topics import ATTACH, REGISTRY, REJECTS, SALTS, SIGHTINGS
from streams.local.ports import free_ports
from streams.local.stack import Stack
from streams.settings import Settings, load_settings
from streams.simulate import make_town, plan
from streams.stores.audit import decide
from streams.stores.policies import configured_rules
from streams.stores.providers import key_provider
from streams.stores.redis_client import connect, redis_prefix
from streams.stores.snapshots import SnapshotStore
from streams.stores.topics import create
from tests.chaos.run import find_faketime
from tests.support.deployment import fetch, opened, read_topic, total
from tests.support.memory import files_below, forms_of, found_in, leaves_core, memory_of
from tests.support.processes import begin_worker, exec_worker, on_port, throng

pytestmark = pytest.mark.integration

IMSI = "001010000000001"
EVENING = 1_772_503_200_000 - 60_000  # a minute before 03:00 in Berlin
END = 1_772_506_800_000
EPOCH = 20260302


@pytest.mark.timeout(600)
async def test_a_salt_is_destroyed_once_the_last_source_has_committed_past_it(
    stack: Stack, namespace: str, tmp_path: Path
) -> None:
    own = {"kafka.keep_forever": True, "kafka.raw_partitions": 3, "gateway.align_ms": 3_600_000}
    settings, cell = deployed(stack, namespace, tmp_path, own)
    await create(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:

        async def send(partition: int, at_ms: int) -> None:
            event = {"event_id": "e", "imsi": IMSI, "ts": at_ms, "cell": cell}
            await producer.send_and_wait(
                settings.topic(ATTACH), json.dumps(event).encode(), partition=partition, timestamp_ms=at_ms
            )

        person = {"imsi": IMSI, "birth_year": 1980, "consent": {"marketing": "granted"}}
        await producer.send_and_wait(
            settings.topic(REGISTRY), orjson.dumps(person), key=IMSI.encode(), partition=0, timestamp_ms=EVENING
        )
        for partition in range(3):
            await send(partition, EVENING)
        async with worker("gateway", settings, tmp_path), worker("crowd", settings, tmp_path):
            for partition in (0, 1):
                await send(partition, END + 25_000)
            await until(settings, lambda rows: rows >= 5)
            snapshot = await kept_snapshot(settings)
        (first, *_) = await opened(settings)
        assert (first.epoch, first.end_ms) == (EPOCH, END)
        key = tmp_path / "keys" / namespace / f"{EPOCH}.key"
        wrapped = await wrapped_salt(settings)
        secret = key.read_bytes()
        salt = opens(wrapped, secret)
        assert len(salt) == 32
        secrets = forms_of(salt, secret)
        async with worker("gateway", settings, tmp_path) as (port, process):
            # It has looked, with two sources past the epoch and one before its end.
            await looked(port)
            assert key.read_bytes() == secret
            await send(2, EVENING + 1000)
            await until(settings, lambda rows: rows >= 6)
            assert found_in(memory_of(process), secrets) == {"state"}
            assert not leaves_core(process)
            await send(2, END + 25_000)
            async with asyncio.timeout(90):
                while key.exists():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.5)
            await until(settings, lambda rows: rows >= 7)
            assert found_in(memory_of(process), secrets) == set()
        assert (await wrapped_salt(settings)).sealed == wrapped.sealed
        left = [path.read_bytes() for path in (tmp_path / "keys" / namespace).iterdir()]
        assert secret not in b"".join(left)
        for candidate in left:
            if len(candidate) == 32:
                with pytest.raises(InvalidTag):
                    opens(wrapped, candidate)
        segments = files_below(stack.folder / "data" / "kafka", namespace)
        assert found_in(segments, secrets | {"sealed": wrapped.sealed}) == {"sealed"}
        assert key_provider(settings).open(wrapped) is None
        redis = await redis_files(stack)
        assert found_in([*redis, snapshot], secrets) == set()
        assert found_in(redis, {"a snapshot": f"{namespace}:{{p0}}:snapshot".encode()})
        async with worker("gateway", settings, tmp_path) as (port, _):
            await looked(port)
            await send(0, END + 30_000)
            await until(settings, lambda rows: rows >= 8)
    assert await read_topic(settings, REJECTS) == []
    logs = (tmp_path / "gateway.log").read_text()
    assert logs.count(f"the key of epoch {EPOCH} is destroyed: every source's commit is past the epoch") == 1
    assert IMSI not in logs and secret.hex() not in logs


@pytest.mark.timeout(600)
async def test_a_rotation_ends_a_running_epochs_salt_in_every_gateway_and_stands_in_the_audit_log(
    stack: Stack, namespace: str, tmp_path: Path
) -> None:
    settings, cell = deployed(stack, namespace, tmp_path, {"kafka.raw_partitions": 1})
    await create(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:

        async def send() -> None:
            event = {"event_id": "e", "imsi": IMSI, "ts": round(time.time() * 1000), "cell": cell}
            await producer.send_and_wait(settings.topic(ATTACH), json.dumps(event).encode(), partition=0)

        person = {"imsi": IMSI, "birth_year": 1980, "consent": {"marketing": "granted"}}
        await producer.send_and_wait(settings.topic(REGISTRY), orjson.dumps(person), key=IMSI.encode(), partition=0)
        async with worker("gateway", settings, tmp_path) as (_, process):
            await send()
            await until(settings, lambda rows: rows >= 1)
            key = tmp_path / "keys" / namespace / f"{(await opened(settings))[0].epoch}.key"
            wrapped = msgspec.msgpack.decode((await read_topic(settings, SALTS))[0].value, type=WrappedSalt)
            secrets = forms_of(opens(wrapped, key.read_bytes()), key.read_bytes())
            assert found_in(memory_of(process), secrets) == {"state"}
            said = await said_by(
                settings, "salts", "rotate", "--now", "--yes", "--reason", "a drill", "--by", "the officer"
            )
            assert "is destroyed\na fresh salt holds from " in said and not key.exists()
            async with asyncio.timeout(180):
                while not (rejects := await read_topic(settings, REJECTS)):
                    await send()
                    await asyncio.sleep(1)
            assert dict(rejects[0].headers)["reason"] == b"salt_gone"
            assert found_in(memory_of(process), secrets) == set()
        assert f"the officer: rotate: the salt of epoch {wrapped.epoch}: a drill" in await said_by(
            settings, "audit", "show"
        )
        assert "is whole: 2 entries" in await said_by(settings, "audit", "verify")


@pytest.mark.timeout(600)
async def test_from_the_time_that_a_rotation_names_a_gateway_counts_under_a_fresh_salt(
    stack: Stack, namespace: str, tmp_path: Path
) -> None:
    settings, cell = deployed(stack, namespace, tmp_path, {"kafka.raw_partitions": 1})
    await create(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:

        async def send() -> None:
            event = {"event_id": "e", "imsi": IMSI, "ts": round(time.time() * 1000), "cell": cell}
            await producer.send_and_wait(settings.topic(ATTACH), json.dumps(event).encode(), partition=0)

        person = {"imsi": IMSI, "birth_year": 1980, "consent": {"marketing": "granted"}}
        await producer.send_and_wait(settings.topic(REGISTRY), orjson.dumps(person), key=IMSI.encode(), partition=0)
        async with worker("gateway", settings, tmp_path):
            await send()
            await until(settings, lambda rows: rows >= 1)
            first = (await opened(settings))[0].epoch
            from_ms = round(time.time() * 1000) + 20_000
            await decide(
                settings,
                lambda rules: ("rotate", "", "a drill", rules),
                "the officer",
                lambda: configured_rules(settings),
                from_ms,
            )
            key_provider(settings).destroy(first)
            while time.time() * 1000 < from_ms + 3000:
                await send()
                await asyncio.sleep(1)
            await until(settings, lambda rows: rows >= 4)
        # One that begins anew holds to it too, and destroys nothing though its clock is days past the deadline.
        fast = ahead("+60h")
        async with worker("gateway", settings, tmp_path, fast) as (port, _):
            before = len(await people(settings))
            await send()
            await until(settings, lambda rows: rows > before)
            await looked(port)
            if fast:
                await reached(port, "throng_gateway_clock_apart_seconds", 59 * 3600)
        assert key_provider(settings).holds(first + 32)
    salts = [msgspec.msgpack.decode(r.value, type=WrappedSalt).epoch for r in await read_topic(settings, SALTS)]
    assert first in salts and first + 32 in salts
    found = await people(settings)
    assert len({who for ts, who in found if ts < from_ms}) == 1
    assert len({who for ts, who in found if ts >= from_ms}) == 1
    assert len({who for _, who in found}) == 2
    assert {dict(record.headers)["reason"] for record in await read_topic(settings, REJECTS)} == {b"salt_gone"}


async def people(settings: Settings) -> list[tuple[int, int]]:
    """The (time, pseudonym) of each sighting of raw sources."""
    frames = [decode_frame(record.value) for record in await read_topic(settings, SIGHTINGS)]
    sections = [s for frame in frames if not isinstance(frame, Control) for s in frame if s.source < 3]
    return [row for section in sections for row in zip(section.ts.tolist(), section.pseudonym.tolist(), strict=True)]


async def said_by(settings: Settings, *arguments: str) -> str:
    """What a command says that ends well."""
    done = await throng(settings, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def deployed(stack: Stack, namespace: str, folder: Path, more: Mapping[str, object]) -> tuple[Settings, int]:
    """The settings of a deployment, and a cell where people live."""
    zones = plan(make_town(1, 100, 20))
    homes = {zone["id"] for zone in zones["zones"] if zone["kind"] == "residential"}
    cell = next(cell["cell"] for cell in zones["cells"] if cell["zone"] in homes)
    (folder / "plan.json").write_bytes(orjson.dumps(zones))
    chosen = {
        "kafka.bootstrap": stack.kafka,
        "redis.url": stack.redis,
        "kafka.namespace": namespace,
        "kafka.partitions": 1,
        "gateway.plan": str(folder / "plan.json"),
        "gateway.keys": str(folder / "keys"),
        "crowd.snapshot_ms": 500,
    }
    return load_settings(None, chosen | more, {}), cell


@asynccontextmanager
async def worker(
    role: str, settings: Settings, folder: Path, environ: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[tuple[int, int]]:
    """A worker; its port and its process."""
    port = free_ports(1)[0]
    begin = exec_worker if "LD_PRELOAD" in environ else begin_worker
    running = await begin(role, settings, folder / f"{role}.log", on_port(port) | environ)
    try:
        yield port, running.pid
    finally:
        running.terminate()
        assert await running.wait() == 0


async def kept_snapshot(settings: Settings) -> bytes:
    """The crowd's snapshot in Redis, unpacked, as soon as it holds somebody."""
    async with connect(settings) as redis, asyncio.timeout(180):
        store = SnapshotStore(redis, redis_prefix(settings))
        while True:
            found = await store.read(0)
            if found is not None:
                return b"".join(found[1].values())
            await asyncio.sleep(0.5)


async def redis_files(stack: Stack) -> list[bytes]:
    """Redis's append-only files, and a dump."""
    folder = stack.folder / "data" / "redis"
    async with Redis.from_url(stack.redis) as redis:
        await redis.bgsave()
        async with asyncio.timeout(180):
            while not (folder / "dump.rdb").exists() or (await redis.info())["rdb_bgsave_in_progress"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    assert any(path.name.endswith(".aof") for path in folder.rglob("*"))
    return files_below(folder)


async def until(settings: Settings, enough) -> None:  # type: ignore[no-untyped-def]
    """Wait for that many sightings of raw sources."""
    async with asyncio.timeout(90):
        while True:
            frames = [decode_frame(record.value) for record in await read_topic(settings, SIGHTINGS)]
            sections = [s for frame in frames if not isinstance(frame, Control) for s in frame if s.source < 3]
            if enough(sum(len(section.ts) for section in sections)):
                return
            await asyncio.sleep(0.5)


async def looked(port: int) -> None:
    """Wait until the worker has decided which salts it still needs."""
    await reached(port, "throng_gateway_epochs_with_salt", 1)


async def reached(port: int, metric: str, least: float) -> None:
    """Wait until a metric of the gateway is so much."""
    async with asyncio.timeout(90):
        while True:
            await asyncio.sleep(0.5)
            try:
                text = await asyncio.to_thread(fetch, port)
            except OSError:
                continue
            if sum(total({"gateway": text}, "gateway", metric).values()) >= least:
                return


def ahead(by: str) -> dict[str, str]:
    """The environment in which a process's clock is ahead, but its monotonic one right; none without libfaketime."""
    library = find_faketime()
    same = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    return {} if library is None else {"LD_PRELOAD": str(library), "FAKETIME": by, **same}


async def wrapped_salt(settings: Settings) -> WrappedSalt:
    found = [msgspec.msgpack.decode(r.value, type=WrappedSalt) for r in await read_topic(settings, SALTS)]
    return next(salt for salt in found if salt.epoch == EPOCH)


def opens(wrapped: WrappedSalt, key: bytes) -> bytes:
    bound = f"throng salt {wrapped.epoch} {wrapped.key_id}".encode()
    return AESGCM(key).decrypt(wrapped.nonce, wrapped.sealed, bound)
