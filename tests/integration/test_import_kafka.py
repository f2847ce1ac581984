"""`throng import` into a real Kafka: every row arrives as an event, in order, behind its subscriber's consent."""

import asyncio
from pathlib import Path

import orjson
import pytest

from schemas.topics import ATTACH, REGISTRY
from streams.cli.main import run
from streams.core.gateway.registry import RegistryTable
from streams.settings import load_settings
from streams.stores.topics import create
from tests.support.deployment import read_topic
from tests.unit.test_import import CELLS, EAST, MAPPING, NOON, WEST

pytestmark = pytest.mark.integration


async def test_rows_arrive_at_their_own_times_behind_their_subscribers_consent(
    stack: object, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = stack.kafka  # type: ignore[attr-defined]
    overrides = {"kafka.bootstrap": kafka, "kafka.namespace": namespace, "kafka.keep_forever": True}
    settings = load_settings(None, overrides, {})
    await create(settings)
    (tmp_path / "cells.csv").write_text(CELLS)
    (tmp_path / "map.toml").write_text(MAPPING)
    rows = [f"u{n % 40},{NOON + 1000 * (n * 7 % 500)},50,{9.02 if n % 2 else 8.98}" for n in range(500)]
    (tmp_path / "rows.csv").write_text("\n".join(["u,t,lat,lon", *rows, "u0,never,50,9"]) + "\n")
    files = ("--cells", str(tmp_path / "cells.csv"), "--mapping", str(tmp_path / "map.toml"))
    to = ("--kafka", kafka, "--namespace", namespace, "--consent", "traffic")
    monkeypatch.chdir(tmp_path)
    assert await in_thread("import", str(tmp_path / "rows.csv"), *files, *to) == 0
    counts = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert (counts["rows"], counts["events"], counts["people"]) == (501, 500, 40)
    assert counts["reasons"] == {"a time that is not of the mapping's form": 1}
    records = await read_topic(settings, ATTACH)
    read = [orjson.loads(record.value) for record in records]
    last_ms = max(int(row.split(",")[1]) for row in rows)
    for partition in range(settings.kafka.raw_partitions):
        record, value = [pair for pair in zip(records, read, strict=True) if pair[0].partition == partition][-1]
        assert value["kind"] == "beat"
        assert record.timestamp == value["ts"] == last_ms + settings.epoch.lateness_ms, "nothing that follows is late"
    records = [record for record, value in zip(records, read, strict=True) if value["kind"] != "beat"]
    events = [value for value in read if value["kind"] != "beat"]
    assert sorted(event["ts"] for event in events) == sorted(int(row.split(",")[1]) for row in rows)
    assert {event["cell"] for event in events} == {EAST, WEST}
    for partition in range(settings.kafka.raw_partitions):
        mine = [record.timestamp for record in records if record.partition == partition]
        assert mine == sorted(mine)
    assert all(record.timestamp == event["ts"] for record, event in zip(records, events, strict=True))
    homes = {event["imsi"]: record.partition for record, event in zip(records, events, strict=True)}
    assert all(homes[event["imsi"]] == record.partition for record, event in zip(records, events, strict=True))
    people = await read_topic(settings, REGISTRY)
    table = RegistryTable()
    table.take((record.key, record.value) for record in people)
    assert {record.key.decode() for record in people} == homes.keys()
    assert table.subscribers == 40


async def in_thread(*arguments: str) -> int:
    """The command has an event loop of its own."""
    return await asyncio.to_thread(run, list(arguments))
