"""`throng salts`: what it lists, and that an incident's rotation says its cost before it destroys anything."""

from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

from schemas.salts import WrappedSalt
from streams.cli import salts as command
from streams.stores.keys import FileKeys
from tests.support.world import epochs_at

NOON = 1_772_449_200_000
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
    return held


def said(*arguments: str, given: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(command.salts, [*arguments, "--kafka", "localhost:1"], input=given)
    return result.exit_code, result.output


def test_it_lists_what_can_still_be_had(keys: FileKeys) -> None:
    found = orjson.loads(said("list", "--json")[1])
    assert [(each["epoch"], each["state"], each["key"]) for each in found] == [
        (TODAY.epoch, "sealed", f"file:{TODAY.epoch}"),
        (TOMORROW.epoch, "none", ""),
    ]
    keys.destroy(TODAY.epoch)
    assert f"{TODAY.epoch}  2026-03-02T04:00+01:00 to 2026-03-03T04:00+01:00  destroyed" in said("list")[1]


def test_a_rotation_tells_its_cost_and_destroys_nothing_unless_confirmed(keys: FileKeys) -> None:
    code, text = said("rotate", "--now", given="n\n")
    assert code != 0 and keys.holds(TODAY.epoch)
    for cost in ("16 h 0 min until then are not counted", "salt_gone", "within 65 min", "budget is not given back"):
        assert cost in text
    assert said("rotate")[0] != 0 and keys.holds(TODAY.epoch)


def test_a_rotation_destroys_the_running_epochs_salt_alone(keys: FileKeys) -> None:
    other = keys.seal(TOMORROW.epoch, bytes(32))
    assert said("rotate", "--now", "--yes")[0] == 0
    assert not keys.holds(TODAY.epoch) and other is not None and keys.open(other) == bytes(32)
    code, _ = said("rotate", "--now", "--yes")
    assert code != 0
