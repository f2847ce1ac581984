"""From which state a crowd goes on with a partition: the newest that there is and that the log reaches back to.

In: a partition, and the range of its log. Out: its state, and where that was: `memory`, kept through a rebalance;
`snapshot`, in Redis; `log`, a fresh one, since the log holds all of it; or `rest`, resumed at the log's start, since
nothing does. Kept: every state that a rebalance took, until it is known who has it next.

What can fail: Redis away (waited for, unless what is in memory will do), a snapshot that can't be used (told, and
passed over).
"""

import asyncio
import logging
import math
from collections.abc import Callable, Collection
from typing import Final

from schemas.epochs import Epoch
from streams.agents.redis_watch import RedisWatch
from streams.agents.transport import LogRange
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.snapshot import restore
from streams.stores.epochs import EpochReader
from streams.stores.snapshots import BrokenSnapshot, SnapshotStore
from streams.stores.trouble import TROUBLE

log = logging.getLogger("throng.crowd")

RETRY_S: Final = 0.2
GLANCE_S: Final = 0.5
LOADED_AT_ONCE: Final = 4


class Partition:
    """One owned partition: its state, the panes not yet acknowledged, when it was last stored."""

    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd
        self.acks: list[asyncio.Future[object]] = []
        self.stored_offset = crowd.next_offset
        self.kept_offset = -1  # of the snapshot that this worker has put into Redis, or found there
        self.shown_tick_ms: int | None = None
        self.shown_at = -math.inf  # s, of the loop's time
        self.taken = crowd.taken
        self.gaps_since: dict[int, float] = {}  # by source, s
        self.barred = crowd.barred
        self.lost = crowd.lost
        self.foreign = crowd.foreign

    async def acknowledged(self) -> None:
        """Wait until Kafka has every pane so far. Two may wait at once."""
        while self.acks:
            waited_for = set(self.acks)
            await asyncio.gather(*waited_for)
            self.acks = [ack for ack in self.acks if ack not in waited_for]


def add_epochs(crowd: Crowd, epochs: list[Epoch]) -> None:
    """Make epochs known to a crowd."""
    for epoch in epochs:
        crowd.add_epoch(epoch)


class States:
    """The states that one worker finds."""

    def __init__(
        self, new_crowd: Callable[[int], Crowd], epochs: EpochReader, snapshots: SnapshotStore, redis: RedisWatch
    ) -> None:
        self._new_crowd = new_crowd
        self._epochs = epochs
        self._snapshots = snapshots
        self._redis = redis
        self._loading = asyncio.Semaphore(LOADED_AT_ONCE)
        self._kept: dict[int, Partition] = {}  # as they were when a rebalance took them

    def keep(self, partition: int, owned: Partition) -> None:
        """Keep a state that a rebalance takes."""
        self._kept[partition] = owned

    def forget(self, still_owned: Collection[int] = ()) -> None:
        """Keep no others than these any more."""
        for partition in self._kept.keys() - still_owned:
            del self._kept[partition]

    def given(self, partition: int) -> None:
        """The state is in use: it isn't kept here any more."""
        self._kept.pop(partition, None)

    async def find(self, partition: int, log_range: LogRange) -> tuple[Partition, str]:
        """The newest state that there is, and where it comes from."""
        kept = self._kept.get(partition)
        at = kept.crowd.next_offset if kept is not None else -1
        usable = kept is not None and at >= log_range.start
        if kept is not None and usable and at >= await self._stored_offset(partition):
            add_epochs(kept.crowd, self._epochs.records)
            return kept, "memory"
        async with self._loading:
            columns = await self._load(partition)
            crowd = await asyncio.to_thread(self._restored, partition, columns)
        if kept is not None and usable and at > crowd.next_offset:  # what is stored can't be used
            add_epochs(kept.crowd, self._epochs.records)
            return kept, "memory"
        if crowd.next_offset < log_range.start:
            return Partition(self._resumed(partition, crowd.next_offset, log_range.start)), "rest"
        found = Partition(crowd)
        if columns is None or not crowd.next_offset:
            return found, "log"
        found.kept_offset = crowd.next_offset
        return found, "snapshot"

    def _resumed(self, partition: int, wanted: int, start: int) -> Crowd:
        log.error(
            "partition %d lost its state: offset %d is wanted, the log begins at %d; it is resumed there",
            *(partition, wanted, start),
        )
        crowd = self._fresh(partition)
        crowd.resume(start)
        return crowd

    async def _stored_offset(self, partition: int) -> int:
        """How far the newest snapshot is: ahead of us if another owner, whom we never heard of, went on."""
        try:
            async with asyncio.timeout(GLANCE_S):
                return await self._snapshots.newest(partition) or 0
        except (*TROUBLE, TimeoutError):
            return 0  # what is in memory is right without Redis as well

    def _restored(self, partition: int, columns: dict[str, bytes] | None) -> Crowd:
        if columns is not None:
            crowd = self._fresh(partition)
            try:
                restore(crowd, columns)
            except ValueError as error:
                log.error("%s; the state is rebuilt from the log", error)
            else:
                return crowd
        return self._fresh(partition)

    def _fresh(self, partition: int) -> Crowd:
        crowd = self._new_crowd(partition)
        add_epochs(crowd, self._epochs.records)
        return crowd

    async def _load(self, partition: int) -> dict[str, bytes] | None:
        while True:
            try:
                found = await self._snapshots.read(partition)
            except BrokenSnapshot as error:
                log.error("%s; the state is rebuilt from the log", error)
                return None
            except TROUBLE as error:
                self._redis.failed("snapshots", error)
                await asyncio.sleep(RETRY_S)
            else:
                self._redis.done("snapshots")
                return None if found is None else found[1]
