"""The gateway's and the crowd's core in one: raw record batches in, exact panes out, without a log between.

The same functions in the same order as in a deployment, so the same panes; for replays without servers and for tests.
In: runs of records of one source, in the order of its log, and of the registry, which holds no watermark here; epochs
and salts are asked for. Out: panes.
"""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.panes import Pane
from schemas.rejects import Reason
from schemas.sightings import REGISTRY_SOURCE, encode_control
from streams.core.crowd.crowd import Crowd
from streams.core.events.decode import decode, events_in
from streams.core.events.records import Records
from streams.core.gateway.consents import RegistryRecord, announce
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import NEVER_MS, Context, Screened, screen


class Inline:
    """A deployment of `sources` raw partitions in memory.

    Args:
        provide: makes an epoch and its salt for an event time, puts them into the context's tables, and returns the
            epoch. parents: u16[zones]. positions: of the zones, as in `distances`; None: no jump is impossible.
    """

    def __init__(
        self,
        context: Context,
        provide: Callable[[int], Epoch],
        parents: NDArray[np.uint16],
        sources: int,
        max_record_bytes: int,
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        self._context = context
        self._provide = provide
        self._limit = max_record_bytes
        self._framer = Framer(context.partitions, context.watermark_ms)
        self._highest = dict.fromkeys(range(sources), NEVER_MS)
        self._offsets = dict.fromkeys(range(sources), 0)
        self.crowds = [Crowd(partition, parents, positions) for partition in range(context.partitions)]
        for epoch in context.epochs.epochs:
            self._add(epoch)
        for source in range(sources):
            self._framer.open(source, Mark(0, NEVER_MS))
        for crowd in self.crowds:
            crowd.feed(encode_control(1, list(range(sources))), 0)
        self._frames = 0
        self.events = 0
        self.rejects: Counter[str] = Counter()
        self.drops: Counter[str] = Counter()

    def take(self, source: int, records: Records) -> Screened:
        """Take the next records of a source. Their offsets are counted anew from 0, also in the rows returned."""
        number = len(records.offset)
        first = self._offsets[source]
        records = records._replace(offset=np.arange(first, first + number))
        events = decode(records, self._limit)
        screened = screen(records, events, self._highest[source], self._context)
        while screened.needs_epoch is not None:
            self._add(self._provide(screened.needs_epoch))
            screened = screen(records, events, self._highest[source], self._context)
        self._framer.add(source, screened, first + number)
        self._highest[source] = screened.running_max
        self._offsets[source] = first + number
        self.events += events_in(events)
        self.rejects.update(Reason(code).name for code in screened.rejected[1].tolist())
        self.drops.update(screened.dropped)
        return screened

    def taken(self, source: int) -> int:
        """How many records of a source have been taken."""
        return self._offsets[source]

    @property
    def reached_ms(self) -> dict[int, int | None]:
        """By source the largest record time that was taken; None: no record."""
        return {source: None if at == NEVER_MS else at for source, at in self._highest.items()}

    def announce(self, partition: int, records: Sequence[RegistryRecord]) -> None:
        """Take the next records of a partition of the registry; their offsets are counted anew from 0."""
        source = REGISTRY_SOURCE + partition
        mark = self._framer.mark(source)
        if mark is None:
            mark = Mark(0, NEVER_MS)
            self._framer.open(source, mark)
        records = [record._replace(offset=mark.next_offset + n) for n, record in enumerate(records)]
        rows = announce(records, mark.running_max, self._context)
        while rows.needs_epoch is not None:
            self._add(self._provide(rows.needs_epoch))
            rows = announce(records, mark.running_max, self._context)
        self._framer.add(source, rows, mark.next_offset + len(records))

    def count(self) -> list[Pane]:
        """Count what was taken since the last call; returns the panes that it closes."""
        flush = self._framer.take()
        if flush is None:
            return []
        self._frames += 1
        return [
            pane
            for crowd, frame in zip(self.crowds, flush.frames, strict=True)
            for pane in crowd.feed(frame, self._frames)
        ]

    def _add(self, epoch: Epoch) -> None:
        for crowd in self.crowds:
            crowd.add_epoch(epoch)
