"""How old a gateway's copy of the registry is."""

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
