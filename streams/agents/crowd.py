"""CROWD: sightings in, exact panes out. Sees pseudonyms, never an identifier, a salt or the registry.

In: chunks of frames of the assigned `sightings` partitions. Each frame goes through the partition's state machine
(core). Out: one record on `panes` at each pane's end; after a chunk the newest sliding-window counts to Redis, of a
partition that catches up five times a second. Kept: a snapshot of each partition in Redis every minute, written only
after Kafka has acknowledged the panes that it is past. And through a rebalance every state in memory: a crowd is a
function of its log, so a whole state is right whatever others did meanwhile, and a partition that comes back goes on
from it, without Redis (`states`). Nothing is stored for a rebalance, which the whole group would wait for: whoever gets
a partition replays at most one interval of its log.

What can fail: Redis away (panes go on, counts and snapshots wait and are tried again; readiness says so), a send to
`panes` (the process ends; the next one starts at the snapshot and sends the same again), an epoch not yet seen (read
again), no usable snapshot (the state is rebuilt from the log, if the log still begins where the state did; else it is
resumed at the log's start, and readiness, metrics, panes and the log say what is shut and until when: counting is
never silently begun anew).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec
from aiokafka import AIOKafkaProducer

from schemas.panes import Pane
from schemas.sightings import OtherVersion
from streams.agents.health import Readiness
from streams.agents.redis_watch import RedisWatch
from streams.agents.states import Partition, States, add_epochs
from streams.agents.transport import Chunk, LogRange
from streams.core.crowd.crowd import Crowd, UnknownEpoch
from streams.core.crowd.snapshot import to_columns
from streams.core.times import rfc3339
from streams.errors import ThrongError
from streams.metrics import CrowdMetrics
from streams.stores.counts import CountStore, TickCounts
from streams.stores.epochs import EpochReader
from streams.stores.snapshots import SnapshotStore
from streams.stores.trouble import TROUBLE

log = logging.getLogger("throng.crowd")

RETRY_S = 0.2
SHOW_S = 0.25
# Of a partition that is caught up chunk by chunk more would be shown than anybody can look at.
SHOWN_EVERY_S = 0.2
# A Redis that takes longer, without failing, is left to `keep_showing`: counting would be as slow as it is.
SLOW_S = 0.2
EPOCH_PATIENCE_S = 30.0
GAP_PATIENCE_S = 30.0
FOUND = {
    "losing": "the last snapshot of partition {} is gone, or a part of it",
    "shared": "in place of the last snapshot of partition {} stood one of another Kafka's log",
}


class Stores(NamedTuple):
    """Where state and views are kept."""

    snapshots: SnapshotStore
    counts: CountStore


class CrowdAgent:
    """The crowd's part of one worker: a state machine for each assigned partition."""

    def __init__(
        self,
        panes_topic: str,
        new_crowd: Callable[[int], Crowd],
        epochs: EpochReader,
        stores: Stores,
        producer: AIOKafkaProducer,
        metrics: CrowdMetrics,
        readiness: Readiness,
    ) -> None:
        self._panes_topic = panes_topic
        self._epochs = epochs
        self._stores = stores
        self._producer = producer
        self._metrics = metrics
        self._readiness = readiness
        self._redis = RedisWatch(metrics.redis_errors, readiness)
        self._owned: dict[int, Partition] = {}
        self._states = States(new_crowd, epochs, stores.snapshots, self._redis)
        self._slow = False

    async def positions(self, logs: Mapping[int, LogRange]) -> dict[int, int | None]:
        """Take up partitions from memory, their snapshots, the log's beginning, or where what is left of it begins."""
        await self._epochs.refresh()
        self._states.forget(logs.keys())
        begins: dict[int, int | None] = {}
        states = await asyncio.gather(*(self._states.find(*each) for each in logs.items()))
        for partition, (owned, source) in zip(logs, states, strict=True):
            crowd = owned.crowd
            self._owned[partition] = owned
            self._states.given(partition)
            self._metrics.taken_up.labels(source).inc()
            begins[partition] = crowd.next_offset
            log.info("partition %d goes on from offset %d, from %s", partition, crowd.next_offset, source)
            self._tell_shut(partition, crowd)
        self._readiness.over("starting")
        return begins

    async def lost(self, partition: int, position: int, log_range: LogRange) -> int:
        """Retention overtook the reader: a zombie finds its successor's snapshot, else the state is of no use."""
        await self._epochs.refresh()
        before = self._owned[partition]
        owned, source = await self._states.find(partition, log_range)
        owned.acks = before.acks
        self._owned[partition] = owned
        self._metrics.taken_up.labels(source).inc()
        self._tell_shut(partition, owned.crowd)
        return owned.crowd.next_offset

    async def assigned(self, partitions: frozenset[int]) -> None:
        """Forget what others own now; called also where this worker got nothing, so was not asked for positions."""
        self._states.forget(partitions)

    def _tell_shut(self, partition: int, crowd: Crowd) -> None:
        """Say what the partition can't count for now, and until when."""
        shut = crowd.shut_until()
        self._metrics.shut.labels(partition).set(len(shut))
        name = f"shut {partition}"
        if not shut:
            self._readiness.over(name)
        elif crowd.watermark_ms is None:
            self._readiness.waiting(name, f"partition {partition} lost its state: it waits for its sources to be heard")
        else:
            measures = (f"{measure} until {rfc3339(until)}" for measure, until in sorted(shut.items()))
            self._readiness.waiting(name, f"partition {partition} lost its state: shut are {', '.join(measures)}")

    def _tell_gaps(self, partition: int, owned: Partition) -> None:
        """Say that rows are missing of which later ones came, unless they come soon: a restart of their gateway."""
        crowd, now = owned.crowd, asyncio.get_running_loop().time()
        owned.gaps_since = {source: owned.gaps_since.get(source, now) for source in crowd.open_gaps}
        missing = sorted(source for source, since in owned.gaps_since.items() if now - since >= GAP_PATIENCE_S)
        self._metrics.open_gaps.labels(partition).set(len(missing))
        if missing:
            wanted = ", ".join(f"source {source} from offset {crowd.following.get(source, 0)}" for source in missing)
            self._readiness.waiting(f"gap {partition}", f"partition {partition} waits for rows of {wanted} on")
        else:
            self._readiness.over(f"gap {partition}")

    async def revoked(self, partitions: frozenset[int]) -> None:
        """Give partitions up, and keep their states until it is known who has them next."""
        for partition in partitions & self._owned.keys():
            self._states.keep(partition, self._owned.pop(partition))
            for what in ("shut", "gap"):
                self._readiness.over(f"{what} {partition}")
            # What is summed over workers, or judged by itself: whoever has the partition next tells it.
            told = self._metrics
            for gauge in (told.shut, told.open_gaps, told.buffered, told.subscribers):
                gauge.labels(partition).set(0)
        self._redis.forget()

    async def leaving(self, partitions: frozenset[int]) -> None:
        """Give partitions up for good: store them once more, so that whoever is next replays nothing."""
        for partition in partitions & self._owned.keys():
            await self.store(partition)
        self._owned.clear()
        self._states.forget()

    async def handle(self, chunk: Chunk) -> None:
        """Feed one chunk's frames, send the panes that they close, show the newest counts."""
        began = time.perf_counter()
        owned = self._owned.get(chunk.partition)
        if owned is None:
            return
        records = chunk.walked()
        rows = zip(records.offset.tolist(), records.start.tolist(), records.end.tolist(), strict=True)
        for offset, start, end in rows:
            if offset < owned.crowd.next_offset:
                continue
            if panes := await self._feed(owned.crowd, records.payload[start:end].tobytes(), offset):
                await self._send(chunk.partition, owned, panes)
        now = asyncio.get_running_loop().time()
        if not self._redis.trouble and not self._slow and now - owned.shown_at >= SHOWN_EVERY_S:
            await self._show(chunk.partition, owned)
        self._count(chunk.partition, owned, len(records.offset), time.perf_counter() - began)

    async def _send(self, partition: int, owned: Partition, panes: list[Pane]) -> None:
        """Hand panes over to the producer, which takes as long as Kafka does.

        The state is past them already: what stands for them until then keeps a store meanwhile from being ahead.
        """
        handed_over: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        owned.acks.append(handed_over)
        for pane in panes:
            ack = await self._producer.send(self._panes_topic, msgspec.msgpack.encode(pane), partition=0)
            ack.add_done_callback(partial(self._acknowledged, partition))
            owned.acks.append(ack)
        handed_over.set_result(None)

    def _acknowledged(self, partition: int, ack: "asyncio.Future[object]") -> None:
        if not ack.cancelled() and ack.exception() is None:
            self._metrics.panes.labels(partition).inc()

    async def _feed(self, crowd: Crowd, frame: bytes, offset: int) -> list[Pane]:
        deadline = time.monotonic() + EPOCH_PATIENCE_S
        while True:
            try:
                return crowd.feed(frame, offset)
            except OtherVersion as error:
                raise ThrongError(
                    "sightings", f"record {offset} of sightings: {error}: see docs/how-to/upgrade.md"
                ) from error
            except UnknownEpoch:
                new = await self._epochs.refresh()
                for owned in self._owned.values():
                    add_epochs(owned.crowd, new)
                if not new and time.monotonic() > deadline:
                    raise ThrongError(
                        "epochs", "a sighting's epoch is not in the epochs topic: was it deleted?"
                    ) from None
                await asyncio.sleep(RETRY_S)

    async def _show(self, partition: int, owned: Partition) -> None:
        crowd, tick_ms = owned.crowd, owned.crowd.last_tick_ms
        if tick_ms is None or tick_ms == owned.shown_tick_ms or crowd.epoch is None:
            return
        # Whoever looks at a window that isn't whole would take it for one: the last whole one stays, with its tick.
        whole = filter(crowd.window_is_whole, crowd.epoch.windows_ms)
        # Copies: while one is written, the next chunk may be counted.
        ticks = {ms: TickCounts(tick_ms, crowd.epoch.epoch, crowd.counts(ms).copy()) for ms in whole}
        began = asyncio.get_running_loop().time()
        try:
            await self._stores.counts.write(partition, ticks)
        except TROUBLE as error:
            # The same may have been shown meanwhile, over another connection: by a chunk, or by `keep_showing`.
            owed = self._owned.get(partition) is owned and owned.shown_tick_ms != crowd.last_tick_ms
            self._redis.failed("counts", error, owed)
        else:
            owned.shown_tick_ms, owned.shown_at = tick_ms, asyncio.get_running_loop().time()
            self._slow = owned.shown_at - began > SLOW_S
            self._redis.done("counts")

    async def keep_showing(self) -> None:
        """Show the newest counts that were not shown when they were new, for ever.

        While Redis is in trouble, or slow, only this tries: counting does not wait for it, and of each partition no
        more than the newest tick is owed.
        """
        while True:
            await asyncio.sleep(SHOW_S)
            for partition, owned in list(self._owned.items()):
                await self._show(partition, owned)

    async def keep_telling_gaps(self) -> None:
        """Say which partitions have missed rows for too long, for ever."""
        while True:
            await asyncio.sleep(GAP_PATIENCE_S / 10)
            for partition, owned in self._owned.items():
                self._tell_gaps(partition, owned)

    async def store(self, partition: int) -> None:
        """Write a snapshot of the partition, if it has moved since the last."""
        owned = self._owned[partition]
        offset = owned.crowd.next_offset
        if offset == owned.stored_offset:
            return
        began = time.perf_counter()
        columns = to_columns(owned.crowd)
        # A snapshot ahead of a pane that Kafka doesn't have would lose the pane.
        await owned.acknowledged()
        try:
            stored = await self._stores.snapshots.write(partition, offset, columns, owned.kept_offset)
        except TROUBLE as error:
            owed = self._owned.get(partition) is owned and owned.stored_offset != owned.crowd.next_offset
            self._redis.failed("snapshots", error, owed)
            return
        owned.stored_offset = offset
        self._redis.done("snapshots")
        if stored.found:
            self._redis.found(stored.found, FOUND[stored.found].format(partition))
        if not stored.moved:
            return
        owned.kept_offset = offset
        self._metrics.snapshots.labels(partition).inc()
        self._metrics.snapshot_bytes.labels(partition).set(stored.size)
        self._metrics.snapshot_time.observe(time.perf_counter() - began)

    async def keep_storing(self, every_ms: int) -> None:
        """Store each owned partition at the set interval, spread over it, for ever."""
        while True:
            owned = sorted(self._owned)
            for partition in owned:
                await asyncio.sleep(every_ms / 1000 / len(owned))
                if partition in self._owned:
                    await self.store(partition)
            if not owned:
                await asyncio.sleep(RETRY_S)

    def _count(self, partition: int, owned: Partition, frames: int, seconds: float) -> None:
        crowd, metrics = owned.crowd, self._metrics
        metrics.frames.labels(partition).inc(frames)
        metrics.sightings.labels(partition).inc(crowd.taken - owned.taken)
        owned.taken = crowd.taken
        metrics.barred.labels(partition).inc(crowd.barred - owned.barred)
        owned.barred = crowd.barred
        metrics.lost.labels(partition).inc(crowd.lost - owned.lost)
        owned.lost = crowd.lost
        foreign, owned.foreign = crowd.foreign - owned.foreign, crowd.foreign
        metrics.foreign.labels(partition).inc(foreign)
        if foreign:
            log.error("partition %d: %d records of sightings passed over: no gateway wrote them", partition, foreign)
        for measure, dropped in crowd.take_capped().items():
            metrics.capped.labels(partition, measure).inc(dropped)
        for rule, presences in crowd.take_filtered().items():
            metrics.filtered.labels(partition, rule).inc(presences)
        if crowd.watermark_ms is not None:
            metrics.watermark.labels(partition).set(crowd.watermark_ms / 1000)
        metrics.buffered.labels(partition).set(crowd.buffered)
        metrics.subscribers.labels(partition).set(crowd.subscribers)
        metrics.gaps.labels(partition).set(crowd.gaps)
        metrics.repeats.labels(partition).set(crowd.repeats)
        metrics.chunk.observe(seconds)
        self._tell_shut(partition, crowd)
