"""What follows from released records, live: outlooks, made of the ledger's own words as they come.

In: the valid records of the ledger, in the order of the log. Out: for people present at the end of a quarter of an hour
the records of the topic `outlook`. Kept: what is usual (`usual.Kept`), and the last outlooks, for whoever must publish
them once more. Nothing is drawn and nothing is charged: what was released is all that goes in.

A pure function of the log: whoever reads it makes the same bytes. So that nobody has to read years for that, what is
usual has a beginning: blocks of four weeks are counted from 1970, and a block's outlooks are of what is in the ledger
since the block before began. That is why two are kept: the one that speaks, and the one that will in the next block.
Of a new plan the places go on whose ids it keeps. For another purpose nothing goes on.

Reading is fast and working it out is not: so records wait until somebody works them out, in a thread, and the words are
found for those alone that are asked for. `outlook.Outlooks` does the same record by record: the reference.
"""

from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from schemas.ledger import LedgerRecord, Publication
from schemas.topics import OUTLOOK
from streams.core.derived import usual
from streams.core.derived.outlook import Place, Said, clock_of, words
from streams.core.derived.usual import QUARTER_MS, Floats, Skill
from streams.core.release.release import publications

BLOCK_MS: Final = 28 * 86_400_000
# So many panes' outlooks are at hand to be published again: of those behind them whoever drew the pane has done it.
AT_HAND: Final = 8
PRESENT: Final = "present"
Key = tuple[int, int]


def since_ms(at_hand_ms: int) -> int:
    """From when on a release matters for what follows from one that ends then, or later."""
    return (at_hand_ms // BLOCK_MS - 1) * BLOCK_MS


class Following:
    """The outlooks of a deployment. `timezone`: whose weekdays and hours count."""

    def __init__(self, timezone: str) -> None:
        self._zone = ZoneInfo(timezone)
        self._waiting = deque[LedgerRecord]()
        self._usual: dict[int, _Usual] = {}
        self._said: dict[Key, Said] = {}
        self._recent = deque[LedgerRecord](maxlen=AT_HAND)
        self._newest = deque[int](maxlen=AT_HAND)
        self._done_ms: int | None = None

    def take(self, record: LedgerRecord) -> None:
        """Take up the next valid record of the ledger."""
        if record.measure != PRESENT or record.kind != "release" or record.end_ms % QUARTER_MS:
            return
        if self._newest and record.end_ms <= self._newest[-1]:
            return
        if self._done_ms is None:
            self._done_ms = record.end_ms - QUARTER_MS
        self._newest.append(record.end_ms)
        self._waiting.append(record)
        # What none is made of that is at hand, or later, is let go.
        while self._waiting[0].end_ms // BLOCK_MS < self._newest[0] // BLOCK_MS - 1:
            self._waiting.popleft()

    def waiting(self, record: LedgerRecord | None = None) -> list[LedgerRecord]:
        """What was taken up up to a record, or all of it, and not worked out yet: for `work_out`, once."""
        found = len(self._waiting)
        if record is not None:
            found = sum(each.end_ms <= record.end_ms for each in self._waiting) if record.measure == PRESENT else 0
        return [self._waiting.popleft() for _ in range(found)]

    def work_out(self, waiting: Sequence[LedgerRecord], last: Sequence[LedgerRecord] = ()) -> None:
        """Work out what follows from them. Others may be taken up meanwhile, but nothing else may be asked.

        Args:
            last: where these are but a part, the last `AT_HAND` of the whole.
        """
        if not waiting:
            return
        # Of a block of which nothing is at hand afterwards, nothing need be said: it is only learnt.
        speaks = (last or waiting[-AT_HAND:])[0].end_ms // BLOCK_MS
        for record in waiting:
            self._work_out(record, speaks)
            self._done_ms = record.end_ms

    def behind_ms(self) -> int:
        """Event time from the last pane that was worked out to the last that was taken up."""
        return self._newest[-1] - self._done_ms if self._done_ms is not None else 0

    def of(self, record: LedgerRecord) -> Sequence[Publication]:
        """What follows from one of the last records that were worked out: nothing of most."""
        said = self._said.get((record.epoch, record.number)) if record.measure == PRESENT else None
        if said is None:
            return ()
        return [Publication(OUTLOOK, each.zone.encode(), msgspec.json.encode(each)) for each in words(said)]

    def skill(self, record: LedgerRecord) -> Skill | None:
        """How good the forecasts were up to that record; None where `of` has nothing."""
        said = self._said.get((record.epoch, record.number))
        return usual.skill(said.forecasts) if said is not None else None

    def recent(self) -> Sequence[LedgerRecord]:
        """The last records that something may follow from: of those before, it has been published for long."""
        return tuple(self._recent)

    def _work_out(self, record: LedgerRecord, speaks: int) -> None:
        pane = _pane_of(record)
        if pane is None:
            return
        block = record.end_ms // BLOCK_MS
        self._usual = {begun: self._usual.get(begun) or _Usual(self._zone) for begun in (block - 1, block)}
        self._usual[block].take(pane)
        if block < speaks:
            return
        self._said[record.epoch, record.number] = self._usual[block - 1].take(pane)
        self._recent.append(record)
        if len(self._said) > AT_HAND:
            del self._said[next(iter(self._said))]


class _Word(msgspec.Struct):
    """Of a record of people present (`schemas.released.Footfall`) what outlooks are made of."""

    schema: Literal["footfall/1"]
    measure: str
    level: Literal["zone", "parent"]
    zone: str
    end: str
    plan: str
    covered: float
    complete: bool
    purpose: str = ""
    estimate: float | None = None
    se: float | None = None


class _Pane(NamedTuple):
    """A pane: its places, what all of its records say alike, and f64[places]: NaN where nothing whole was told."""

    end_ms: int
    end: str
    plan: str
    purpose: str
    places: list[Place]
    now: Floats
    se: Floats


_TOLD: Final = attrgetter("estimate", "se")
_decoder: Final = msgspec.json.Decoder(_Word)


def _pane_of(record: LedgerRecord) -> _Pane | None:
    """Zones first. None of a release with another schema: what is usual begins after it."""
    try:
        found = [_decoder.decode(item.value) for item in publications(record)]
    except msgspec.ValidationError:
        return None
    of = [each for level in ("zone", "parent") for each in found if each.level == level and each.measure == PRESENT]
    if not of:
        return None
    numbers = np.array([_TOLD(each) for each in of], np.float64).reshape(len(of), 2)
    numbers[np.isnan(numbers).any(axis=1) | ~np.array([each.complete and each.covered == 1 for each in of])] = np.nan
    now, se = np.ascontiguousarray(numbers.T)
    first = of[0]
    return _Pane(record.end_ms, first.end, first.plan, first.purpose, [(e.level, e.zone) for e in of], now, se)


class _Usual:
    """What is usual since a block began."""

    def __init__(self, zone: ZoneInfo) -> None:
        self._zone = zone
        self._purpose = ""
        self._begin()

    def _begin(self) -> None:
        self._plan: str | None = None
        self._places: list[Place] = []
        self._kept = usual.nothing(0)

    def take(self, pane: _Pane) -> Said:
        """Take up a pane. The places are those that the plan's first pane told of: all that a plan has."""
        if pane.purpose != self._purpose:
            self._purpose = pane.purpose
            self._begin()
        if pane.plan != self._plan:
            self._plan = pane.plan
            before = {place: number for number, place in enumerate(self._places)}
            self._places = pane.places
            comes_from = np.array([before.get(place, -1) for place in self._places], np.int64)
            self._kept = usual.moved(self._kept, comes_from)
        now, se = pane.now, pane.se
        if pane.places != self._places:
            told = {place: number for number, place in enumerate(pane.places)}
            at = np.array([told.get(place, -1) for place in self._places], np.int64)
            now, se = (np.where(at < 0, np.nan, numbers[at]) for numbers in (now, se))
        clock = clock_of(pane.end_ms, self._zone)
        compared, forecasts = usual.take(self._kept, clock, now, se)
        return Said(self._places, pane.end, pane.plan, pane.purpose, clock, now, se, compared, forecasts)
