"""`throng salts`: what it lists, and that an incident's rotation says its cost before it destroys anything."""

from pathlib import Path

import msgspec
import orjson
import pytest
from click.testing import CliRunner

import streams.stores.audit
from schemas.audit import Entry
from schemas.salts import WrappedSalt
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


def test_a_rotation_tells_its_cost_and_does_nothing_unless_confirmed_and_told_why(keys: FileKeys) -> None:
    code, text = said(*NOW, given="n\n")
    assert code != 0 and keys.holds(TODAY.epoch)
    for cost in (
        "16 h 0 min until then are not counted",
        "salt_gone",
        "nothing is released of them",
        "budget is not given back",
        "no new epoch begins before then",
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
    assert f"entry 2 of the audit log, by the officer; hash {rotated.hash}" in text
    assert said(*NOW, "--yes")[0] != 0 and len(entries()) == 2


def test_an_audit_log_that_cannot_be_written_keeps_no_key_alive(keys: FileKeys) -> None:
    Kafka.topics["audit"] = [b"tampered"]
    code, text = said(*NOW, "--yes")
    assert code != 0 and not keys.holds(TODAY.epoch)
    assert "the salt is destroyed, but no entry of the audit log says so: record 0" in text


def test_a_key_that_could_not_be_destroyed_is_not_told_as_if_it_were(
    keys: FileKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise ThrongError("keys", "the service is away")

    monkeypatch.setattr(keys, "destroy", refuse)
    code, text = said(*NOW, "--yes")
    assert code != 0 and "is NOT destroyed: the service is away; run it again" in text
    assert "is destroyed;" not in text
