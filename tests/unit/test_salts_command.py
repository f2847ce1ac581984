"""`throng salts`: what it lists, and that an incident's rotation says its cost before it destroys anything."""

import time
from pathlib import Path

import msgspec
import orjson
import pytest
from aiokafka.errors import KafkaConnectionError
from click.testing import CliRunner
from msgspec.structs import replace

import streams.stores.audit
import streams.stores.topics
from schemas.audit import Entry
from schemas.epochs import Epoch
from schemas.salts import WrappedSalt
from schemas.sightings import Control, decode_frame
from streams.cli import salts as command
from streams.errors import ThrongError
from streams.stores.keys import FileKeys
from tests.support.topics import NOON, Kafka
from tests.support.world import epochs_at

TODAY, TOMORROW = epochs_at(NOON, NOON + 86_400_000)


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileKeys:
    """Two epochs, the first running now, with its salt sealed; the second's not made yet."""
    held = FileKeys(tmp_path)
    wrapped = held.seal(TODAY.epoch, bytes(32))
    assert wrapped is not None

    async def read(_: object) -> tuple[list[object], dict[int, WrappedSalt]]:
        return [TODAY, TOMORROW], {TODAY.epoch: wrapped}

    class Clock:
        @staticmethod
        def now() -> "Clock":
            return Clock()

        def timestamp(self) -> float:
            return NOON / 1000

        fromtimestamp = staticmethod(command.datetime.fromtimestamp)

    monkeypatch.setattr(command, "_read", read)
    monkeypatch.setattr(command, "key_provider", lambda _: held)
    monkeypatch.setattr(command, "datetime", Clock)
    Kafka.topics = {}
    monkeypatch.setattr(streams.stores.audit, "TailReader", Kafka)
    monkeypatch.setattr(streams.stores.audit, "AIOKafkaProducer", Kafka)
    monkeypatch.setattr(streams.stores.topics, "AIOKafkaProducer", Kafka)
    return held


NOW = ("rotate", "--now", "--reason", " a laptop is gone ", "--by", "the officer")


def said(*arguments: str, given: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(command.salts, [*arguments, "--kafka", "localhost:1"], input=given)
    return result.exit_code, result.output + str(result.exception or "")


def entries() -> list[Entry]:
    return [msgspec.json.decode(value, type=Entry) for value in Kafka.topics.get("audit", [])]


def test_it_lists_what_can_still_be_had(keys: FileKeys) -> None:
    found = orjson.loads(said("list", "--json")[1])
    assert [(each["epoch"], each["state"], each["key"]) for each in found] == [
        (TODAY.epoch, "sealed", f"file:{TODAY.epoch}"),
        (TOMORROW.epoch, "none", ""),
    ]
    keys.destroy(TODAY.epoch)
    assert f"{TODAY.epoch}  2026-03-02T04:00+01:00 to 2026-03-03T04:00+01:00  destroyed" in said("list")[1]


def test_where_nothing_is_there_yet_it_says_so(keys: FileKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(_: object) -> tuple[list[object], dict[int, WrappedSalt]]:
        return [], {}

    monkeypatch.setattr(command, "_read", read)
    assert said("list") == (0, "no epoch has been opened yet: the first gateway does, with the first event\n")
    assert orjson.loads(said("list", "--json")[1]) == []


def test_a_rotation_tells_its_cost_and_does_nothing_unless_confirmed_and_told_why(keys: FileKeys) -> None:
    code, text = said(*NOW, given="n\n")
    assert code != 0 and keys.holds(TODAY.epoch)
    for cost in (
        "0 h 5 min are not counted",
        "salt_gone) nor released",
        "from 2026-03-02T12:05+01:00 on a fresh salt holds; people present are told again 65 min later",
        "measures with caps are told again with the next epoch",
        "budget is not given back",
    ):
        assert cost in text
    for lacking in (("rotate",), ("rotate", "--now", "--yes"), ("rotate", "--now", "--yes", "--reason", " ")):
        assert said(*lacking)[0] != 0
    assert keys.holds(TODAY.epoch) and entries() == []


def test_a_rotation_destroys_the_running_epochs_salt_alone_and_says_so_in_the_audit_log(keys: FileKeys) -> None:
    other = keys.seal(TOMORROW.epoch, bytes(32))
    code, text = said(*NOW, "--yes")
    assert code == 0
    assert not keys.holds(TODAY.epoch) and other is not None and keys.open(other) == bytes(32)
    adopted, rotated = entries()
    assert (rotated.action, rotated.by) == ("rotate", "the officer")
    assert rotated.reason == f"the salt of epoch {TODAY.epoch}: a laptop is gone"
    assert (rotated.rules, rotated.previous) == (adopted.rules, adopted.hash)
    assert rotated.from_ms == NOON + 300_000 and adopted.from_ms is msgspec.UNSET
    assert [decode_frame(value) for value in Kafka.topics["sightings"]] == [
        Control(0, ()),  # which asks the time
        *(Control(0, (), NOON + 300_000) for _ in range(TODAY.partitions)),
    ]
    assert list(Kafka.topics) == ["sightings", "audit"]  # crowds know before any gateway does
    assert "a fresh salt holds from 2026-03-02T12:05+01:00 on" in text
    assert "clock" not in text
    assert f"entry 2 of the audit log, by the officer; hash {rotated.hash}" in text
    assert said(*NOW, "--yes")[0] != 0 and len(entries()) == 2


def test_an_audit_log_that_cannot_be_written_keeps_no_key_alive(keys: FileKeys) -> None:
    Kafka.topics["audit"] = [b"tampered"]
    code, text = said(*NOW, "--yes")
    assert code != 0 and not keys.holds(TODAY.epoch)
    assert "the salt is destroyed, but no entry of the audit log says so: audit, partition 0, offset 0" in text


def test_a_key_that_could_not_be_destroyed_is_not_told_as_if_it_were(
    keys: FileKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise ThrongError("keys", "the service is away")

    monkeypatch.setattr(keys, "destroy", refuse)
    code, text = said(*NOW, "--yes")
    assert code != 0 and "is NOT destroyed: the service is away; run it again" in text
    assert "is destroyed;" not in text


def test_a_key_that_could_not_be_destroyed_is_told_to_be_there_and_destroyed_by_the_next_run(
    keys: FileKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tombstone stood by then, and said that it was gone."""
    file = tmp_path / f"{TODAY.epoch}.key"
    held = file.read_bytes()
    with monkeypatch.context() as broken:
        broken.setattr("streams.stores.keys.secrets.token_bytes", lambda _: (_ for _ in ()).throw(OSError("no disk")))
        code, text = said(*NOW, "--yes")
    assert code != 0 and f"the key of {TODAY.epoch} is NOT destroyed: " in text and ": no disk; make room" in text
    assert file.read_bytes() == held and keys.holds(TODAY.epoch)
    assert "04:00+01:00  sealed" in said("list")[1]
    written = len(entries())
    code, text = said(*NOW, "--yes")
    assert code == 0 and f"the salt of epoch {TODAY.epoch} is destroyed" in text and "decided before" in text
    assert not file.exists() and len(entries()) == written
    assert "no epoch is running whose salt could still be had" in said(*NOW, "--yes")[1]


@pytest.mark.parametrize(
    ("into_ms", "fresh_ms"),
    [(0, 300_000), (120_000, 300_000), (120_001, 600_000), (57 * 60_000 + 1, None)],
)
def test_a_fresh_salt_holds_from_a_panes_end_that_is_three_minutes_ahead(into_ms: int, fresh_ms: int | None) -> None:
    start = TODAY.end_ms - 3_600_000
    rest = replace(TODAY, epoch=TODAY.epoch + 32, start_ms=start)
    found = command.fresh_from(rest, start + into_ms)
    assert found == (msgspec.UNSET if fresh_ms is None else start + fresh_ms)
    assert command.fresh_from(replace(rest, epoch=TODAY.epoch + 96), start) is msgspec.UNSET


def test_without_the_brokers_times_no_fresh_salt_holds_before_the_next_epoch(keys: FileKeys, monkeypatch) -> None:
    monkeypatch.setenv("THRONG_KAFKA_KEEP_FOREVER", "true")
    code, text = said(*NOW, "--yes")
    assert code == 0 and "no fresh salt holds before the next epoch" in text and "sightings" not in Kafka.topics
    assert "a fresh salt holds from 2026-03-03T04:00+01:00 on" in text
    assert entries()[-1].from_ms is msgspec.UNSET


def answered_after(monkeypatch: pytest.MonkeyPatch, wait_s: int) -> None:
    """The question is, with yes."""

    def confirm(*_: object, **__: object) -> None:
        monkeypatch.setattr("tests.support.topics.NOON", NOON + wait_s * 1000)
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + wait_s)

    monotonic = time.monotonic
    monkeypatch.setattr(command.click, "confirm", confirm)


def test_an_answer_after_the_epochs_end_destroys_nothing(keys: FileKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    answered_after(monkeypatch, (TODAY.end_ms - NOON) // 1000)
    code, text = said(*NOW)
    assert code != 0 and f"epoch {TODAY.epoch} ended before the answer" in text
    assert keys.holds(TODAY.epoch) and entries() == []


def test_a_fresh_salt_holds_three_minutes_after_the_answer_however_long_that_took(
    keys: FileKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered_after(monkeypatch, 600)
    code, text = said(*NOW)
    assert code == 0 and entries()[-1].from_ms == NOON + 900_000
    assert "a fresh salt holds from 2026-03-02T12:15+01:00 on" in text and "too late" not in text


@pytest.mark.parametrize(("hours", "running"), [(-2, TODAY), (2, TODAY), (17, TOMORROW)])
def test_kafkas_time_says_which_salt_is_in_use_and_from_when_a_fresh_one_holds(
    keys: FileKeys, monkeypatch: pytest.MonkeyPatch, hours: int, running: Epoch
) -> None:
    keys.seal(TOMORROW.epoch, bytes(32))
    kafka_ms = NOON + hours * 3_600_000
    monkeypatch.setattr("tests.support.topics.NOON", kafka_ms)
    code, text = said(*NOW, "--yes")
    assert code == 0 and f"the salt of epoch {running.epoch} is destroyed" in text
    assert [keys.holds(epoch.epoch) for epoch in (TODAY, TOMORROW)] == [running is TOMORROW, running is TODAY]
    assert entries()[-1].from_ms == kafka_ms + 300_000 and "0 h 5 min are not counted" in text
    how = f"{abs(hours) * 3600} s {'behind' if hours > 0 else 'ahead of'}"
    assert f"this machine's clock is {how} Kafka's, which counts" in text and "too late" not in text


def test_where_kafkas_time_cannot_be_had_the_machines_own_counts(
    keys: FileKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> int:
        raise KafkaConnectionError

    monkeypatch.setattr(command, "brokers_ms", refuse)
    monkeypatch.setattr("tests.support.topics.NOON", NOON + 240_000)
    code, text = said(*NOW, "--yes")
    assert code == 0 and not keys.holds(TODAY.epoch)
    assert "less than planned ahead: workers may hear too late; 'throng policy suspend'" in text
