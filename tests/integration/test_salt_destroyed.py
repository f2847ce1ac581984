"""A past epoch's salt on a real broker: kept while any source's commit is before its end, then gone for good.

Gone means: not in the memory of the gateway that used it, freed memory included; in no file of Redis or of the key
provider; and in Kafka's segments only sealed, by a key that is nowhere any more.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

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
from streams.settings import Settings, load_settings, to_environ
from streams.simulate import make_town, plan
from streams.stores.providers import key_provider
from streams.stores.redis_client import connect, redis_prefix
from streams.stores.snapshots import SnapshotStore
from streams.stores.topics import create
from tests.support.deployment import fetch, opened, read_topic, total
from tests.support.memory import files_below, forms_of, found_in, memory_of

pytestmark = pytest.mark.integration

IMSI = "001010000000001"
EVENING = 1_772_503_200_000 - 60_000  # a minute before 03:00 in Berlin
END = 1_772_506_800_000
EPOCH = 20260302


@pytest.mark.timeout(300)
async def test_a_salt_is_destroyed_once_the_last_source_has_committed_past_it(
    stack: Stack, namespace: str, tmp_path: Path
) -> None:
    zones = plan(make_town(1, 100, 20))
    homes = {zone["id"] for zone in zones["zones"] if zone["kind"] == "residential"}
    cell = next(cell["cell"] for cell in zones["cells"] if cell["zone"] in homes)
    (tmp_path / "plan.json").write_bytes(orjson.dumps(zones))
    settings = load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,
            "redis.url": stack.redis,
            "kafka.namespace": namespace,
            "kafka.keep_forever": True,
            "kafka.raw_partitions": 3,
            "kafka.partitions": 1,
            "gateway.plan": str(tmp_path / "plan.json"),
            "gateway.keys": str(tmp_path / "keys"),
            "gateway.align_ms": 3_600_000,
            "crowd.snapshot_ms": 500,
        },
        {},
    )
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


@asynccontextmanager
async def worker(role: str, settings: Settings, folder: Path) -> AsyncIterator[tuple[int, int]]:
    """A worker; its port and its process."""
    port = free_ports(1)[0]
    with (folder / f"{role}.log").open("ab") as log:
        running = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.cli.main", "worker", role),
            env=to_environ(settings) | {"THRONG_WORKER_HTTP_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield port, running.pid
    finally:
        running.terminate()
        assert await running.wait() == 0


async def kept_snapshot(settings: Settings) -> bytes:
    """The crowd's snapshot in Redis, unpacked, as soon as it holds somebody."""
    async with connect(settings) as redis, asyncio.timeout(60):
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
        async with asyncio.timeout(60):
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
    async with asyncio.timeout(90):
        while True:
            await asyncio.sleep(0.5)
            try:
                text = await asyncio.to_thread(fetch, port)
            except OSError:
                continue
            if total({"gateway": text}, "gateway", "throng_gateway_epochs_with_salt"):
                return


async def wrapped_salt(settings: Settings) -> WrappedSalt:
    found = [msgspec.msgpack.decode(r.value, type=WrappedSalt) for r in await read_topic(settings, SALTS)]
    return next(salt for salt in found if salt.epoch == EPOCH)


def opens(wrapped: WrappedSalt, key: bytes) -> bytes:
    bound = f"throng salt {wrapped.epoch} {wrapped.key_id}".encode()
    return AESGCM(key).decrypt(wrapped.nonce, wrapped.sealed, bound)
