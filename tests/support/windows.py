"""What a deployment's Redis shows of the sliding windows, against the oracle."""

from collections import Counter

import msgspec
import numpy as np

from streams.stores.counts import CountStore
from streams.stores.redis_client import connect
from tests.oracle.counting import window
from tests.support.deployment import Run


async def windows_in_redis_are_right(run: Run) -> None:
    """Redis, a server or a cluster, has the windows of the last tick as the oracle has them."""
    epoch = run.epochs[0]
    async with connect(run.settings) as redis:
        store = CountStore(redis, f"{run.settings.kafka.namespace}:")
        for length in epoch.windows_ms:
            ticks = [await store.read(p, length) for p in range(run.settings.kafka.partitions)]
            last = epoch.start_ms + (run.gate.until - epoch.start_ms) // epoch.tick_ms * epoch.tick_ms
            assert {tick and tick.tick_ms for tick in ticks} == {last}
            counts = sum(tick.counts.astype(np.int64) for tick in ticks if tick is not None)
            got = Counter({(int(z), int(c)): int(counts[z, c]) for z, c in zip(*np.nonzero(counts), strict=True)})
            assert got == window(run.result, msgspec.to_builtins(epoch), epoch.zones, last, length)
