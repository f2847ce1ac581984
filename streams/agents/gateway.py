"""GATEWAY: raw attach events in, sightings out. The only role that sees an identifier.

In: chunks of whole Kafka record batches of `attach` (transport). Each is walked, decoded and screened by the core in
columns; the rows wait in the framer. Out: every 250 ms one frame for each partition of `sightings`, and what was
refused on `rejects`. Kept: nothing that the log doesn't have. Once Kafka has acknowledged all frames and rejects of a
flush, the raw offsets are committed, with the running maximum of record times beside them; a restart begins there.

What can fail: a send (the process ends; the next one begins at the commit, and what is sent twice the crowd takes
once, by the chain), records gone by retention (covered by a section flagged lost, counted), an epoch nobody has
written (written first, before the event goes on).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np
from aiokafka import AIOKafkaProducer

from schemas.rejects import Reason
from streams.agents.health import Readiness
from streams.agents.transport import Chunk
from streams.core.decode import Events, decode
from streams.core.framing import Flush, Framer, Mark
from streams.core.gateway import Context, Screened, screen
from streams.core.records import Records, walk
from streams.metrics import GatewayMetrics

log = logging.getLogger("throng.gateway")

# Before its first record a source has no running maximum; far enough below any time that subtraction is safe.
NEVER_MS = -(1 << 60)


class Topics(NamedTuple):
    """The names on the cluster."""

    attach: str
    sightings: str
    rejects: str


class Limits(NamedTuple):
    """When frames are sent, and the longest record."""

    flush_ms: int
    flush_rows: int
    max_record_bytes: int


class Commits(Protocol):
    """The group's committed positions (transport)."""

    async def commit(self, marks: Mapping[int, Mark]) -> None: ...


class Gateway:
    """The gateway's part of one worker: assigned sources, the framer, and the way to Kafka."""

    def __init__(
        self,
        topics: Topics,
        limits: Limits,
        framer: Framer,
        context: Callable[[], Context],
        provide_epoch: Callable[[int], Awaitable[None]],
        producer: AIOKafkaProducer,
        commits: Commits,
        metrics: GatewayMetrics,
        readiness: Readiness,
    ) -> None:
        self._topics = topics
        self._limits = limits
        self._framer = framer
        self._context = context
        self._provide_epoch = provide_epoch
        self._producer = producer
        self._commits = commits
        self._metrics = metrics
        self._readiness = readiness
        self._reject_acks: list[asyncio.Future[object]] = []
        self._flushing = asyncio.Lock()
        self._due = asyncio.Event()

    def open(self, source: int, mark: Mark, log_start: int) -> int:
        """Take up a source where the group's commit says; returns the offset to read from."""
        self._framer.open(source, mark)
        if log_start > mark.next_offset:
            lost = self._framer.lose(source, log_start)
            self._metrics.lost.labels(source).inc(lost)
            log.error("%d raw records of partition %d were gone by retention before they were read", lost, source)
        return max(log_start, mark.next_offset)

    def heard(self) -> dict[int, int]:
        """The running maximum of record times of each open source, ms."""
        return self._framer.running_max()

    async def release(self, sources: set[int]) -> None:
        """Give sources up: send and commit what is pending, then forget them."""
        await self.flush()
        for source in sources:
            self._framer.drop(source)

    async def handle(self, chunk: Chunk) -> None:
        """Take one chunk of one source. Waits when too much is unsent."""
        began = time.perf_counter()
        source = chunk.partition
        mark = self._framer.mark(source)
        if mark is None or chunk.next_offset <= mark.next_offset:
            return
        records = _from_offset(walk(chunk.batches), mark.next_offset)
        events = decode(records, self._limits.max_record_bytes)
        screened = await self._screen(records, events, mark.running_max)
        # Another await ran meanwhile: the source may have been given up.
        if self._framer.mark(source) != mark:
            return
        self._framer.add(source, screened, chunk.next_offset)
        await self._reject(source, records, events, screened)
        self._count(source, records, events, screened, time.perf_counter() - began)
        if self._framer.rows >= self._limits.flush_rows:
            await self.flush()

    async def flush(self) -> None:
        """Send what is pending, wait until Kafka has it, then commit.

        Raises:
            KafkaError: a send failed. The process must end: what follows in the producer may have overtaken it.
        """
        async with self._flushing:
            flush = self._framer.take()
            if flush is None:
                return
            began = time.perf_counter()
            acks = self._reject_acks
            self._reject_acks = []
            for target, frame in enumerate(flush.frames):
                acks.append(await self._producer.send(self._topics.sightings, frame, partition=target))
            await asyncio.gather(*acks)
            await self._commits.commit(flush.marks)
            self._sent(flush, time.perf_counter() - began)

    async def keep_flushing(self) -> None:
        """Flush at the set interval, for ever."""
        while True:
            await asyncio.sleep(self._limits.flush_ms / 1000)
            await self.flush()

    async def _screen(self, records: Records, events: Events, running_max: int) -> Screened:
        while True:
            screened = screen(records, events, running_max, self._context())
            if screened.needs_epoch is None:
                return screened
            await self._provide_epoch(screened.needs_epoch)

    async def _reject(self, source: int, records: Records, events: Events, screened: Screened) -> None:
        rows, reasons = screened.rejected
        for row, reason in zip(rows.tolist(), reasons.tolist(), strict=True):
            offset = int(records.offset[events.record[row]])
            value = records.payload[events.start[row] : events.end[row]].tobytes()
            headers = [
                ("reason", Reason(reason).name.encode()),
                ("topic", self._topics.attach.encode()),
                ("partition", str(source).encode()),
                ("offset", str(offset).encode()),
                ("index", str(int(events.index[row])).encode()),
            ]
            is_null = reason == Reason.null_value
            self._reject_acks.append(
                await self._producer.send(
                    self._topics.rejects, None if is_null else value, partition=0, headers=headers
                )
            )

    def _count(self, source: int, records: Records, events: Events, screened: Screened, seconds: float) -> None:
        metrics = self._metrics
        beats = int(np.count_nonzero(events.status == Reason.BEAT))
        metrics.records.labels(source).inc(len(records.offset))
        metrics.events.labels(source).inc(len(events.status) - beats)
        metrics.beats.labels(source).inc(beats)
        reasons, numbers = np.unique(screened.rejected[1], return_counts=True)
        for reason, number in zip(reasons.tolist(), numbers.tolist(), strict=True):
            metrics.rejects.labels(Reason(reason).name).inc(number)
        for drop, number in screened.dropped.items():
            metrics.drops.labels(drop).inc(number)
        metrics.watermark.labels(source).set(screened.running_max / 1000)
        metrics.chunk.observe(seconds)

    def _sent(self, flush: Flush, seconds: float) -> None:
        self._metrics.sightings.inc(flush.rows)
        self._metrics.frames.inc(len(flush.frames))
        self._metrics.frame_bytes.inc(sum(map(len, flush.frames)))
        self._metrics.flush.observe(seconds)


def _from_offset(records: Records, first: int) -> Records:
    """Without the records below `first`: a batch that begins before the position comes whole."""
    if len(records.offset) == 0 or records.offset[0] >= first:
        return records
    keep = int(np.searchsorted(records.offset, first))
    return Records(
        records.offset[keep:], records.time[keep:], records.start[keep:], records.end[keep:], records.payload
    )
