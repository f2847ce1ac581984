"""The registry's way into `sightings`: opt-outs and opt-ins, sent by the gateways beside their raw sources.

In: all partitions of `registry`, read by the gateway that owns raw partition 0 (there is always one, and no more, while
others are added), from where the gateway's group has committed them. Out: rows (`core.consents`) into the gateway's
framer, as sections of source `REGISTRY_SOURCE + number`: so they are chained, flushed and committed in one with the raw
sources, and given up with them. Kept: nothing that the log doesn't have; of that, whom it has taken out of an epoch.

That gateway handles raw events only once it has read the registry up to where it ended when it got its sources
(`behind`): what was in the registry before stands in `sightings` before the first section of raw partition 0.

What can fail: reading Kafka, or a registry that was made anew (the process ends).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

from aiokafka.errors import KafkaTimeoutError

from schemas.epochs import Epoch
from schemas.registry import BEAT_KEY
from schemas.sightings import REGISTRY_SOURCE
from streams.agents.commits import Committed
from streams.core.gateway.consents import Barred, RegistryRecord, announce
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.future import MOST_AHEAD_MS, alone_ahead, future
from streams.core.gateway.gateway import NEVER_MS, Context
from streams.core.gateway.lateness import behind
from streams.core.gateway.policy import PolicyTable
from streams.metrics import GatewayMetrics

log = logging.getLogger("throng.registrar")

WAIT_S: Final = 0.1
# A registry record has its own time; broker stamps of a partition don't go back, so none can be late.
LATENESS_MS: Final = 0
# Whoever owns this raw partition reads the registry.
READER_OF: Final = 0


class Stretch(Protocol):
    """Consecutive records of one partition, and the offset behind them."""

    @property
    def records(self) -> list[RegistryRecord]: ...
    @property
    def next_offset(self) -> int: ...


class Log(Protocol):
    """What reads the registry (`stores.registry.RegistryLog`)."""

    async def place(self, begins: Mapping[int, int], since_ms: int) -> dict[int, tuple[int, int]]: ...
    async def poll(self) -> Mapping[int, Stretch]: ...


class Registrar:
    """The registry's partitions, if this gateway reads them.

    Args:
        partitions: how many the registry has.
        provide: has the epoch and the salt of an event time in the context. know_epochs: takes up those written by now.
        policies: who may be used in an epoch, as of now. live: see `announce`.
    """

    def __init__(
        self,
        registry: Log,
        framer: Framer,
        context: Context,
        partitions: int,
        provide: Callable[[int], Awaitable[None]],
        know_epochs: Callable[[], Awaitable[object]],
        metrics: GatewayMetrics,
        policies: Callable[[Epoch], PolicyTable] | None = None,
        live: bool = False,
    ) -> None:
        self._registry = registry
        self._framer = framer
        self._context = context
        self._partitions = partitions
        self._provide = provide
        self._know_epochs = know_epochs
        self._metrics = metrics
        self._policies = policies
        self._live = live
        self._barred: Barred | None = None
        self._left: dict[int, int] = {}  # the offsets at which partitions were given up
        self._turn = asyncio.Lock()
        self._unplaced = False
        self._until: dict[int, int] = {}  # where partitions ended when they were taken up, until they are read so far
        self.silent_since: dict[int, float] = {}  # of the partitions that are taken up, monotonic s

    @property
    def behind(self) -> bool:
        """Whether a partition has not been read yet up to where it ended when it was taken up."""
        return self._unplaced or bool(self._until)

    async def open(self, raw: Collection[int], committed: Mapping[int, Committed]) -> None:
        """Take up the registry where the group's commits say, if partition 0 is among these raw ones."""
        async with self._turn:
            self._until, self.silent_since = {}, {}
            for number in range(self._partitions if READER_OF in raw else 0):
                at = committed.get(REGISTRY_SOURCE + number)
                mark = Mark(0, NEVER_MS) if at is None else Mark(at.offset, at.record_time_ms())
                self._framer.open(REGISTRY_SOURCE + number, mark, behind(LATENESS_MS))
                self.silent_since[number] = time.monotonic()
            self._unplaced = bool(self.silent_since)
            marks = {number: self._mark(number) for number in self.silent_since}
            # Who has them again after a rebalance, and nobody read on meanwhile, still knows whom they have taken out.
            if marks and {number: mark.next_offset for number, mark in marks.items()} != self._left:
                self._barred = Barred(max(mark.running_max for mark in marks.values()))

    async def close(self) -> None:
        """Give all partitions up; what is pending has been sent, or is sent by whoever is next."""
        async with self._turn:
            self._left = {number: self._mark(number).next_offset for number in self.silent_since}
            for number in self.silent_since:
                self._framer.drop(REGISTRY_SOURCE + number)
            self.silent_since = {}
            self._until = {}
            self._unplaced = False
            await self._registry.place({}, 0)

    async def keep_reading(self) -> None:
        """Read on, for ever."""
        while True:
            async with self._turn:
                await self._read()
            await asyncio.sleep(0)

    async def _read(self) -> None:
        if self._unplaced and not await self._place():
            await asyncio.sleep(WAIT_S)
            return
        for number, stretch in (await self._registry.poll()).items():
            await self._take(number, stretch)

    async def _place(self) -> bool:
        """Begin to read, once the deployment's first epoch is known: what is older needs no row."""
        if self._context.epochs.opens_ms is None:
            await self._know_epochs()
        opens_ms = self._context.epochs.opens_ms
        if opens_ms is None:
            return False
        begins = {number: self._mark(number).next_offset for number in self.silent_since}
        try:
            placed = await self._registry.place(begins, opens_ms)
        except KafkaTimeoutError:
            return False  # Kafka is away: it is asked again
        for number, (begin, end) in placed.items():
            mark = self._mark(number)
            if begin > mark.next_offset and mark.next_offset:
                lost = self._framer.lose(REGISTRY_SOURCE + number, begin)
                self._metrics.lost.labels(REGISTRY_SOURCE + number).inc(lost)
                log.error("%d records of partition %d of the registry were deleted before they were read", lost, number)
            elif begin > mark.next_offset:
                self._framer.add(REGISTRY_SOURCE + number, announce([], mark.running_max, self._context), begin)
            if begin < end:
                self._until[number] = end
        self._unplaced = False
        return True

    async def _take(self, number: int, stretch: Stretch) -> None:
        mark = self._mark(number)
        records = [record for record in stretch.records if record.offset >= mark.next_offset]
        if stretch.next_offset <= mark.next_offset:
            return
        self._refuse_future(number, records)
        if any(record.key != BEAT_KEY for record in records):
            # The next epoch, written by another gateway, has a pseudonym of everybody already.
            await self._know_epochs()
        how = self._context, self._policies, self._live, self._barred if self._live else None
        while (rows := announce(records, mark.running_max, *how)).needs_epoch is not None:
            await self._provide(rows.needs_epoch)
        self._framer.add(REGISTRY_SOURCE + number, rows, stretch.next_offset)
        self.silent_since[number] = time.monotonic()
        self._metrics.registry_records.inc(len(records))
        self._metrics.registry_rows.inc(len(rows.ts))
        if self._until.get(number, stretch.next_offset + 1) <= stretch.next_offset:
            del self._until[number]

    def _refuse_future(self, number: int, records: Sequence[RegistryRecord]) -> None:
        """An opt-out of days ahead, by a broker's clock that was wrong for a moment, would take nobody out until then.

        Raises:
            ThrongError: `future` if a record is too far ahead of this machine's clock and of the raw sources.
        """
        latest = max(records, key=lambda record: record.time_ms, default=None)
        if not self._live or latest is None:
            return
        raw = [ms for source, ms in self._framer.running_max().items() if source < REGISTRY_SOURCE and ms != NEVER_MS]
        if alone_ahead(latest.time_ms, time.time_ns() // 1_000_000, raw, MOST_AHEAD_MS):
            raise future(f"partition {number} of the registry, offset {latest.offset}", latest.time_ms)

    def _mark(self, number: int) -> Mark:
        mark = self._framer.mark(REGISTRY_SOURCE + number)
        if mark is None:
            raise RuntimeError("the framer has lost a source that is open")
        return mark
