"""What a deployment's Redis shows of the sliding windows, against the oracle."""

import asyncio
from collections import Counter
from typing import Final

import msgspec
import numpy as np

from streams.stores.counts import CountStore, TickCounts
from streams.stores.redis_client import connect
from tests.oracle.counting import window
from tests.support.deployment import Run

SHOWN_WITHIN_S: Final = 30.0


async def windows_in_redis_are_right(run: Run) -> None:
    """Redis, a server or a cluster, comes to have the windows of the last tick, and has them as the oracle does.

    Panes and ledger may be whole before: the last tick is shown up to half a second after it was counted, and where
    a call has just failed, once one succeeds.
    """
    epoch = run.epochs[0]
    last = epoch.start_ms + (run.gate.until - epoch.start_ms) // epoch.tick_ms * epoch.tick_ms
    async with connect(run.settings) as redis:
        store = CountStore(redis, f"{run.settings.kafka.namespace}:")
        for length in epoch.windows_ms:
            ticks = await _shown(store, run.settings.kafka.partitions, length, last)
            counts = sum(tick.counts.astype(np.int64) for tick in ticks)
            got = Counter({(int(z), int(c)): int(counts[z, c]) for z, c in zip(*np.nonzero(counts), strict=True)})
            assert got == window(run.result, msgspec.to_builtins(epoch), epoch.zones, last, length)


async def _shown(store: CountStore, partitions: int, length: int, tick_ms: int) -> list[TickCounts]:
    """A window of every partition, once all show the tick; none may show a later one."""
    until = asyncio.get_running_loop().time() + SHOWN_WITHIN_S
    while True:
        ticks = [await store.read(partition, length) for partition in range(partitions)]
        shown = [tick.tick_ms if tick is not None else -1 for tick in ticks]
        if shown == [tick_ms] * partitions:
            return [tick for tick in ticks if tick is not None]
        assert max(shown) <= tick_ms, f"shown are {shown}, the last tick is {tick_ms}"
        assert asyncio.get_running_loop().time() < until, f"shown are still {shown}, the last tick is {tick_ms}"
        await asyncio.sleep(0.1)
