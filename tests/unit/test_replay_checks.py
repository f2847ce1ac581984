"""`throng replay`: what is refused before anything is played, and in which order all else goes."""

import asyncio
from pathlib import Path
from typing import NamedTuple

import msgspec
import orjson
import pytest
from msgspec.structs import replace

from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, LedgerRecord, Publication
from schemas.topics import ATTACH, FOOTFALL
from streams.cli.main import run
from streams.cli.recording import held_back
from streams.core.release.release import seal
from streams.errors import ThrongError
from streams.recording import play
from streams.recording.file import Reader, Writer
from streams.recording.file import Settings as TopicSettings
from streams.recording.play import check_partitions
from streams.settings import load_settings
from streams.stores.topics import partition_counts
from tests.support.world import epochs_at

MORNING = Path(__file__).parents[1] / "golden" / "morning.parquet"


def test_attach_must_have_as_many_partitions_as_the_recording_since_silent_ones_hold_the_watermark() -> None:
    check_partitions("r.attach", True, 3, 3)
    for there in (2, 4):
        with pytest.raises(ThrongError, match=f"r.attach has {there} partitions, the recording 3: .*RAW_PARTITIONS"):
            check_partitions("r.attach", True, there, 3)


def test_any_other_topic_may_have_more() -> None:
    check_partitions("r.copy", False, 4, 3)
    with pytest.raises(ThrongError, match="r.copy has 2 partitions"):
        check_partitions("r.copy", False, 2, 3)


def test_what_was_released_for_one_purpose_is_not_brought_to_another_one_s_consumers() -> None:
    said = Publication(FOOTFALL, b"z0", orjson.dumps({"measure": "present", "purpose": "marketing"}))
    nothing = LedgerRecord(20260302, "present", 1, 0, 1, "void", b"", 0.0, b"", seal(()), 7, 0.0, "one")
    drawn = replace(nothing, number=2, kind="release", publish=seal([said]))
    for record in (nothing, drawn):
        kept = msgspec.msgpack.decode(play.brought(msgspec.msgpack.encode(record), "marketing"), type=LedgerRecord)
        assert kept == replace(record, panes_offset=BROUGHT)
    play.brought(msgspec.msgpack.encode(nothing), "public")
    with pytest.raises(ThrongError, match="releases for marketing, and this deployment's consumers read for public"):
        play.brought(msgspec.msgpack.encode(drawn), "public")


@pytest.mark.parametrize(
    ("timezone", "hour", "told_again"),
    [("Europe/Berlin", 4, False), ("Europe/Paris", 4, False), ("UTC", 4, True), ("Europe/Berlin", 0, True)],
)
def test_a_ledger_of_days_that_begin_at_another_hour_is_refused(timezone: str, hour: int, told_again: bool) -> None:
    """Its pane of 04:00 to 05:00 in Berlin is one of the day before in UTC, which nothing says was told."""
    [day] = epochs_at(1_772_427_600_000)[:1]
    nothing = LedgerRecord(day.epoch, "present", 1, 0, 1, "release", b"", 0.0, b"", seal(()), 7, 0.0, "one")
    for number in (1, 12, 288):
        record = replace(nothing, number=number, end_ms=day.start_ms + number * day.pane_ms)
        play.check_day(record, play._day(record, [day], timezone, hour))  # there is such an epoch already
        play.check_day(record, play._day(record, [], "", hour))
        here = play._day(record, [], timezone, hour)
        if told_again:
            with pytest.raises(ThrongError, match=f"ledger's day {day.epoch} begins at 2026-03-02T03:00:00Z, this dep"):
                play.check_day(record, here)
        else:
            play.check_day(record, here)


@pytest.mark.parametrize("turns", [["--loop"], ["--turns", "2"]])
def test_a_ledger_is_played_once(turns: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    about = {"attach": TopicSettings(1, {}), "ledger": TopicSettings(1, {})}
    with Writer(tmp_path / "both.parquet", about):
        pass
    assert run(["replay", str(tmp_path / "both.parquet"), *turns, "--kafka", "127.0.0.1:1"]) == 2
    assert "don't go with a ledger: it holds what was told of the first turn" in capsys.readouterr().err


@pytest.mark.parametrize("value", [None, b"", b"a trial", orjson.dumps({"imsi": "001010000000001"})])
def test_what_no_release_wrote_into_the_recorded_ledger_is_not_brought(value: bytes | None) -> None:
    assert play.brought(value, "marketing") is None


def test_what_no_crowd_wrote_into_panes_is_passed_over_and_what_another_release_wrote_refused() -> None:
    class Record(NamedTuple):
        value: bytes | None
        topic: str = "north.panes"
        partition: int = 0
        offset: int = 7

    foreign = [Record(value) for value in (None, b"", b"a trial", b"\x91" * 100_000, b"\x80")]
    assert list(play._panes(foreign)) == []  # type: ignore[arg-type]
    newer = Record(msgspec.msgpack.encode({"form": "secret"}))
    with pytest.raises(ThrongError, match="north.panes, partition 0, offset 7: a record is not as this release has it"):
        list(play._panes([newer]))  # type: ignore[list-item]


def test_what_another_release_wrote_into_the_recorded_ledger_is_refused_without_what_it_says() -> None:
    with pytest.raises(ThrongError, match="the recorded ledger: a record is not as this release has it") as told:
        play.brought(msgspec.msgpack.encode({"epoch": 20260302, "form": "secret"}), "marketing")
    assert "secret" not in told.value.sentence


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--embedded", "--out", "panes.csv"], "--out is panes.csv, which ends in neither of .parquet, .duckdb"),
        (["--embedded", "--out", "nowhere/panes.parquet"], "there is no folder nowhere"),
        (["--embedded", "--speed", "60"], "--speed and --kafka don't go with --embedded"),
        (["--embedded", "--kafka", "127.0.0.1:1"], "--speed and --kafka don't go with --embedded"),
        (["--embedded", "--only", "attach"], "--topic and --only don't go with --embedded"),
        (["--only", "attach", "--only", "panes"], "--only panes: it is not recorded; there are: attach, registry"),
        (["--only", "registry", "--json"], "--json and --out wait for panes"),
        (["--topic", "attach=copy", "--out", "panes.parquet"], "--json and --out wait for panes"),
        (
            ["--from", "2026-03-02T09:00Z", "--to", "2026-03-02T06:00Z"],
            "--from is not before --to: it covers 2026-03-02T",
        ),
        (["--from", "2027-03-02T09:00Z"], "nothing of the recording is in --from and --to: it covers 2026-03-02T"),
        (["--embedded", "--to", "2025-03-02T09:00Z"], "nothing of the recording is in --from and --to: it covers 2026"),
    ],
)
def test_what_can_not_be_is_refused_in_a_line_before_anything_is_played(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["replay", str(MORNING), *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_recording_without_raw_events_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Writer(tmp_path / "panes.parquet", {"panes": TopicSettings(1, {})}):
        pass
    assert run(["replay", str(tmp_path / "panes.parquet"), "--embedded"]) == 1
    assert f"{tmp_path / 'panes.parquet'} holds no raw events" in capsys.readouterr().err


def test_what_was_rejected_is_told_and_a_plan_of_other_cells_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = MORNING.with_name("plan.json"), tmp_path / "other.json"
    other.write_bytes(own.read_bytes().replace(b'"cell":"001-01-', b'"cell":"001-02-'))
    assert other.read_bytes() != own.read_bytes()
    for plan, most in ((own, False), (other, True)):
        monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(plan))
        assert run(["replay", str(MORNING), "--embedded", "--json"]) == 0
        out, said = capsys.readouterr()
        told = orjson.loads(out.splitlines()[-1])
        rejects = told["rejects"]
        assert (2 * rejects["unknown_cell"] > told["events"]) == most
        assert f"{sum(rejects.values()):,} of {told['events']:,} events rejected: " in said
        assert f"{rejects['unknown_cell']:,} unknown_cell" in said
        assert (f"events are of cells that {plan} doesn't have" in said) == most


@pytest.mark.parametrize(
    ("minutes", "says"),
    [
        ([0, 5], ""),
        ([7, 1, 4], "partition 1 of attach ends at 1970-01-01T00:01:00Z, and others at 1970-01-01T00:07:00Z"),
        ([0, None], "no record of partition 1 of attach was played, so no pane closed"),
        ([None], "no record of partition 0"),
    ],
)
def test_a_partition_that_holds_the_panes_of_all_is_told(minutes: list[int | None], says: str) -> None:
    reached = {partition: None if at is None else at * 60_000 for partition, at in enumerate(minutes)}
    said = list(held_back(reached))
    assert len(said) == bool(says)
    assert says in "".join(said)


def test_who_has_no_record_is_told_as_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("THRONG_GATEWAY_PLAN", str(MORNING.with_name("plan.json")))
    alone = tmp_path / "alone.parquet"
    reader = Reader(MORNING)
    with Writer(alone, {ATTACH: reader.about.topics[ATTACH]}) as writer:
        first, last = reader.span({ATTACH})
        for _, runs in reader.slices(60_000, {ATTACH}, first, last + 1):
            for part in runs:
                writer.write(part.topic, part.partition, part.table)
    for path, most in ((MORNING, False), (alone, True)):
        assert run(["replay", str(path), "--embedded", "--json"]) == 0
        out, said = capsys.readouterr()
        told = orjson.loads(out.splitlines()[-1])
        assert (2 * told["drops"].get("no_record", 0) > told["events"]) == most
        assert f"{sum(told['drops'].values()):,} of {told['events']:,} events dropped: " in said
        assert ("imported without --consent?" in said) == most


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("attach", "run 'throng topics create --namespace r'"),
        ("copy", "make it, with the partitions of .*type=CreateTime"),
    ],
)
def test_how_to_make_a_missing_topic_is_told(name: str, says: str) -> None:
    class Admin:
        async def describe_topics(self, names: list[str]) -> list[dict]:
            return [{"topic": topic, "error_code": 3, "partitions": []} for topic in names]

    settings = load_settings(environ={"THRONG_KAFKA_NAMESPACE": "r"})
    with pytest.raises(ThrongError, match=f"the topic r.{name} is missing: {says}"):
        asyncio.run(partition_counts(Admin(), settings, [name]))


@pytest.mark.parametrize("counted_before", [False, True])
async def test_the_epoch_comes_behind_the_registry_and_only_older_ones_need_a_wait(
    counted_before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    class Producer:
        def __init__(self, **_: object) -> None: ...
        async def start(self) -> None: ...
        async def stop(self) -> None: ...
        async def send_and_wait(self, topic: str, value: bytes, **_: object) -> None:
            order.append(topic)

    async def send(_: Reader, __: object, way: play.Way, *___: object) -> tuple[int, int]:
        order.append("+".join(sorted(way.topics)))
        return 1, 1

    async def first_epoch(*_: object) -> Epoch | None:
        return None if counted_before else epochs_at(1_772_427_600_000)[0]

    async def nothing(*_: object) -> None: ...

    async def sleep(_: float) -> None:
        order.append("wait")

    monkeypatch.setattr(play, "AIOKafkaProducer", Producer)
    monkeypatch.setattr(play, "_send", send)
    monkeypatch.setattr(play, "_first_epoch", first_epoch)
    monkeypatch.setattr(play, "_check", nothing)
    monkeypatch.setattr(play.asyncio, "sleep", sleep)
    topics = {name: name for name in ("attach", "ledger", "panes", "registry")}
    said: list[str] = []
    await play.play(
        Reader(MORNING), load_settings(environ={}), play.Way(topics, 0, 1, None), lambda *_: None, said.append
    )
    if counted_before:
        assert order == ["registry", "ledger", "wait", "attach+panes"] and said[0].startswith("waiting 5 s: ")
    else:
        assert order == ["registry", "epochs", "ledger", "attach+panes"] and not said
