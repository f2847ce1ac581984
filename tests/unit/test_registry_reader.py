"""How old a gateway's copy of the registry is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from streams.stores import registry
from streams.stores.registry import FRESH_S, RegistryReader


class Log:
    """A topic whose reading takes `takes_s` of the test's own clock."""

    def __init__(self) -> None:
        self.now_s, self.takes_s = 100.0, 0.0

    async def start(self) -> None: ...

    async def read_to_end(self) -> AsyncIterator[list[object]]:
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

    monkeypatch.setattr(log, "read_to_end", asked_meanwhile, raising=False)
    await reader._read()
    assert not reader.fresh(), "this reading may have ended before what is wanted"
    monkeypatch.undo()
    monkeypatch.setattr(registry.time, "monotonic", lambda: log.now_s)
    await reader._read()
    assert reader.fresh()


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
