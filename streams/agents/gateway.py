"""GATEWAY: raw attach events in, sightings out. The only role that sees an identifier.

In: chunks of whole Kafka record batches of `attach` (transport). Each is walked, decoded and screened by the core in
columns; the rows wait in the framer. Out: every 250 ms one frame for each partition of `sightings`, and what was
refused on `rejects`. Kept: nothing that the log doesn't have. Once Kafka has acknowledged all frames and rejects of a
flush, the raw offsets are committed, with the running maximum of record times beside them; a restart begins there.

What can fail: a send (the process ends; the next one begins at the commit, and what is sent twice the crowd takes
once, by the chain), records gone by retention (covered by a section flagged lost; counted from a commit on), an epoch
nobody has written (written first, before the event goes on).
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Set
from typing import NamedTuple, Protocol

import numpy as np

from schemas.rejects import Reason
from schemas.sightings import encode_control
from schemas.topics import HOUR_MS
from streams.agents.health import Readiness
from streams.agents.producing import Producer, told_elsewhere
from streams.agents.registrar import Registrar
from streams.agents.roles import Turn
from streams.agents.transport import Chunk, Committed, LogRange
from streams.core.events.decode import Events, decode_in_parts, malformed
from streams.core.events.records import Malformed, Records, walk
from streams.core.gateway.framing import Flush, Framer, Mark
from streams.core.gateway.future import alone_ahead, future
from streams.core.gateway.gateway import NEVER_MS, Context, Screened, screen
from streams.errors import ThrongError
from streams.metrics import GatewayMetrics
from streams.stores.outgoing import Outgoing
from streams.stores.plans import unknown_plan

log = logging.getLogger("throng.gateway")

# So long before its first record an epoch is written: crowds and releases have it in time.
EPOCHS_AHEAD_MS = HOUR_MS
LONG_SILENCE_MS = 2 * 86_400_000
REGISTRY_POLL_S = 0.1
REGISTRY_PATIENCE_S = 1.0
# Rejects that wait for a flush: each takes some hundred bytes more than it has.
MOST_REFUSED = 50_000
# Of a longer record that much is copied to `rejects`, which takes no longer ones, whatever `attach` takes.
MOST_COPIED_BYTES = 1 << 20
# As numbers and bytes: an enumeration takes a microsecond to be asked, and is for each reject.
REASONS = {int(reason): reason.name.encode() for reason in Reason}
NULL_VALUE = int(Reason.null_value)


class Topics(NamedTuple):
    """The names on the cluster."""

    attach: str
    sightings: str
    rejects: str


class Limits(NamedTuple):
    """When frames are sent, the longest record, and how far a record's time may be ahead of all others' and of the
    clock; None: record times are not of now."""

    flush_ms: int
    flush_rows: int
    max_record_bytes: int
    ahead_ms: int | None = None


class Commits(NamedTuple):
    """The group's committed positions (transport), readable by all of its members.

    `sources`: all that hold the watermark, as Kafka has them now.
    """

    read: Callable[[], Awaitable[Mapping[int, Committed]]]
    write: Callable[[Mapping[int, Committed]], Awaitable[bool]]
    sources: Callable[[], Set[int]]


class Rules(Protocol):
    """The rules in force (`agents.gateway_rules.GatewayRules`)."""

    def fresh(self) -> bool: ...
    def at(self, running_max: int) -> Context: ...


class Gateway:
    """The gateway's part of one worker: assigned sources, the framer, and the way to Kafka."""

    def __init__(
        self,
        topics: Topics,
        limits: Limits,
        framer: Framer,
        context: Context,
        provide_epoch: Callable[[int], Awaitable[None]],
        producer: Producer,
        commits: Commits,
        registry_fresh: Callable[[], bool],
        metrics: GatewayMetrics,
        readiness: Readiness,
        rules: Rules,
        turn: Turn,
        registrar: Registrar | None = None,
    ) -> None:
        self._topics = topics
        self._limits = limits
        self._framer = framer
        self._context = context
        self._provide_epoch = provide_epoch
        self._producer = producer
        self._commits = commits
        self._metrics = metrics
        self._registry_fresh = registry_fresh
        self._readiness = readiness
        self._registrar = registrar
        self._rules = rules
        self._turn = turn
        self._refused: list[Outgoing] = []
        self._flushing = asyncio.Lock()
        self.silent_since: dict[int, float] = {}
        self.placed = asyncio.Event()
        self._pane_over = asyncio.Event()
        self._pane_end_ms: int | None = None
        self._announced = 0

    async def positions(self, logs: Mapping[int, LogRange]) -> dict[int, int | None]:
        """Take up sources where the group's commits say; one without a commit begins at offset 0."""
        await self._announce()
        committed = await self._commits.read()
        begins: dict[int, int | None] = {}
        for source, log_range in logs.items():
            mark = _mark(committed.get(source))
            self._framer.open(source, mark)
            self.silent_since[source] = time.monotonic()
            self._metrics.lost.labels(source)  # a series that says zero, rather than none
            begins[source] = max(mark.next_offset, log_range.start)
            if log_range.start > mark.next_offset and source in committed:
                await self.lost(source, mark.next_offset, log_range)
            elif log_range.start > mark.next_offset:  # what of it was read the crowds know
                self._framer.lose(source, log_range.start)
                log.warning("partition %d has no commit, and begins at offset %d", source, log_range.start)
        if self._registrar is not None:
            await self._registrar.open(logs.keys(), committed)
        self._readiness.over("starting")
        self.placed.set()
        return begins

    async def _announce(self) -> None:
        """Tell the crowds of all sources before any section of them.

        Partitions that `throng topics create` adds are announced before they are made. Others may be added by Kafka's
        own tools: then no watermark waits for them until this, so it comes within the lateness or rows are too late.
        """
        sources = sorted(self._commits.sources())
        if len(sources) <= self._announced:
            return
        control = encode_control(len(sources), sources)
        targets = range(self._context.partitions)
        acks = [await self._producer.send(self._topics.sightings, control, partition=target) for target in targets]
        await asyncio.gather(*acks)
        self._announced = len(sources)

    async def lost(self, source: int, position: int, log_range: LogRange) -> int:
        """Retention took raw records before they were read: the chain says so, and goes on behind them."""
        await self.flush()  # what was read before the loss isn't lost
        lost = self._framer.lose(source, log_range.start)
        self._metrics.lost.labels(source).inc(lost)
        log.error("%d raw records of partition %d were gone by retention before they were read", lost, source)
        return log_range.start

    async def revoked(self, sources: frozenset[int]) -> None:
        """Give sources up: send and commit what is pending, then forget them."""
        await self.flush()
        for source in sources:
            self._framer.drop(source)
            self.silent_since.pop(source, None)
        if self._registrar is not None:
            await self._registrar.close()

    async def handle(self, chunk: Chunk) -> None:
        """Take one chunk of one source. Waits when too much is unsent."""
        began = time.monotonic()
        source = chunk.partition
        mark = self._framer.mark(source)
        if mark is None or chunk.next_offset <= mark.next_offset:
            return
        self.silent_since[source] = began
        for part, events, behind in self._parts(chunk, mark.next_offset):
            await self._take(source, part, events, behind, began)
            if behind < chunk.next_offset and not await self._goes_on():
                return
            began = time.monotonic()

    def _parts(self, chunk: Chunk, first: int) -> Iterator[tuple[Records, Events, int]]:
        """What the chunk holds from an offset on, in parts, and for each the offset behind it.

        Of batches one that can't be walked is a part of its own, so that it holds nothing up.
        """
        try:
            records = _from_offset(walk(chunk.batches), first)
        except Malformed as error:
            if len(chunk.batches) > 1:
                for each in _by_batch(chunk):
                    yield from self._parts(each, first)
                return
            log.error("%s, partition %d: %s: it is rejected whole", chunk.topic, chunk.partition, error)
            yield *malformed(chunk.batches[0]), chunk.next_offset
            return
        left = len(records.offset)
        for part, events in decode_in_parts(records, self._limits.max_record_bytes):
            left -= len(part.offset)
            yield part, events, int(part.offset[-1]) + 1 if left else chunk.next_offset

    async def _goes_on(self) -> bool:
        """Let others have their turn between two parts of a chunk; is it still this worker's after that?"""
        self._turn.went_on()
        await asyncio.sleep(0)
        return self._turn.going_on()

    async def _take(self, source: int, records: Records, events: Events, next_offset: int, began: float) -> None:
        mark = self._framer.mark(source)
        assert mark is not None
        await self._refuse_future(source, records)
        screened = await self._screen(records, events, mark.running_max)
        await self._refuse_if_overtaken(source, mark, screened)
        await self._keep_ahead(screened.running_max)
        await self._registry_sent()
        # Without a pause between: what a flush commits, it has sent the rejects of as well.
        self._refused += self._rejects(source, records, events, screened)
        self._framer.add(source, screened, next_offset)
        self._count(source, records, events, screened, time.monotonic() - began)
        self._look_at_pane()
        refused = len(self._refused)
        if refused >= MOST_REFUSED or self._framer.rows + refused >= self._limits.flush_rows:
            await self.flush()

    async def flush(self) -> None:
        """Send what is pending, wait until Kafka has it, then commit.

        Whoever is cancelled meanwhile, as all are when a worker is told to stop, leaves no flush half done: rejects
        would be told of records that nobody has committed, and that might be gone before they are read again.

        Raises:
            KafkaError: a send failed. The process must end: what follows in the producer may have overtaken it.
        """
        flushing = asyncio.create_task(self._flush())
        await asyncio.shield(told_elsewhere(flushing))

    async def _flush(self) -> None:
        async with self._flushing:
            flush = self._framer.take()
            if flush is None:
                return
            began = time.perf_counter()
            refused, self._refused = self._refused, []
            acks = await self._producer.send_many(self._topics.rejects, 0, refused)
            for target, frame in enumerate(flush.frames):
                acks.append(await self._producer.send(self._topics.sightings, frame, partition=target))
            await asyncio.gather(*acks)
            marks = {s: Committed(mark.next_offset, str(mark.running_max)) for s, mark in flush.marks.items()}
            await self._commits.write(marks)
            self._sent(flush, time.perf_counter() - began)

    def reached(self) -> dict[int, int]:
        """The running maximum of record times of each owned source that has been heard, ms."""
        return {source: at for source, at in self._framer.running_max().items() if at != NEVER_MS}

    async def keep_flushing(self) -> None:
        """Flush at the set interval, and when the watermark has passed a pane's end, for ever."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.flush_ms / 1000):
                    await self._pane_over.wait()
            self._pane_over.clear()
            await self.flush()

    def _look_at_pane(self) -> None:
        """If the sources' watermark has passed a pane's end, whoever waits for the pane waits for what is framed."""
        at_ms = self._framer.watermark_ms()
        if self._pane_end_ms is not None and at_ms < self._pane_end_ms:
            return
        epoch = self._context.epochs.find(at_ms)
        if self._pane_end_ms is not None:
            self._pane_over.set()
        panes = 0 if epoch is None else (at_ms - epoch.start_ms) // epoch.pane_ms
        self._pane_end_ms = None if epoch is None else epoch.start_ms + (panes + 1) * epoch.pane_ms

    async def _screen(self, records: Records, events: Events, running_max: int) -> Screened:
        while True:
            await self._registry_in_time()
            screened = screen(records, events, running_max, await self._in_force(running_max))
            if screened.needs_epoch is None:
                return screened
            await self._provide_epoch(screened.needs_epoch)
            self._check_plan(screened.needs_epoch)

    def _check_plan(self, ts_ms: int) -> None:
        epoch = self._context.epochs.find(ts_ms)
        known = epoch is None or self._context.cells.span(epoch.plan) is not None
        if epoch is not None and not known and epoch.epoch not in self._context.gone:
            raise unknown_plan(epoch.epoch)

    async def _in_force(self, running_max: int) -> Context:
        """What decides now. Nothing is sent by rules that may lack a suspension."""
        while not self._rules.fresh():
            self._readiness.waiting("policy", "the audit log has not been read for 4 s: nothing is sent meanwhile")
            await asyncio.sleep(REGISTRY_POLL_S)
        self._readiness.over("policy")
        return self._rules.at(running_max)

    async def _refuse_if_overtaken(self, source: int, mark: Mark, screened: Screened) -> None:
        """A salt goes when the group's commits have passed its epoch: one who still needs it may be a zombie.

        What it reads was counted by its successor, and must not be rejected as well.

        Raises:
            ThrongError: `overtaken` if another worker has committed more of the source than this one has.
        """
        if not (screened.rejected[1] == Reason.salt_gone).any():
            return
        committed = (await self._commits.read()).get(source)
        if committed is not None and committed.offset > mark.next_offset:
            raise ThrongError(
                "overtaken",
                f"partition {source} of {self._topics.attach} is committed up to {committed.offset} by another worker, "
                f"this one stopped at {mark.next_offset}: it begins anew",
            )

    async def _refuse_future(self, source: int, records: Records) -> None:
        """A broker's clock that is days ahead for a moment would leave the source out for as long, while no watermark
        waits for it: nothing is taken of that.

        Raises:
            ThrongError: `future` if a record is too far ahead of this machine's clock and of all other sources.
        """
        ahead_ms = self._limits.ahead_ms
        if ahead_ms is None or len(records.time) == 0:
            return
        place = int(records.time.argmax())
        latest_ms, own_ms = int(records.time[place]), time.time_ns() // 1_000_000
        if latest_ms <= own_ms + ahead_ms:
            return
        others = [mark.record_time_ms() for other, mark in (await self._commits.read()).items() if other != source]
        heard = [ms for ms in others if ms != NEVER_MS]
        if alone_ahead(latest_ms, own_ms, heard, ahead_ms):
            raise future(f"partition {source} of {self._topics.attach}, offset {records.offset[place]}", latest_ms)

    async def _keep_ahead(self, running_max: int) -> None:
        """Have the epochs written an hour before the source's record time reaches them."""
        if running_max == NEVER_MS:
            return
        table = self._context.epochs
        if table.horizon_ms is None:
            await self._provide_epoch(running_max - self._context.lateness_ms)
        while table.horizon_ms is not None and table.horizon_ms <= running_max + EPOCHS_AHEAD_MS:
            # After a long silence the days without any record need no epoch.
            await self._provide_epoch(max(table.horizon_ms, running_max - LONG_SILENCE_MS))

    async def _registry_in_time(self) -> None:
        """Nothing is sent by a registry that may lack the last seconds' opt-outs, or what was there before an epoch."""
        since = time.monotonic()
        while not self._registry_fresh():
            # An epoch's own reading takes a moment, and is nothing to be told of.
            if time.monotonic() - since > REGISTRY_PATIENCE_S:
                self._readiness.waiting("registry", "the registry has not been read for 5 s: nothing is sent meanwhile")
            await asyncio.sleep(REGISTRY_POLL_S)
        self._readiness.over("registry")

    async def _registry_sent(self) -> None:
        """Nothing is framed before the opt-outs that were there when this worker got its sources."""
        if self._registrar is None or self._context.epochs.opens_ms is None:
            return
        while self._registrar.behind:  # noqa: ASYNC110 - seldom, and short
            await asyncio.sleep(REGISTRY_POLL_S)

    def _rejects(self, source: int, records: Records, events: Events, screened: Screened) -> Iterator[Outgoing]:
        rows, reasons = screened.rejected
        columns = (records.offset[events.record[rows]], events.index[rows], events.start[rows], events.end[rows])
        where = ("topic", self._topics.attach.encode()), ("partition", b"%d" % source)
        lists = (column.tolist() for column in (*columns, reasons))
        for offset, index, start, end, reason in zip(*lists, strict=True):
            headers = [("reason", REASONS[reason]), *where, ("offset", b"%d" % offset), ("index", b"%d" % index)]
            if end - start > MOST_COPIED_BYTES:
                headers.append(("bytes", b"%d" % (end - start)))
                end = start + MOST_COPIED_BYTES
            value = None if reason == NULL_VALUE else records.payload[start:end].tobytes()
            # The key is the position, so that repeats after a restart can be told from others.
            yield Outgoing(b"%d-%d-%d" % (source, offset, index), value, headers)

    def _count(self, source: int, records: Records, events: Events, screened: Screened, seconds: float) -> None:
        metrics = self._metrics
        beats = int(np.count_nonzero(events.status == Reason.BEAT))
        metrics.records.labels(source).inc(len(records.offset))
        metrics.events.labels(source).inc(len(events.status) - beats)
        metrics.beats.labels(source).inc(beats)
        for reason, number in Counter(screened.rejected[1].tolist()).items():
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


def _mark(committed: Committed | None) -> Mark:
    if committed is None:
        return Mark(0, NEVER_MS)
    return Mark(committed.offset, committed.record_time_ms())


def _by_batch(chunk: Chunk) -> Iterator[Chunk]:
    """A chunk for each batch, the last of which covers what is behind it."""
    for batch in chunk.batches[:-1]:
        yield chunk._replace(batches=(batch,), next_offset=batch.next_offset)
    yield chunk._replace(batches=chunk.batches[-1:])


def _from_offset(records: Records, first: int) -> Records:
    """Without the records below `first`: a batch that begins before the position comes whole."""
    if len(records.offset) == 0 or records.offset[0] >= first:
        return records
    keep = int(np.searchsorted(records.offset, first))
    return Records(
        records.offset[keep:], records.time[keep:], records.start[keep:], records.end[keep:], records.payload
    )
