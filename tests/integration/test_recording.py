"""Record, replay and embed on a real Kafka: the same events count the same panes whichever way they go."""

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from aiokafka import AIOKafkaProducer

from schemas.topics import ATTACH, REGISTRY, REJECTS, SIGHTINGS
from streams.core.events.behaviour import Evidence
from streams.core.events.machines import NO_MACHINES
from streams.errors import ThrongError
from streams.recording.capture import Bounds, capture, topic_settings
from streams.recording.disguise import Disguise
from streams.recording.file import Reader
from streams.recording.machines import Watching, watch
from streams.settings import Settings, to_environ
from streams.stores.topics import create
from tests.support.deployment import read_topic
from tests.support.processes import begin_worker, on_port, throng
from tests.support.reading import produce_transaction
from tests.support.recordings import MINUTES, START, fill, leave_for_a_while, record, settings_for

pytestmark = pytest.mark.integration


async def test_a_recording_holds_the_topic_byte_for_byte(stack: object, namespace: str, tmp_path: Path) -> None:
    settings = settings_for(stack, namespace, tmp_path)
    await fill(settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for headers in ([("reason", b"x"), ("empty", None)], []):
            await producer.send_and_wait(
                settings.topic(ATTACH), b"odd", key=b"k", partition=1, timestamp_ms=START, headers=headers
            )
        await producer.send_and_wait(settings.topic(ATTACH), None, key=b"", partition=0, timestamp_ms=START)
    path = tmp_path / "r.parquet"
    total = await record(settings, path)
    wanted = [(name, r) for name in (ATTACH, REGISTRY) for r in await read_topic(settings, name)]
    assert total == len(wanted) > 5000
    table = pq.read_table(path).to_pylist()
    found = {(row["topic"], row["partition"], row["offset"]): row for row in table}
    assert len(found) == len(table) == total
    for name, r in wanted:
        row = found[name, r.partition, r.offset]
        headers = [(h["name"], h["value"]) for h in row["headers"]]
        at = round(row["timestamp"].timestamp() * 1000)
        assert (row["key"], row["value"], at, headers) == (r.key, r.value, r.timestamp, list(r.headers))
    about = Reader(path).about
    assert about.topics[ATTACH].partitions == 3
    assert about.topics[ATTACH].config["message.timestamp.type"] == "CreateTime"
    bounded = tmp_path / "b.parquet"
    assert await record(settings, bounded, Bounds(from_offset=10, to_offset=20)) == 7 * 10
    assert await record(settings, bounded, Bounds(most=123)) == 123
    await what_is_watched_of_the_topic_is_what_the_recording_has(settings, path)


async def test_what_was_rolled_back_is_not_recorded_as_it_is_not_counted(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = settings_for(stack, namespace, tmp_path)
    await create(settings)
    for value, commit in ((b"kept", True), (b"rolled back", False)):
        await produce_transaction(settings.kafka.bootstrap, settings.topic(ATTACH), [value], commit=commit)
    assert await record(settings, tmp_path / "r.parquet") == 1
    assert pq.read_table(tmp_path / "r.parquet")["value"].to_pylist() == [b"kept"]


async def what_is_watched_of_the_topic_is_what_the_recording_has(settings: Settings, path: Path) -> None:
    live, recorded = (Watching(Evidence(START, 1, 0), NO_MACHINES, 262_144) for _ in range(2))
    await capture(settings, await topic_settings(settings, [ATTACH]), Bounds(), live, None, lambda _: None)
    watch(Reader(path), recorded)
    assert live.evidence.events == recorded.evidence.events > 5000
    assert live.evidence.subscribers == recorded.evidence.subscribers > 1000


async def test_a_recording_is_bounded_by_time_count_or_offsets_and_tells_how_far_it_is(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    settings = settings_for(stack, namespace, tmp_path)
    await create(settings)

    async def keep_sending(producer: AIOKafkaProducer) -> None:
        number = 0
        while True:
            await producer.send_and_wait(settings.topic(ATTACH), b"%d" % number, partition=number % 3)
            number += 1
            await asyncio.sleep(0.01)

    def rows(name: str) -> list[tuple[int, int]]:
        table = pq.read_table(tmp_path / f"{name}.parquet")
        return sorted(zip(table["partition"].to_pylist(), table["offset"].to_pylist(), strict=True))

    async def recorded(name: str, *bounds: str) -> str:
        said = await throng(
            settings, "record", ATTACH, str(tmp_path / f"{name}.parquet"), "--contains-personal-data", *bounds
        )
        assert said.returncode == 0, said.stderr
        assert orjson.loads(said.stdout)["records"] == len(rows(name))
        return said.stderr

    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        sending = asyncio.create_task(keep_sending(producer))
        told = await recorded("for", "--for", "12")  # long enough for a word in between
        await recorded("count", "--count", "600")
        assert await stopped_by_the_user(settings, tmp_path / "stopped.parquet") == 130
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await producer.flush()
    assert " records" in told
    assert len(rows("for")) > 0
    assert len(rows("count")) == 600
    await recorded("offsets", "--from-offset", "5", "--to-offset", "9")
    assert rows("offsets") == [(p, offset) for p in range(3) for offset in range(5, 9)]
    await recorded("now")
    assert set(rows("now")) >= set(rows("count")) | set(rows("for")) | set(rows("stopped"))
    assert Reader(tmp_path / "stopped.parquet").about.groups


async def stopped_by_the_user(settings: Settings, path: Path) -> int:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "streams.cli.main", "record", ATTACH, str(path)),
        *("--contains-personal-data", "--for", "600"),
        env=to_environ(settings),
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    async with asyncio.timeout(180):
        assert b" records" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    return await asyncio.wait_for(process.wait(), 180)


async def test_the_same_recording_counts_the_same_embedded_and_replayed(
    stack: object, namespace: str, tmp_path: Path
) -> None:
    source = settings_for(stack, namespace, tmp_path)
    await fill(source, events_a_record=7)
    before, whole, disguised = (tmp_path / f"{name}.parquet" for name in ("before", "whole", "disguised"))
    await record(source, before)
    await leave_for_a_while(source)
    await record(source, whole)
    await record(source, disguised, disguise=Disguise())
    said = [
        await throng(
            source, "replay", str(path), "--embedded", "--json", "--out", str(path.with_suffix(".panes.parquet"))
        )
        for path in (whole, disguised, before)
    ]
    embedded = [orjson.loads(run.stdout.splitlines()[-1]) for run in said]
    rejects, drops = ([each.pop(name) for each in embedded] for name in ("rejects", "drops"))
    assert rejects[0]["too_late"] > 0 < rejects[0]["unknown_cell"]  # of a run into Kafka the gateways tell
    assert drops[0]["no_record"] > 0
    assert embedded[0] == embedded[1]
    assert embedded[0]["digest"] != embedded[2]["digest"]  # in the end all are as before: the way there is counted
    assert embedded[0]["panes"] == MINUTES // 5 + 8 - 1  # from 06:00 on; the last 10 s are the lateness
    for number, (workers, partitions, speed) in enumerate([(1, 4, "max"), (2, 6, "600")]):
        target = settings_for(stack, f"{namespace}{number}", tmp_path, **{"kafka.partitions": partitions})
        await create(target)
        running = [
            await begin_worker(role, target, tmp_path / f"{role}.log", on_port(0))
            for role in ("gateway", "crowd")
            for _ in range(workers)
        ]
        try:
            panes = tmp_path / f"panes{number}.parquet"
            run = await throng(target, "replay", str(whole), "--json", "--speed", speed, "--out", str(panes))
            assert run.returncode == 0, run.stderr
            replayed = orjson.loads(run.stdout.splitlines()[-1])
            same = await throng(target, "diff", str(whole.with_suffix(".panes.parquet")), str(panes))
            assert (same.stdout, same.returncode) == ("the runs counted the same\n", 0)
            assert replayed == embedded[0]
        finally:
            for process in running:
                process.terminate()
            assert {await process.wait() for process in running} == {0}


async def test_a_disguised_recording_holds_no_identifier(stack: object, namespace: str, tmp_path: Path) -> None:
    settings = settings_for(stack, namespace, tmp_path)
    await create(settings)
    real = "262011234567890"
    event = {"event_id": "e1", "imsi": real, "ts": START, "cell": "001-01-0000001", "msisdn": "491711234567"}
    values = [
        orjson.dumps(event | {"name": "Erika"}),
        orjson.dumps([event, event | {"imsi": "not 491711234567"}]),
        f'{{"imsi":"{real}"'.encode(),
        orjson.dumps({"kind": "beat", "source": "s", "ts": START, "near": real}),
        None,
    ]
    person = orjson.dumps({"imsi": real, "gender": "female", "name": "Erika", "consent": {"marketing": "granted"}})
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap) as producer:
        for value in values:
            await producer.send_and_wait(settings.topic(ATTACH), value, key=real.encode(), partition=0)
        await producer.send_and_wait(settings.topic(REGISTRY), person, key=real.encode(), partition=0)
    path = tmp_path / "r.parquet"
    await record(settings, path, disguise=Disguise())
    rows = pq.read_table(path).to_pylist()
    held = repr(rows).encode() + path.read_bytes()
    for secret in (real, "491711234567", "Erika", 'e1"', real[5:]):
        assert secret.encode() not in held
    by_topic = {name: [row for row in rows if row["topic"] == name] for name in (ATTACH, REGISTRY)}
    one = orjson.loads(by_topic[ATTACH][0]["value"])
    array = orjson.loads(by_topic[ATTACH][1]["value"])
    new = orjson.loads(by_topic[REGISTRY][0]["value"])
    assert one["imsi"] == array[0]["imsi"] == new["imsi"] == by_topic[REGISTRY][0]["key"].decode()
    assert one["imsi"].startswith("00101") and one["cell"] == "001-01-0000001"
    assert new["gender"] == "female" and new["consent"] == {"marketing": "granted"}
    assert array[1] == "unreadable" and by_topic[ATTACH][4]["value"] is None
    assert [row["key"] for row in by_topic[ATTACH]] == [None] * 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["record", ATTACH, "x"], "--contains-personal-data"),
        (["record", "panes", REGISTRY, "x"], "registry holds identifiers"),
        (["record", SIGHTINGS, "x"], "sightings holds identifiers or pseudonyms"),
        (["record", REJECTS, "x", "--re-pseudonymise"], "rejects can't be re-pseudonymised"),
        (["record", "salts", "x"], "the salts are not for recordings"),
        (["record", "atach", "x"], "there is no topic 'atach'; there are: attach"),
        (["replay", "PLAN", "--embedded"], "is not a recording: it is no Parquet file"),
        (["replay", "PARQUET", "--embedded"], "is not a recording: make one with 'throng record'"),
    ],
)
async def test_what_cannot_be_recorded_or_replayed_is_told(
    stack: object, namespace: str, tmp_path: Path, arguments: list[str], words: str
) -> None:
    import pyarrow as pa

    settings = settings_for(stack, namespace, tmp_path)
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    named = {"PLAN": str(tmp_path / "plan.json"), "PARQUET": str(tmp_path / "other.parquet")}
    said = await throng(settings, *(named.get(argument, argument) for argument in arguments))
    assert said.returncode in (1, 2)
    assert words in said.stderr and said.stderr.count("\n") == 1


async def test_a_topic_that_the_broker_stamps_is_refused(stack: object, namespace: str, tmp_path: Path) -> None:
    source = settings_for(stack, namespace, tmp_path)
    await fill(source)
    await record(source, tmp_path / "r.parquet")
    stamped = settings_for(stack, f"{namespace}s", tmp_path, **{"kafka.keep_forever": False})
    await create(stamped)
    said = await throng(stamped, "replay", str(tmp_path / "r.parquet"))
    assert said.returncode == 1
    assert "is stamped by the broker" in said.stderr and "THRONG_KAFKA_KEEP_FOREVER" in said.stderr
    assert "--namespace NEW" in said.stderr, "topics that are there stay as they are"
    cell = orjson.loads((tmp_path / "plan.json").read_bytes())["cells"][0]["cell"]
    (tmp_path / "rows.csv").write_text(f"user,time,cell\na,2026-03-02T07:00:00Z,{cell}\n")
    (tmp_path / "m.toml").write_text('subscriber = "user"\ntime = "time"\ncell = "cell"\n')
    mapped = "--cells", str(tmp_path / "plan.json"), "--mapping", str(tmp_path / "m.toml")
    said = await throng(stamped, "import", str(tmp_path / "rows.csv"), *mapped)
    assert said.returncode == 1 and "is stamped by the broker" in said.stderr
    with pytest.raises(ThrongError, match="there is no recording"):
        Reader(tmp_path / "nothing.parquet")
