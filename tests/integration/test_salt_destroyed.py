"""A past epoch's salt on a real broker: kept while any source's commit is before its end, then gone for good."""

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

from schemas.salts import WrappedSalt
from schemas.sightings import Control, decode_frame
from schemas.topics import ATTACH, REGISTRY, REJECTS, SALTS, SIGHTINGS
from streams.local.ports import free_ports
from streams.settings import Settings, load_settings, to_environ
from streams.simulate import make_town, plan
from streams.stores.topics import create
from tests.support.deployment import fetch, opened, read_topic, total

pytestmark = pytest.mark.integration

IMSI = "001010000000001"
EVENING = 1_772_503_200_000 - 60_000  # a minute before 03:00 in Berlin
END = 1_772_506_800_000
EPOCH = 20260302


async def test_a_salt_is_destroyed_once_the_last_source_has_committed_past_it(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    zones = plan(make_town(1, 100, 20))
    homes = {zone["id"] for zone in zones["zones"] if zone["kind"] == "residential"}
    cell = next(cell["cell"] for cell in zones["cells"] if cell["zone"] in homes)
    (tmp_path / "plan.json").write_bytes(orjson.dumps(zones))
    settings = load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,  # type: ignore[attr-defined]
            "redis.url": stack.redis,  # type: ignore[attr-defined]
            "kafka.namespace": namespace,
            "kafka.keep_forever": True,
            "kafka.raw_partitions": 3,
            "kafka.partitions": 1,
            "gateway.plan": str(tmp_path / "plan.json"),
            "gateway.keys": str(tmp_path / "keys"),
            "gateway.align_ms": 3_600_000,
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
        async with gateway(settings, tmp_path):
            for partition in (0, 1):
                await send(partition, END + 25_000)
            await until(settings, lambda rows: rows >= 5)
        (first, *_) = await opened(settings)
        assert (first.epoch, first.end_ms) == (EPOCH, END)
        key = tmp_path / "keys" / namespace / f"{EPOCH}.key"
        wrapped = await wrapped_salt(settings)
        secret = key.read_bytes()
        assert len(opens(wrapped, secret)) == 32
        async with gateway(settings, tmp_path) as port:
            # It has looked, with two sources past the epoch and one before its end.
            await looked(port)
            assert key.read_bytes() == secret
            await send(2, END + 25_000)
            async with asyncio.timeout(90):
                while key.exists():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.5)
        assert (await wrapped_salt(settings)).sealed == wrapped.sealed
        left = [path.read_bytes() for path in (tmp_path / "keys" / namespace).iterdir()]
        assert secret not in b"".join(left)
        for candidate in left:
            if len(candidate) == 32:
                with pytest.raises(InvalidTag):
                    opens(wrapped, candidate)
        async with gateway(settings, tmp_path) as port:
            await looked(port)
            await send(0, END + 30_000)
            await until(settings, lambda rows: rows >= 7)
    assert await read_topic(settings, REJECTS) == []
    logs = (tmp_path / "gateway.log").read_text()
    assert logs.count(f"the key of epoch {EPOCH} is destroyed: every source's commit is past the epoch") == 1
    assert IMSI not in logs and secret.hex() not in logs


@asynccontextmanager
async def gateway(settings: Settings, folder: Path) -> AsyncIterator[int]:
    port = free_ports(1)[0]
    with (folder / "gateway.log").open("ab") as log:
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.cli.main", "worker", "gateway"),
            env=to_environ(settings) | {"THRONG_WORKER_HTTP_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield port
    finally:
        worker.terminate()
        assert await worker.wait() == 0


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
