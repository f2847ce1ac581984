"""An event loop whose time passes only when everybody waits: a minute takes no longer than its work."""

import asyncio
import selectors
from collections.abc import Callable
from typing import Any


class _Skipping(selectors.SelectSelector):
    """Skips what it would have waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing will happen any more")
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """No sockets, no threads: `asyncio.to_thread` runs at once."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._skipping.now

    def run_in_executor(self, _: object, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":  # type: ignore[override]
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller's
            done.set_exception(error)
        return done
