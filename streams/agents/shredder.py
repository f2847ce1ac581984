"""Destroys the salts of epochs that are over, in the gateway: a service beside it.

In: the epochs, the group's commits, the clocks. Out: the key of each epoch that is over is destroyed at the key
provider, which shreds every copy of the salt, and the epoch's key state in this process is wiped. Every gateway does
so by itself: destroying twice is harmless, and each has a key state of its own to forget. What is over is decided by
`core.shredding`, and never by the machine's own clock alone (`core.clocks`); it is looked at once the worker has its
sources, and then every `EVERY_S`. That the clocks differ is told as well.

What can fail: the key provider (told, counted, tried again: no event waits for it until an epoch begins); a key that is
not there and that nobody destroyed (the process ends). Whether the provider answers, and would take another key, is
asked from the start on, also before there is a salt.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from streams.agents.health import Readiness
from streams.core.clocks import Clocks, KafkaTime, said_apart
from streams.core.gateway import shredding
from streams.core.gateway.gateway import NEVER_MS
from streams.errors import ThrongError
from streams.metrics import GatewayMetrics
from streams.stores.keys import KeyProvider, missing

log = logging.getLogger("throng.salts")

EVERY_S: Final = 10.0
SAID: Final = {
    shredding.PASSED: "every source's commit is past the epoch",
    shredding.DEADLINE: "its time is up: later events of it are rejected",
}


class Shredder:
    """What one gateway knows of past epochs' keys.

    Args:
        epochs: all that are known now. salts, gone: the gateway's context, changed here.
        committed: by source the largest record time (ms) below the group's commit; only sources that count.
        clocks: as they are now, or None for no deadline. latest_ms: see `core.shredding.over`.
    """

    def __init__(
        self,
        epochs: Callable[[], list[Epoch]],
        salts: dict[int, NDArray[np.uint64]],
        gone: set[int],
        keys: KeyProvider,
        committed: Callable[[], Awaitable[Mapping[int, int]]],
        clocks: Callable[[], Clocks | None],
        lateness_ms: int,
        latest_ms: int,
        metrics: GatewayMetrics,
        readiness: Readiness,
    ) -> None:
        self._epochs = epochs
        self._salts = salts
        self._gone = gone
        self._keys = keys
        self._committed = committed
        self._clocks = clocks
        self._kafka_time = KafkaTime()
        self._lateness_ms = lateness_ms
        self._latest_ms = latest_ms
        self._metrics = metrics
        self._readiness = readiness
        self._destroyed: set[int] = set()

    async def check(self) -> None:
        """Destroy what is over by now."""
        committed = await self._committed()
        epochs = self._epochs()
        lateness_ms = max((epoch.lateness_ms for epoch in epochs), default=self._lateness_ms)
        found = shredding.over(epochs, committed, lateness_ms, self._reached_ms(committed), self._latest_ms)
        for epoch, why in found.items():
            self._forget(epoch)
            if epoch not in self._destroyed:
                await self._destroy(epoch, why)
        await self._miss()
        self._metrics.epochs_kept.set(len(epochs) - len(found))

    def _reached_ms(self, committed: Mapping[int, int]) -> int | None:
        """The time that all clocks have reached, if there is a deadline; tell if they differ."""
        clocks = self._clocks()
        if clocks is None:
            return None
        self._kafka_time.heard({s: ms for s, ms in committed.items() if ms != NEVER_MS}, clocks.monotonic_ms)
        apart_ms = clocks.apart_ms()
        if apart_ms is not None:
            self._metrics.clock_apart.set(apart_ms / 1000)
            self._tell_apart(apart_ms)
        return self._kafka_time.reached_ms(clocks)

    def _tell_apart(self, apart_ms: int) -> None:
        said = said_apart(apart_ms)
        if said is None:
            self._readiness.over("clock")
        else:
            self._readiness.waiting("clock", f"{said}: keys go by whichever is behind; synchronise both")

    async def keep_checking(self, ready: asyncio.Event) -> None:
        """Check once `ready` is set, and from then on now and then, for ever. Before, ask whether keys can be had."""
        await self._miss()
        await ready.wait()
        while True:
            await self.check()
            await asyncio.sleep(EVERY_S)

    async def _miss(self) -> None:
        """Forget the salts whose keys another has destroyed: after an incident the running epoch's, at once.

        Raises:
            ThrongError: `keys` if one is not there though nobody destroyed it. Its salt is forgotten as well, but no
                event is rejected for it: whoever is next reads them again.
        """
        try:
            kept = list(self._salts)
            gone = [epoch for epoch in kept if await asyncio.to_thread(self._keys.destroyed, epoch)]
            left = [epoch for epoch in kept if epoch not in gone]
            lost = [epoch for epoch in left if not await asyncio.to_thread(self._keys.holds, epoch)]
        except ThrongError as error:
            self._tell_no_keys(error)
            return
        for epoch in lost:
            self._wipe(epoch)
        if lost:
            raise missing(lost[0])
        for epoch in gone:
            log.error("the key of epoch %d has been destroyed: its events are rejected from now on", epoch)
            self._forget(epoch)
        try:
            await asyncio.to_thread(self._keys.look)
        except ThrongError as error:
            self._tell_no_keys(error)
        else:
            self._readiness.over("keys")

    def _tell_no_keys(self, error: ThrongError) -> None:
        self._metrics.key_errors.inc()
        self._readiness.waiting("keys", f"keys can't be had, and the next epoch needs one: {error}")

    def _forget(self, epoch: int) -> None:
        self._wipe(epoch)
        self._gone.add(epoch)

    def _wipe(self, epoch: int) -> None:
        state = self._salts.pop(epoch, None)
        if state is not None:
            state.fill(0)

    async def _destroy(self, epoch: int, why: str) -> None:
        try:
            there = await asyncio.to_thread(self._keys.holds, epoch)
            await asyncio.to_thread(self._keys.destroy, epoch)
        except ThrongError as error:
            self._metrics.key_errors.inc()
            log.error("the key of epoch %d could not be destroyed, it is tried again: %s", epoch, error)
            return
        self._destroyed.add(epoch)
        if there:
            self._metrics.keys_destroyed.labels(why).inc()
            log.info("the key of epoch %d is destroyed: %s", epoch, SAID[why])
