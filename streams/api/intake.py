"""From the released topics to the shelf: what is new is handed on, what no release wrote is passed over, counted, and
told in the log by its place alone.

What is of an epoch that isn't known is passed over too, but kept aside, up to `MOST_ASIDE` records a topic, the last
ones: a replay publishes releases of days that it opens afterwards.
"""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from schemas.epochs import Epoch
from streams.api.edge import Edge, Foreign, Unopened
from streams.api.shelf import Item, Shelf
from streams.metrics import ApiMetrics
from streams.stores.published import Record

log = logging.getLogger("throng.api")

MOST_ASIDE: Final = 20_000


class Read(Record, Protocol):
    """A record as Kafka's client has it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


class Epochs(Protocol):
    """The epochs that are known (`stores.epochs.EpochReader`)."""

    records: list[Epoch]

    async def refresh(self) -> list[Epoch]: ...


class Intake:
    """Of one API. `epochs`: the edge goes by its table."""

    def __init__(self, edge: Edge, shelf: Shelf, epochs: Epochs, metrics: ApiMetrics) -> None:
        self._edge, self._shelf, self._epochs, self._metrics = edge, shelf, epochs, metrics
        self._aside: dict[str, deque[Read]] = {}
        self._known: dict[str, int] = {}

    async def take(self, topic: str, records: Sequence[Read]) -> list[Item]:
        """Put them on the shelf; returns what is new."""
        self._metrics.records.labels(topic).inc(len(records))
        aside = self._aside.setdefault(topic, deque(maxlen=MOST_ASIDE))
        new, foreign, unopened = self._sifted(topic, records)
        if unopened:
            await self._epochs.refresh()
            more, wrong, unopened = self._sifted(topic, unopened)
            new, foreign = new + more, foreign + wrong + unopened
            aside.extend(unopened)
        if foreign:
            self._metrics.foreign.labels(topic).inc(len(foreign))
            where = f"{foreign[0].topic}, partition {foreign[0].partition}, offset {foreign[0].offset}"
            log.error("%s: passed over, as no release of throng wrote it; so are %d after it", where, len(foreign) - 1)
        if len(self._epochs.records) != self._known.get(topic, 0):
            self._known[topic] = len(self._epochs.records)
            more, _, left = self._sifted(topic, list(aside))
            new += more
            aside.clear()
            aside.extend(left)
        return new

    def _sifted(self, topic: str, records: Sequence[Read]) -> tuple[list[Item], list[Read], list[Read]]:
        """What is new, which records no release wrote, and which are of no epoch that is known."""
        new: list[Item] = []
        foreign: list[Read] = []
        unopened: list[Read] = []
        for record in records:
            try:
                item = self._edge.read(topic, record)
            except Unopened:
                unopened.append(record)
            except Foreign:
                foreign.append(record)
            else:
                if item is not None and self._shelf.contradicts(item):
                    foreign.append(record)
                elif item is not None and self._shelf.put(item):
                    new.append(item)
        return new, foreign, unopened
