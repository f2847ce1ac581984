"""When a past epoch's key is destroyed, and what is left of it in the gateway."""

import asyncio
import resource
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry

from streams.agents.health import Readiness
from streams.agents.shredder import Shredder
from streams.core.clocks import Clocks, Stamp
from streams.core.gateway import shredding
from streams.core.gateway.gateway import NEVER_MS
from streams.core.gateway.pseudonyms import key_state
from streams.errors import ThrongError
from streams.metrics import GatewayMetrics
from streams.stores.keys import FileKeys
from tests.support.world import epochs_at, salt_of

HOUR = 3_600_000
NOON = 1_772_449_200_000
LATE = 10_000
TODAY, TOMORROW = epochs_at(NOON, NOON + 24 * HOUR)
END = TODAY.end_ms
DONE = END + 2 * LATE


def over(committed: Mapping[int, int], now_ms: int | None = None) -> dict[int, str]:
    return shredding.over([TODAY, TOMORROW], committed, LATE, now_ms, 3 * HOUR)


def test_an_epoch_is_over_once_every_committed_watermark_is_past_its_end_and_the_lateness() -> None:
    assert over({0: DONE, 1: DONE}) == {TODAY.epoch: shredding.PASSED}
    assert over({0: DONE, 1: DONE - 1}) == {}
    assert over({0: DONE + 25 * HOUR, 1: DONE - 1}) == {}


def test_a_source_without_a_commit_has_passed_nothing() -> None:
    assert over({0: DONE + HOUR}) == {}
    assert over({}) == {}


def test_a_source_announced_since_must_have_passed_too() -> None:
    assert over({0: DONE, 1: DONE, 7: END}) == {}
    assert over({0: DONE, 1: DONE, 7: DONE}) == {TODAY.epoch: shredding.PASSED}


def test_at_the_deadline_an_epoch_is_over_whoever_has_not_passed_it() -> None:
    assert over({0: END}, END + 3 * HOUR - 1) == {}
    assert over({0: END}, END + 3 * HOUR) == {TODAY.epoch: shredding.DEADLINE}
    assert over({0: END}, None) == {}


class Held:
    """A shredder on a folder of keys, with commits and a clock of the test's."""

    def __init__(self, folder: Path) -> None:
        self.keys = FileKeys(folder)
        self.salts = {epoch.epoch: key_state(salt_of(epoch.epoch)) for epoch in (TODAY, TOMORROW)}
        self.gone: set[int] = set()
        self.committed: dict[int, int] = {}
        self.clocks: Clocks | None = None
        self.readiness = Readiness()
        self.metrics = GatewayMetrics(CollectorRegistry())
        for epoch in self.salts:
            assert self.keys.key(epoch, create=True)
        self.shredder = Shredder(
            lambda: [TODAY, TOMORROW],
            self.salts,
            self.gone,
            self.keys,
            self._read,
            lambda: self.clocks,
            LATE,
            3 * HOUR,
            self.metrics,
            self.readiness,
        )

    async def _read(self) -> Mapping[int, int]:
        return self.committed

    def destroyed(self, why: str) -> float:
        return self.metrics.keys_destroyed.labels(why)._value.get()


async def test_the_key_and_the_state_in_memory_go_together(tmp_path: Path) -> None:
    held = Held(tmp_path)
    state = held.salts[TODAY.epoch]
    held.committed = {0: DONE, 1: DONE - 1}
    await held.shredder.check()
    assert held.keys.key(TODAY.epoch, create=False) and TODAY.epoch in held.salts and not held.gone
    held.committed[1] = DONE
    await held.shredder.check()
    await held.shredder.check()
    assert held.keys.key(TODAY.epoch, create=True) is None
    assert held.salts.keys() == {TOMORROW.epoch} and held.gone == {TODAY.epoch}
    assert not state.any()
    assert held.keys.key(TOMORROW.epoch, create=False)
    assert held.destroyed("passed") == 1


async def test_another_gateway_that_finds_the_key_destroyed_forgets_its_state(tmp_path: Path) -> None:
    held = Held(tmp_path)
    FileKeys(tmp_path).destroy(TODAY.epoch)
    held.committed = {0: DONE, 1: DONE}
    await held.shredder.check()
    assert TODAY.epoch not in held.salts and held.destroyed("passed") == 0


async def test_the_deadline_counts_as_one(tmp_path: Path) -> None:
    held = Held(tmp_path)
    held.clocks = Clocks(END + 3 * HOUR, 0, [Stamp(END + 3 * HOUR, 0)])
    await held.shredder.check()
    assert held.keys.key(TODAY.epoch, create=False) is None and held.destroyed("deadline") == 1


async def test_a_clock_that_is_ahead_destroys_nothing_and_is_told(tmp_path: Path) -> None:
    """A gateway whose clock was hours ahead destroyed the running epoch's key, for all."""
    held = Held(tmp_path)
    held.clocks = Clocks(END + 3 * HOUR, 0, [Stamp(END - HOUR, 0)])
    await held.shredder.check()
    assert held.keys.key(TODAY.epoch, create=False) and not held.gone
    assert any("clock is 14400 s ahead of Kafka's" in reason for reason in held.readiness.reasons)
    assert held.metrics.clock_apart._value.get() == 14_400
    held.clocks = Clocks(END - HOUR + 1000, 1000, [Stamp(END - HOUR, 0)])
    await held.shredder.check()
    assert held.readiness.names == {"starting"}


async def test_in_silence_the_monotonic_clock_carries_kafkas_time_on(tmp_path: Path) -> None:
    held = Held(tmp_path)
    held.committed = {0: END - HOUR, 1: NEVER_MS}
    for passed, there in ((0, True), (4 * HOUR - 1, True), (4 * HOUR, False)):
        held.clocks = Clocks(END + 30 * HOUR, passed)
        await held.shredder.check()
        assert held.keys.holds(TODAY.epoch) is there


async def test_a_key_that_could_not_be_destroyed_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held = Held(tmp_path)
    held.committed = {0: DONE, 1: DONE}

    def fails(_: FileKeys, epoch: int) -> None:
        raise ThrongError("keys", "the key service is away")

    with monkeypatch.context() as patched:
        patched.setattr(FileKeys, "destroy", fails)
        await held.shredder.check()
    assert held.metrics.key_errors._value.get() == 1
    assert f"the key of epoch {TODAY.epoch} could not be destroyed" in caplog.text
    await held.shredder.check()
    assert held.keys.key(TODAY.epoch, create=False) is None and held.destroyed("passed") == 1


async def test_nothing_is_looked_at_before_the_worker_has_its_sources(tmp_path: Path) -> None:
    held = Held(tmp_path)
    held.committed = {0: DONE, 1: DONE}
    ready = asyncio.Event()
    checking = asyncio.create_task(held.shredder.keep_checking(ready))
    await asyncio.sleep(0)
    assert TODAY.epoch in held.salts
    ready.set()
    while TODAY.epoch in held.salts:  # noqa: ASYNC110 - the service has no other sign
        await asyncio.sleep(0)
    checking.cancel()


def test_the_epochs_of_the_test_follow_each_other() -> None:
    assert TOMORROW.start_ms == END and msgspec.to_builtins(TODAY)["sources"] == (0, 1)


async def test_a_gateway_forgets_a_salt_whose_key_another_has_destroyed(tmp_path: Path) -> None:
    held = Held(tmp_path)
    state = held.salts[TODAY.epoch]
    FileKeys(tmp_path).destroy(TODAY.epoch)
    await held.shredder.check()
    assert held.gone == {TODAY.epoch} and not state.any()
    assert TOMORROW.epoch in held.salts and held.destroyed("passed") == 0


async def test_a_key_service_that_is_away_costs_no_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(tmp_path)

    def fails(*_: object) -> bool:
        raise ThrongError("keys", "away")

    monkeypatch.setattr(FileKeys, "holds", fails)
    await held.shredder.check()
    assert not held.gone and held.salts.keys() == {TODAY.epoch, TOMORROW.epoch}


async def test_a_folder_that_takes_no_key_is_told_long_before_the_next_epoch(tmp_path: Path) -> None:
    """Read-only or full, it gives the keys that it has: the gateway was ready, and ended when the next one was due."""
    held = Held(tmp_path)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limit[1]))
    try:
        await held.shredder.check()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert any("keys can't be had, and the next epoch needs one" in reason for reason in held.readiness.reasons)
    assert held.salts.keys() == {TODAY.epoch, TOMORROW.epoch} and held.metrics.key_errors._value.get() == 1
    await held.shredder.check()
    assert held.readiness.names == {"starting"}


async def test_a_salt_may_come_while_keys_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(tmp_path)

    def comes(*_: object) -> bool:
        held.salts.setdefault(TOMORROW.epoch + 1, key_state(salt_of(TOMORROW.epoch + 1)))
        return True

    monkeypatch.setattr(FileKeys, "holds", comes)
    await held.shredder.check()
    assert not held.gone and len(held.salts) == 3


async def test_a_key_that_is_missing_is_not_taken_for_a_destroyed_one(tmp_path: Path) -> None:
    """A volume that is not mounted: what was taken for destroyed was rejected, and committed."""
    held = Held(tmp_path / "keys")
    state = held.salts[TODAY.epoch]
    (tmp_path / "keys").rename(tmp_path / "elsewhere")
    (tmp_path / "keys").mkdir()
    with pytest.raises(ThrongError, match=f"the key of epoch {TODAY.epoch} is not there, but was not destroyed"):
        await held.shredder.check()
    assert not held.gone and not state.any()
