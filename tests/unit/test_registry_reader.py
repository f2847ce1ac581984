"""How a gateway's copy of the registry is read, and how old it is."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from streams.errors import ThrongError
from streams.stores import registry
from streams.stores.log import TailReader
from streams.stores.registry import FRESH_S, LONGEST_GAP_S, RegistryReader


class Log:
    """A topic whose reading takes `takes_s` of the test's own clock."""

    grown = False

    def __init__(self) -> None:
        self.now_s, self.takes_s = 100.0, 0.0

    async def start(self) -> None: ...

    async def read_in_time(self) -> AsyncIterator[list[object]]:
        self.now_s += self.takes_s
        yield []


async def test_what_came_while_a_long_reading_went_on_is_not_known_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log()
    monkeypatch.setattr(registry, "TailReader", lambda *_: log)
    monkeypatch.setattr(registry.time, "monotonic", lambda: log.now_s)
    reader = RegistryReader("nowhere", "registry")
    assert not reader.fresh()
    log.takes_s = 2 * FRESH_S
    await reader.start()
    assert not reader.fresh()
    log.takes_s = 1.0
    await reader._read()
    assert reader.fresh()
    log.now_s += FRESH_S - 1.0
    assert not reader.fresh()


async def test_who_is_told_to_look_again_knows_nothing_until_a_reading_that_begins_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = Log()
    monkeypatch.setattr(registry, "TailReader", lambda *_: log)
    monkeypatch.setattr(registry.time, "monotonic", lambda: log.now_s)
    reader = RegistryReader("nowhere", "registry")
    await reader.start()
    assert reader.fresh()

    async def asked_meanwhile() -> AsyncIterator[list[object]]:
        log.now_s += 1.0
        reader.look_again()
        yield []

    monkeypatch.setattr(log, "read_in_time", asked_meanwhile, raising=False)
    await reader._read()
    assert not reader.fresh(), "this reading may have ended before what is wanted"
    monkeypatch.undo()
    monkeypatch.setattr(registry.time, "monotonic", lambda: log.now_s)
    await reader._read()
    assert reader.fresh()


@pytest.mark.parametrize("clock", ["monotonic", "time"])
async def test_who_has_not_read_it_for_so_long_that_erasures_may_be_gone_from_it_begins_anew(
    monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    """Cut off, stopped, or put back to an earlier state: a clock at least tells."""
    log = Log()
    monkeypatch.setattr(registry, "TailReader", lambda *_: log)
    monkeypatch.setattr(registry.time, clock, lambda: log.now_s)
    reader = RegistryReader("nowhere", "registry")
    await reader.start()
    log.now_s += LONGEST_GAP_S - 60
    await reader._read()
    log.now_s += LONGEST_GAP_S + 60
    with pytest.raises(ThrongError, match="was not read for 12 h"):
        await reader._read()


async def test_of_what_two_partitions_say_the_later_comes_later() -> None:
    """However it is fetched; of one partition what stands later does, whoever stamped it."""
    rng = random.Random(1)
    for _ in range(50):
        logs = [
            [Record(partition, n, time) for n, time in enumerate(rng.choice([sorted, list])(times))]
            for partition, times in enumerate([rng.randrange(90) for _ in range(rng.choice([0, 1, 30]))] for _ in "abc")
        ]
        reader = TailReader("127.0.0.1:1", "registry")
        reader._consumer, reader._partitions = Fetched(logs, rng), [0, 1, 2]  # type: ignore[assignment, list-item]
        read = [record async for records in reader.read_in_time() for record in records]
        assert sorted(read) == sorted(record for log in logs for record in log)
        for partition, log in enumerate(logs):
            assert [record for record in read if record.partition == partition] == log
        latest = [max(before.timestamp for before in logs[r.partition][: r.offset + 1]) for r in read]
        assert latest == sorted(latest)
        assert reader._consumer.fetching == set()
        assert [record async for records in reader.read_in_time() for record in records] == []


class Record(NamedTuple):
    partition: int
    offset: int
    timestamp: int


class Fetched:
    """A consumer of partitions 0, 1, ... that gets some of each at a time, and of some nothing."""

    def __init__(self, logs: list[list[Record]], rng: random.Random) -> None:
        self._logs, self._rng = logs, rng
        self._at = [0] * len(logs)
        self.fetching = set[int]()

    async def end_offsets(self, _: list[int]) -> dict[int, int]:
        return {number: len(log) for number, log in enumerate(self._logs)}

    async def position(self, number: int) -> int:
        return self._at[number]

    def resume(self, *numbers: int) -> None:
        self.fetching |= {*numbers}

    def pause(self, *numbers: int) -> None:
        self.fetching -= {*numbers}

    async def getmany(self, *numbers: int, timeout_ms: int, max_records: int) -> dict[int, list[Record]]:
        found: dict[int, list[Record]] = {}
        for number in self._rng.sample(numbers, self._rng.randint(1, len(numbers))):
            first = self._at[number]
            self._at[number] = min(first + self._rng.randint(1, 8), len(self._logs[number]))
            found[number] = self._logs[number][first : self._at[number]]
        return found


async def test_who_is_told_to_look_again_does_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TailReader", lambda *_: Log())
    monkeypatch.setattr(registry, "POLL_MS", 3_600_000)
    reader = RegistryReader("nowhere", "registry")
    following = asyncio.ensure_future(reader.follow())
    async with asyncio.timeout(5):
        for _ in range(3):
            await asyncio.sleep(0.01)
            reader.look_again()
            while not reader.fresh():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    following.cancel()
