"""`throng record`: its bounds, what it says at the end, and what becomes of a file that exists."""

import asyncio
import os
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.topics import PANES
from streams.cli import recording
from streams.cli.main import run
from streams.errors import ThrongError
from streams.recording.columns import SCHEMA
from streams.recording.file import META, Reader, Writer
from streams.recording.file import Settings as TopicSettings
from streams.recording.panes import save


def record(path: Path, *more: str) -> int:
    return run(["record", PANES, str(path), "--kafka", "127.0.0.1:1", *more])


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Stands in for Kafka: as many records as the list says; a negative number is a signal that stops it."""
    numbers: list[int] = []

    async def described(*_: object) -> dict[str, TopicSettings]:
        return {PANES: TopicSettings(1, {})}

    async def capture(_settings: object, _topics: object, _bounds: object, writer: Writer, *_: object) -> int:
        for number in numbers:
            if number < 0:
                os.kill(os.getpid(), -number)
                await asyncio.sleep(10)
            rows = [{"topic": PANES, "partition": 0, "offset": n, "timestamp": n, "headers": []} for n in range(number)]
            writer.write(PANES, 0, recording_table(rows))
        return 0

    monkeypatch.setattr(recording, "topic_settings", described)
    monkeypatch.setattr(recording, "capture", capture)
    return numbers


def recording_table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@pytest.mark.parametrize(
    ("bounds", "says"),
    [
        (["--count", "0"], "--count"),
        (["--for", "0"], "--for"),
        (["--for", "-1"], "--for"),
        (["--from-offset", "-1"], "--from-offset"),
        (["--from-offset", "9", "--to-offset", "9"], "--from-offset 9 is not below --to-offset 9"),
    ],
)
def test_bounds_that_hold_nothing_are_refused(
    bounds: list[str], says: str, topic: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record(tmp_path / "r.parquet", *bounds) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_is_written_replaces_a_file_and_nothing_does_not(
    topic: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.parquet"
    assert record(path) == 0  # no file yet: an empty recording
    said = capsys.readouterr()
    assert orjson.loads(said.out)["records"] == 0
    assert "nothing was recorded: panes held no record within the bounds" in said.err
    for numbers, there in (([3, 4], 7), ([], 7), ([5], 5)):
        topic[:] = numbers
        assert record(path) == 0
        assert orjson.loads(capsys.readouterr().out)["records"] == sum(numbers)
        assert sum(group.rows for group in Reader(path).about.groups) == there
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600  # what is of persons, or exact, is its owner's alone


@pytest.fixture
def _signals() -> Iterator[None]:
    """As they were before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize(
    ("number", "of_ctrl_c"),
    [
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGTERM, signal.default_int_handler),
        (signal.SIGTERM, signal.SIG_IGN),
    ],
)
def test_a_user_who_stops_it_gets_what_was_recorded_and_its_number(
    number: int, of_ctrl_c: object, topic: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    signal.signal(signal.SIGINT, of_ctrl_c)
    topic[:] = [3, -number]
    assert record(tmp_path / "r.parquet") == 130
    said = capsys.readouterr()
    assert orjson.loads(said.out)["records"] == 3
    assert "stopped" in said.err
    assert sum(group.rows for group in Reader(tmp_path / "r.parquet").about.groups) == 3


async def test_a_recording_in_another_thread_leaves_signals_as_they_are(topic: list[int], tmp_path: Path) -> None:
    topic.append(3)
    before = signal.getsignal(signal.SIGTERM)
    assert await asyncio.to_thread(record, tmp_path / "r.parquet") == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("room", [0, 4096])
def test_a_recording_that_finds_no_room_leaves_nothing_and_says_so(
    topic: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str], room: int
) -> None:
    topic.append(50_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        code = record(tmp_path / "a.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 1
    assert capsys.readouterr().err == f"throng: cannot write {tmp_path / 'a.parquet'}: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (b'{"version":2,"topics":{},"groups":[]}', "is a recording of version 2; this throng reads 1"),
        (b'{"version":1}', "is not a recording as expected"),
    ],
)
def test_a_recording_of_another_version_is_refused(tmp_path: Path, told: bytes, says: str) -> None:
    file = tmp_path / "a.parquet"
    pq.write_table(recording_table([]).replace_schema_metadata({META: told}), file)
    with pytest.raises(ThrongError, match=says):
        Reader(file)


def test_a_damaged_recording_is_told_as_such(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    rows = [
        {"topic": PANES, "partition": 0, "offset": n, "timestamp": n, "value": os.urandom(8), "headers": []}
        for n in range(1000)
    ]
    with Writer(file, {PANES: TopicSettings(1, {})}) as writer:
        writer.write(PANES, 0, recording_table(rows))
    held = bytearray(file.read_bytes())
    held[100 : len(held) * 3 // 4] = bytes(byte ^ 0x55 for byte in held[100 : len(held) * 3 // 4])
    file.write_bytes(held)
    with pytest.raises(ThrongError, match="the recording is damaged in row group 0"):
        list(Reader(file).topic(PANES))


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A recording of two row groups."""
    file = tmp_path / "a.parquet"
    with Writer(file, {PANES: TopicSettings(2, {})}) as writer:
        for partition in range(2):
            rows = [
                {"topic": PANES, "partition": partition, "offset": n, "timestamp": n, "value": b"%d" % n, "headers": []}
                for n in range(1000)
            ]
            writer.write(PANES, partition, recording_table(rows))
    return file


def test_one_changed_byte_is_noticed_in_whatever_page_it_is(recorded: Path) -> None:
    whole = recorded.read_bytes()
    table = pq.read_table(recorded)
    noticed = 0
    for place in range(4, len(whole) - 8, 97):
        recorded.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = pa.concat_tables(Reader(recorded).topic(PANES))
        except ThrongError:
            noticed += 1
        else:
            assert found.equals(table), place  # statistics, of which nothing is read
    assert noticed > 20


def test_a_recording_that_another_program_has_written_anew_is_refused(recorded: Path) -> None:
    file = pq.ParquetFile(recorded)
    meta = {META: file.metadata.metadata[META]}
    table = file.read()
    large = table.set_column(5, "value", table["value"].cast(pa.large_binary()))
    for changed, rows in ((table, 2000), (table.slice(1000), 1000), (large, 1000), (table.drop_columns("key"), 1000)):
        pq.write_table(changed.replace_schema_metadata(meta), recorded, row_group_size=rows)
        with pytest.raises(ThrongError, match="another program has changed it"):
            Reader(recorded)
    pq.write_table(table.replace_schema_metadata(meta), recorded, row_group_size=1000)
    assert sum(part.num_rows for part in Reader(recorded).topic(PANES)) == 2000


def test_panes_that_find_no_room_leave_no_database_begun(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(ThrongError, match=r"cannot write .*File too large"):
            save(pa.table({"n": list(range(10_000))}), tmp_path / "a.duckdb")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["flows", "footfall.csv"])
def test_a_topic_or_another_kind_of_file_in_the_place_of_the_recording_is_refused(
    tmp_path: Path, topic: list[int], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    topic.append(1)
    assert record(tmp_path / name) == 2
    assert f"{name}, which doesn't end in .parquet" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
