"""`throng simulate` into a real Kafka: the same records as in a recording, at the same partitions and times."""

import asyncio
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from click.testing import CliRunner

from streams.cli.simulate import simulate
from streams.errors import ThrongError
from streams.local.stack import Stack
from streams.recording.file import Reader, times_of
from streams.simulate import make_town, registry

pytestmark = pytest.mark.integration

RUN = ["--subscribers", "2000", "--start", "2026-03-02T08:00+01:00", "--hours", "0.25", "--rates", "malformed=0.02"]


def recorded(path: Path) -> dict[int, list[tuple[int, bytes | None]]]:
    found: dict[int, list[tuple[int, bytes | None]]] = {0: [], 1: [], 2: []}
    for table in Reader(path).topic("attach"):
        rows = zip(table["partition"].to_pylist(), times_of(table).tolist(), table["value"].to_pylist(), strict=True)
        for partition, at, value in rows:
            found[partition].append((at, value))
    return found


async def make_topics(bootstrap: str, namespace: str, stamps: str = "CreateTime") -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    keep = {"retention.ms": "-1", "message.timestamp.type": stamps}
    names = (("attach", 3, keep), ("registry", 4, {"cleanup.policy": "compact"}))
    await admin.create_topics([NewTopic(f"{namespace}.{n}", p, 1, topic_configs=c) for n, p, c in names])
    await admin.close()


async def read_all(bootstrap: str, topic: str) -> dict[int, list[tuple[int, bytes | None, bytes | None]]]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    ends = await consumer.end_offsets(consumer.assignment())
    got: dict[int, list[tuple[int, bytes | None, bytes | None]]] = {p.partition: [] for p in ends}
    while any(len(got[p.partition]) < end for p, end in ends.items()):
        for part, records in (await consumer.getmany(timeout_ms=1000)).items():
            got[part.partition] += [(r.timestamp, r.key, r.value) for r in records]
    await consumer.stop()
    return got


def test_kafka_holds_what_a_recording_of_the_same_run_holds(stack: Stack, namespace: str, tmp_path: Path) -> None:
    asyncio.run(make_topics(stack.kafka, namespace))
    to_kafka = CliRunner().invoke(
        simulate, [*RUN, "--kafka", stack.kafka, "--namespace", namespace], catch_exceptions=False
    )
    path = tmp_path / "run.parquet"
    to_file = CliRunner().invoke(simulate, [*RUN, "--to-file", str(path), "--partitions", "3"], catch_exceptions=False)
    assert json.loads(to_kafka.stdout.splitlines()[-1]) == json.loads(to_file.stdout.splitlines()[-1])

    expected = recorded(path)
    got = asyncio.run(read_all(stack.kafka, f"{namespace}.attach"))
    assert {p: [(at, value) for at, _, value in records] for p, records in got.items()} == expected
    assert any(value is None for records in expected.values() for _, value in records)

    held = asyncio.run(read_all(stack.kafka, f"{namespace}.registry"))
    assert sorted((key, value) for records in held.values() for _, key, value in records) == sorted(
        registry(make_town(1, 2000))
    )


def test_a_paced_run_takes_its_time(stack: Stack, namespace: str) -> None:
    asyncio.run(make_topics(stack.kafka, namespace))
    began = time.monotonic()
    arguments = ["--subscribers", "200", "--hours", "0.05", "--speed", "60", "--kafka", stack.kafka]
    CliRunner().invoke(simulate, [*arguments, "--namespace", namespace], catch_exceptions=False)
    assert 3.0 <= time.monotonic() - began < 15


def test_a_topic_that_is_missing_is_named(stack: Stack, namespace: str) -> None:
    with pytest.raises(ThrongError, match=rf"{namespace}\.attach"):
        CliRunner().invoke(simulate, [*RUN, "--kafka", stack.kafka, "--namespace", namespace], catch_exceptions=False)


def test_more_partitions_than_the_topic_has_are_refused(stack: Stack, namespace: str) -> None:
    asyncio.run(make_topics(stack.kafka, namespace))
    arguments = [*RUN, "--kafka", stack.kafka, "--namespace", namespace, "--partitions", "9"]
    with pytest.raises(ThrongError, match="partitions"):
        CliRunner().invoke(simulate, arguments, catch_exceptions=False)


def test_a_town_of_another_day_is_refused_where_the_broker_would_call_it_of_now(stack: Stack, namespace: str) -> None:
    asyncio.run(make_topics(stack.kafka, namespace, "LogAppendTime"))
    to_kafka = ["--subscribers", "50", "--hours", "0.01", "--kafka", stack.kafka, "--namespace", namespace]
    with pytest.raises(ThrongError, match=r"is stamped by the broker.*--namespace NEW"):
        CliRunner().invoke(simulate, to_kafka, catch_exceptions=False)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    assert CliRunner().invoke(simulate, [*to_kafka, "--start", now], catch_exceptions=False).exit_code == 0
