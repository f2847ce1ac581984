"""Records that throng didn't write in the topics that its workers read whole, on a real broker."""

import asyncio
import json
import time
from pathlib import Path

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from schemas.ledger import LedgerRecord
from schemas.topics import ATTACH, AUDIT, EPOCHS, LEDGER, SALTS
from streams.core.release.release import seal
from streams.settings import Settings
from streams.simulate import make_town, plan
from streams.stores.topics import create
from tests.support import processes
from tests.support.deployment import Workers, fetch, read_topic, total
from tests.support.small import small

pytestmark = pytest.mark.integration

EVENT = {"event_id": "e", "imsi": "001010000000001", "cell": "001-01-0000001"}
TOPICS = (EPOCHS, SALTS, LEDGER)


async def throng(settings: Settings, *arguments: str) -> tuple[int, str]:
    """A command's exit code and what it says."""
    done = await processes.throng(settings, *arguments)
    return done.returncode, done.stderr + done.stdout


async def test_what_no_release_wrote_is_passed_over_by_workers_and_commands(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)))
    await create(settings)
    event = json.dumps(EVENT | {"ts": time.time_ns() // 10**6}).encode()
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for topic in TOPICS:
            for key, value in ((None, event), (b"", b""), (b"20260302", None), (b"key", b"\xff a trial")):
                await producer.send_and_wait(settings.topic(topic), value, key=key, partition=0)
        await producer.send_and_wait(settings.topic(ATTACH), event, partition=0)
    workers = Workers(settings, tmp_path)
    await asyncio.gather(workers.start("gateway"), workers.start("release"))
    try:
        async with asyncio.timeout(60):
            for name, topics in (("gateway", (EPOCHS, SALTS)), ("release", (EPOCHS, LEDGER))):
                while True:
                    assert workers.all_up(), workers.last_words(name)
                    try:
                        found = await asyncio.to_thread(fetch, workers.ports[name])
                    except OSError:  # not begun yet
                        found = ""
                    if total({name: found}, name, "throng_foreign_records") == dict.fromkeys(topics, 4):
                        break
                    await asyncio.sleep(0.3)
            while len(await read_topic(settings, EPOCHS)) == 4:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.3)
    finally:
        await workers.stop()
    for name in ("gateway", "release"):
        said = workers.last_words(name)
        assert f"{settings.topic(EPOCHS)}, partition 0, offset 0: passed over" in said
        assert said.count("passed over") == 2 and "a trial" not in said and EVENT["imsi"] not in said
    code, said = await throng(settings, "salts", "list", "--json")
    assert code == 0 and '"sealed"' in said
    code, said = await throng(settings, "topics", "trim-ledger", "--keep-days", "60", "--dry-run")
    assert code == 0 and "a release reads the last 4" in said


async def test_a_recorded_ledger_is_brought_without_them(stack: object, namespace: str, tmp_path: Path) -> None:
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)))
    other = msgspec.structs.replace(
        settings, kafka=msgspec.structs.replace(settings.kafka, namespace=f"{namespace}b", keep_forever=True)
    )
    await create(settings)
    await create(other)
    drawn = LedgerRecord(20260302, "present", 1, 0, 1, "void", b"", 0.0, b"", seal(()), 7, 0.0, "one")
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for value in (b"a trial", None, msgspec.msgpack.encode(drawn), json.dumps(EVENT).encode()):
            await producer.send_and_wait(settings.topic(LEDGER), value, key=b"key", partition=0)
    file = str(tmp_path / "ledger.parquet")
    code, said = await throng(settings, "record", LEDGER, file, "--contains-personal-data")
    assert code == 0, said
    code, said = await throng(other, "replay", file)
    assert code == 0, said
    found = [record.value for record in await read_topic(other, LEDGER)]
    assert [msgspec.msgpack.decode(value, type=LedgerRecord).number for value in found] == [1]


@pytest.mark.parametrize(
    ("topic", "record", "command"),
    [
        (EPOCHS, b'{"epoch": 20260302, "form": "secret"}', ("salts", "list")),
        (SALTS, msgspec.msgpack.encode({"epoch": "secret", "key_id": "1"}), ("salts", "list")),
        (
            LEDGER,
            msgspec.msgpack.encode({"epoch": "secret", "measure": "present"}),
            ("topics", "trim-ledger", "--keep-days", "60"),
        ),
    ],
)
async def test_what_may_be_another_releases_ends_readers_in_one_line(
    stack: object, namespace: str, tmp_path: Path, topic: str, record: bytes, command: tuple[str, ...]
) -> None:
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)))
    await create(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        await producer.send_and_wait(settings.topic(topic), record, partition=0)
    code, said = await throng(settings, *command)
    assert code == 1 and "secret" not in said
    (line,) = said.splitlines()
    assert line.startswith(f"throng: {settings.topic(topic)}, partition 0, offset 0: the record is not as this release")
    assert line.endswith("docs/how-to/outages.md#foreign-records")


async def test_at_the_end_of_the_audit_log_they_stop_all_until_somebody_knows_that_no_decision_is_missing(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)))
    await create(settings)
    code, said = await throng(settings, "policy", "apply")
    head = said.split()[-1]
    assert code == 0
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for value in (b"a trial", None, json.dumps(EVENT).encode()):
            await producer.send_and_wait(settings.topic(AUDIT), value, key=b"key", partition=0)
    workers = Workers(settings, tmp_path)
    await asyncio.gather(workers.start("gateway"), workers.start("release"))
    for name, process in workers.running.items():
        assert await asyncio.wait_for(process.wait(), 60) == 1
        said = workers.last_words(name)
        assert said.splitlines()[-1].startswith(
            f"throng: {settings.topic(AUDIT)}, partition 0, offset 1: the record is"
        )
        assert "Traceback" not in said and "trial" not in said and EVENT["imsi"] not in said
    assert (await throng(settings, "audit", "verify"))[0] == 1
    assert (await throng(settings, "audit", "pass-over", "--head", "0" * 64, "--reason", "a trial"))[0] == 1
    assert (await throng(settings, "audit", "pass-over", "--head", head, "--reason", "a trial"))[0] == 0
    code, said = await throng(settings, "audit", "verify")
    assert code == 0 and "2 entries, and 3 records that throng did not write" in said
    await workers.start("gateway")
    try:
        async with asyncio.timeout(60):
            while "audit entry 2: apply" not in workers.last_words("gateway"):
                assert workers.running["gateway"].returncode is None
                await asyncio.sleep(0.3)
    finally:
        assert await workers.end("gateway") == 0
