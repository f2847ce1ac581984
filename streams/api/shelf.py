"""Released records at hand: of each topic and place the last hours, as they were published. No I/O, no clock."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from schemas.topics import AREAS, DWELL, FLOWS, FOOTFALL, HOUR_MS, OUTLOOK, VISITS
from streams.core.times import instant

# Measures' panes are released in turn: a record may come behind one of a pane that ended so much later, none more.
LATE_MS: Final = 2 * HOUR_MS
# Places of which nothing comes any more are looked for this often, in event time.
SWEEP_MS: Final = HOUR_MS
SCOPES: Final = {
    FOOTFALL: "footfall:read",
    FLOWS: "flows:read",
    DWELL: "dwell:read",
    VISITS: "visits:read",
    AREAS: "areas:read",
    OUTLOOK: "footfall:read",  # made of people present alone
}


class _Read(msgspec.Struct):
    """What a record is found by. An outlook names no measure: it is of people present."""

    end: str
    plan: str
    measure: str = "present"
    purpose: str = ""
    zone: str = ""
    origin: str = ""
    destination: str = ""
    window_s: int = 0
    age_band: str = ""
    gender: str = ""
    band: str = ""
    bucket: str = ""
    visit: str = ""
    kind: str = ""
    area: str = ""
    unknown: bool = False


class Item(NamedTuple):
    """A released record. `place`: zone, or origin of a flow. `value`: as published. `part`: the length of its pane, and
    of which part of the place's count it is: by it, measure, place and end it is one of its kind."""

    topic: str
    place: str
    destination: str
    measure: str
    end_ms: int
    plan: str
    scope: str
    value: bytes
    part: tuple[object, ...] = ()

    @property
    def which(self) -> tuple[object, ...]:
        """What no other record of the place has."""
        return self.measure, self.end_ms, self.destination, self.part


def item_of(topic: str, value: bytes, purpose: str) -> Item | None:
    """A published record; None if it is of another purpose.

    Raises:
        ValueError: it is no released record.
    """
    read = msgspec.json.decode(value, type=_Read)
    if read.purpose != purpose:
        return None
    scope = f"{purpose}:{'cohorts:read' if read.age_band else SCOPES[topic]}"
    end_ms = instant(read.end)
    named = read.age_band, read.gender, read.band, read.bucket, read.visit, read.kind, read.area, read.unknown
    part = (read.window_s, *filter(None, named))
    return Item(topic, read.zone or read.origin, read.destination, read.measure, end_ms, read.plan, scope, value, part)


class Shelf:
    """Keeps `history_ms` of event time, counted from the newest pane. A repeat of a record is kept once.

    What was released stands: of two that differ, and are of one place, pane and part, the first is kept. An outlook
    gives way to the last, since another version may work it out otherwise.
    """

    def __init__(self, history_ms: int) -> None:
        self.history_ms = history_ms
        self._of: dict[tuple[str, str], dict[tuple[object, ...], Item]] = {}
        self._newest: dict[tuple[str, str], int] = {}
        self._swept_ms = 0
        self.newest_ms = 0
        self.plan = ""

    def put(self, item: Item) -> bool:
        """Keep it; whether it is new and within the history."""
        if item.end_ms > self.newest_ms:
            self.newest_ms, self.plan = item.end_ms, item.plan
        if item.end_ms <= self.newest_ms - self.history_ms:
            return False
        if self.newest_ms >= self._swept_ms + SWEEP_MS:
            self._sweep()
        there = self._of.setdefault((item.topic, item.place), {})
        self._drop(there)
        named = item.topic, item.measure
        self._newest[named] = max(item.end_ms, self._newest.get(named, 0))
        before = there.get(item.which)
        if before is None or item.topic == OUTLOOK:
            there[item.which] = item
        return before is None or (item.topic == OUTLOOK and before.value != item.value)

    def contradicts(self, item: Item) -> bool:
        """Is another kept that says otherwise?"""
        before = self._of.get((item.topic, item.place), {}).get(item.which)
        return before is not None and before.value != item.value and item.topic != OUTLOOK

    def _drop(self, there: dict[tuple[object, ...], Item]) -> None:
        """Let go of a place's first records that are older than the history."""
        while there and (first := next(iter(there.values()))).end_ms <= self.newest_ms - self.history_ms:
            del there[first.which]

    def _sweep(self) -> None:
        """The same of all places: of one that a new plan has no more, nothing comes by which it would be done."""
        for there in self._of.values():
            self._drop(there)
        self._of = {named: there for named, there in self._of.items() if there}
        since = self.newest_ms - self.history_ms
        self._newest = {named: end_ms for named, end_ms in self._newest.items() if end_ms > since}
        self._swept_ms = self.newest_ms

    def of(self, topic: str, place: str, from_ms: int, to_ms: int) -> Iterator[Item]:
        """Records of a place whose panes end in (from_ms, to_ms]."""
        since = max(from_ms, self.newest_ms - self.history_ms)
        return (item for item in self._of.get((topic, place), {}).values() if since < item.end_ms <= to_ms)

    def every(self, topic: str, from_ms: int, to_ms: int) -> Iterator[Item]:
        """The same of all places."""
        return (item for name, place in self._of if name == topic for item in self.of(topic, place, from_ms, to_ms))

    def newest(self, topic: str, measure: str) -> Iterator[Item]:
        """Records of all places of the measure's newest pane."""
        end_ms = self._newest.get((topic, measure), 0)
        for (name, _), there in self._of.items():
            if name == topic:
                yield from _of_pane(reversed(there.values()), measure, end_ms)

    def knows(self, topic: str, place: str) -> bool:
        """Was anything told of the place?"""
        return (topic, place) in self._of

    def leads(self, topic: str, destination: str) -> bool:
        """Was a flow to the place told?"""
        return any(item.destination == destination for item in self.every(topic, 0, self.newest_ms))

    def tells(self, topic: str, measure: str) -> bool:
        """Was anything told by the measure, of any place?"""
        return (topic, measure) in self._newest


def _of_pane(backwards: Iterator[Item], measure: str, end_ms: int) -> Iterator[Item]:
    """Those of the pane, the newest records first: none of it comes behind one that is so much older."""
    for item in backwards:
        if item.end_ms < end_ms - LATE_MS:
            return
        if item.end_ms == end_ms and item.measure == measure:
            yield item
