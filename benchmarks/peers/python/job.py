"""The job in plain functions and two small classes, the same for all peers written in Python.

    record value -> Reader -> (pseudonym, zone, pane) of each valid event -> Crowd -> sums by pane -> output record

No framework is known here; each peer calls these where its framework wants such work done. Hot paths are written for
CPython: typed decoding, one keyed hash prepared once and copied, packed integers as state, lists as counters.
"""

import hashlib
from collections.abc import Iterable, MutableMapping
from typing import Annotated, Final, NamedTuple

import msgspec
import orjson
from msgspec import Meta

EARLIEST_MS: Final = 946_684_800_000
LATEST_MS: Final = 4_102_444_800_000
COUNTRIES: Final = frozenset([b"001", *(b"%d" % code for code in range(200, 800))])
SALT: Final = bytes(range(32))
PERSON: Final = b"throng.imsi"
SPAN: Final = 3  # panes of the sliding window
PART: Final = 25_000  # events that are told together at most
_ZONE_BITS: Final = 16
_ZONE_MASK: Final = (1 << _ZONE_BITS) - 1

Row = tuple[bytes, int, int]


class Event(msgspec.Struct, gc=False):
    """The fields that the job needs, as throng's contract (schemas/attach.py) has them; others are passed over."""

    event_id: Annotated[str, Meta(min_length=1, max_length=64)]
    imsi: str
    ts: Annotated[int, Meta(ge=EARLIEST_MS, lt=LATEST_MS)]
    cell: str


class Rows(NamedTuple):
    """What a record holds: a row for each event that counts, and how many do not."""

    rows: list[Row]
    rejected: int


class Reader:
    """Decodes, validates and pseudonymises. A row is (pseudonym, zone, pane)."""

    def __init__(self, zones: dict[str, int], start_ms: int, pane_ms: int, batched: bool) -> None:
        self.read = self._array if batched else self._single
        self._zones = zones
        self._start_ms, self._pane_ms = start_ms, pane_ms
        self._hash = hashlib.blake2b(key=SALT, digest_size=8, person=PERSON)
        self._event = msgspec.json.Decoder(Event).decode
        self._events = msgspec.json.Decoder(list[Event]).decode
        self._parts = msgspec.json.Decoder(list[msgspec.Raw]).decode

    def _single(self, value: bytes) -> Rows:
        try:
            event = self._event(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Rows([], 1)
        return self._rows((event,))

    def _array(self, value: bytes) -> Rows:
        try:
            return self._rows(self._events(value))
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._one_by_one(value)  # its faulty events may not take the others with them

    def _one_by_one(self, value: bytes) -> Rows:
        try:
            parts = self._parts(value)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return Rows([], 1)
        found = [self._single(part) for part in parts]
        return Rows([row for rows, _ in found for row in rows], sum(rejected for _, rejected in found))

    def _rows(self, events: Iterable[Event]) -> Rows:
        zones, start_ms, pane_ms, prepared = self._zones, self._start_ms, self._pane_ms, self._hash
        rows, rejected = [], 0
        for event in events:
            zone = zones.get(event.cell)
            imsi = event.imsi.encode()
            if zone is None or imsi[:3] not in COUNTRIES or not 14 <= len(imsi) <= 15 or not imsi.isdigit():
                rejected += 1
                continue
            keyed = prepared.copy()
            keyed.update(imsi)
            rows.append((keyed.digest(), zone, (event.ts - start_ms) // pane_ms))
        return Rows(rows, rejected)


class Pane:
    """The sums of one pane."""

    __slots__ = ("arrivals", "events", "present", "recent", "trips")

    def __init__(self, zones: int) -> None:
        self.events = 0
        self.present = [0] * zones
        self.recent = [0] * zones
        self.arrivals = [0] * zones
        self.trips: dict[int, int] = {}

    def record(self, number: int, rejected: int) -> bytes:
        """The output record of pane `number`."""
        trips = {f"{pair >> _ZONE_BITS}-{pair & _ZONE_MASK}": count for pair, count in self.trips.items()}
        counters = {name: _sparse(getattr(self, name)) for name in ("present", "recent", "arrivals")}
        return orjson.dumps({"pane": number, "events": self.events, "rejected": rejected, **counters, "trips": trips})


class Panes(dict[int, Pane]):
    """Panes by number, each made when it is first asked for."""

    def __init__(self, zones: int) -> None:
        super().__init__()
        self._zones = zones

    def __missing__(self, number: int) -> Pane:
        self[number] = Pane(self._zones)
        return self[number]


def _sparse(counts: list[int]) -> dict[str, int]:
    return {str(zone): count for zone, count in enumerate(counts) if count}


def place(zone: int, pane: int) -> int:
    """What is kept of a subscriber."""
    return pane << _ZONE_BITS | zone


class Crowd:
    """Where the subscribers of some partitions are, and what hasn't been told yet, by pane.

    `last` by pseudonym: `place` of the last event.
    """

    def __init__(self, zones: int, partitions: Iterable[int], part: int = PART) -> None:
        self.last: MutableMapping[bytes, int] = {}
        self._zones, self._part = zones, part
        self._panes = Panes(zones)
        self._reached = dict.fromkeys(partitions, 0)
        self._passed = 0
        self._events = self._rejected = 0

    def take(self, partition: int, found: Rows) -> list[bytes]:
        """Count what a record holds. Returns what is to be told: when all partitions have passed a pane, or when a
        part is full."""
        rows, rejected = found
        self._rejected += rejected
        if not rows:
            return []
        self.hear(rows)
        self._events += len(rows)
        if rows[-1][2] > self._reached[partition]:
            self._reached[partition] = rows[-1][2]
            passed = min(self._reached.values())
            if passed > self._passed:
                self._passed = passed
                return self.tell()
        return self.tell() if self._events >= self._part else []

    def hear(self, rows: Iterable[Row]) -> None:
        """Count events; those of a subscriber come in the order of event time."""
        last, panes = self.last, self._panes
        get = last.get
        for who, zone, pane in rows:
            here = panes[pane]
            here.events += 1
            at = pane << _ZONE_BITS | zone
            before = get(who)
            if before == at:
                continue
            last[who] = at
            if before is not None:
                left, then = before & _ZONE_MASK, before >> _ZONE_BITS
                for number in range(pane, then + SPAN):
                    panes[number].recent[left] -= 1
            for number in range(pane, pane + SPAN):
                panes[number].recent[zone] += 1
            if before is None:
                here.present[zone] += 1
                here.arrivals[zone] += 1
            elif left != zone:
                here.present[left] -= 1
                here.present[zone] += 1
                here.arrivals[zone] += 1
                trip = left << _ZONE_BITS | zone
                here.trips[trip] = here.trips.get(trip, 0) + 1

    def tell(self) -> list[bytes]:
        """The output records of all that hasn't been told; the last pane first, so that no event is told before
        what follows from it."""
        records = []
        for number in sorted(self._panes, reverse=True):
            records.append(self._panes[number].record(number, self._rejected))
            self._rejected = 0
        self._panes = Panes(self._zones)
        self._events = 0
        return records
