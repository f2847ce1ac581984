"""Cancels a coroutine at every step of its event loop, one after another."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count


async def cancelled_at_each_step(work: Callable[[], Awaitable[object]], after: Callable[[], Awaitable[None]]) -> int:
    """Begin `work` anew, each time cancel it a step later, until it is done before; `after` each time.

    Returns how many steps there were. What was cancelled must end, and must not go on beyond its work.
    """
    for steps in count():
        done: list[object] = []

        async def task(done: list[object] = done) -> None:
            await work()
            done.append("done")
            await asyncio.Event().wait()

        working = asyncio.ensure_future(task())
        for _ in range(steps):
            await asyncio.sleep(0)
        if over := bool(done):
            await asyncio.sleep(0.001)  # it waits
        working.cancel()
        ended, _ = await asyncio.wait([working], timeout=5)
        assert ended, f"cancelled after {steps} steps it went on"
        assert working.cancelled()
        await after()
        if over:
            return steps
    raise AssertionError
