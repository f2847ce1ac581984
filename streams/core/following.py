"""What follows from released records, live: outlooks, made of the ledger's own words as they come.

In: the valid records of the ledger, in the order of the log. Out: for people present at the end of a quarter of an hour
the records of the topic `outlook`. Kept: what is usual (`usual.Kept`), and the last outlooks, for whoever must publish
them once more. Nothing is drawn and nothing is charged: what was released is all that goes in.

A pure function of the log: whoever reads it makes the same bytes. So that nobody has to read years for that, what is
usual has a beginning: blocks of four weeks are counted from 1970, and a block's outlooks are of what is in the ledger
since the block before began. That is why two are kept: the one that speaks, and the one that will in the next block.
Of a new plan the places go on whose ids it keeps.

Reading is fast and working it out is not: so records wait until somebody works them out, in a thread.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.ledger import BROUGHT, LedgerRecord, Publication
from schemas.plan import Parent, Places, Zone
from schemas.released import Footfall
from schemas.topics import OUTLOOK
from streams.core.outlook import Outlooks
from streams.core.release import publications
from streams.core.usual import QUARTER_MS

BLOCK_MS: Final = 28 * 86_400_000
# So many panes' outlooks are at hand to be published again: of those behind them whoever drew the pane has done it.
AT_HAND: Final = 8
PRESENT: Final = "present"
Key = tuple[int, int]


class Following:
    """The outlooks of a deployment. `timezone`: whose weekdays and hours count."""

    def __init__(self, timezone: str) -> None:
        self._timezone = timezone
        self._waiting = deque[LedgerRecord]()
        self._usual: dict[int, _Usual] = {}
        self._made: dict[Key, list[Publication]] = {}
        self._recent = deque[LedgerRecord](maxlen=AT_HAND)
        self._brought: dict[Key, list[Publication]] = {}
        self._newest_ms = 0

    def take(self, record: LedgerRecord) -> None:
        """Take up the next valid record of the ledger."""
        if record.measure != PRESENT or record.kind != "release" or record.end_ms % QUARTER_MS:
            return
        if record.end_ms <= self._newest_ms:
            return
        self._newest_ms = record.end_ms
        self._waiting.append(record)
        # What no later outlook is made of is let go.
        while self._waiting[0].end_ms // BLOCK_MS < record.end_ms // BLOCK_MS - 1:
            self._waiting.popleft()

    def waiting(self) -> list[LedgerRecord]:
        """What was taken up and not worked out yet: for `work_out`, once."""
        waiting, self._waiting = self._waiting, deque()
        return list(waiting)

    def work_out(self, waiting: Sequence[LedgerRecord]) -> None:
        """Work out what follows from them. Others may be taken up meanwhile, but nothing else may be asked."""
        for record in waiting:
            self._work_out(record)

    def of(self, record: LedgerRecord) -> Sequence[Publication]:
        """What follows from a record that was worked out: nothing of most."""
        if record.measure != PRESENT:
            return ()
        key = record.epoch, record.number
        return self._made.get(key) or self._brought.get(key) or ()

    def recent(self) -> Sequence[LedgerRecord]:
        """The last records that something may follow from: of those before, it has been published for long."""
        return tuple(self._recent)

    def _work_out(self, record: LedgerRecord) -> None:
        try:
            said = [msgspec.json.decode(item.value, type=Footfall) for item in publications(record)]
        except msgspec.ValidationError:
            return  # of a release with another schema: what is usual begins after it
        pane = [each for each in said if each.measure == PRESENT]
        if not pane:
            return
        block = record.end_ms // BLOCK_MS
        self._usual = {begun: self._usual.get(begun) or _Usual(self._timezone) for begun in (block - 1, block)}
        self._usual[block].learn(pane)
        at_hand = self._brought if record.panes_offset == BROUGHT else self._made
        at_hand[record.epoch, record.number] = self._usual[block - 1].say(pane)
        self._recent.append(record)
        if len(self._made) > AT_HAND:
            del self._made[next(iter(self._made))]


class _Usual:
    """What is usual since a block began."""

    def __init__(self, timezone: str) -> None:
        self._timezone = timezone
        self._outlooks: Outlooks | None = None
        self._plan = ""

    def say(self, pane: Sequence[Footfall]) -> list[Publication]:
        outlooks = self._of_plan(pane)
        found = [found for each in pane for found in outlooks.take(each)] + list(outlooks.close())
        return [Publication(OUTLOOK, each.zone.encode(), msgspec.json.encode(each)) for each in found]

    def learn(self, pane: Sequence[Footfall]) -> None:
        """The same without a word."""
        outlooks = self._of_plan(pane)
        for each in pane:
            next(outlooks.take(each), None)
        next(outlooks.close(), None)

    def _of_plan(self, pane: Sequence[Footfall]) -> Outlooks:
        if self._outlooks is None or pane[0].plan != self._plan:
            profile = self._outlooks.profile() if self._outlooks is not None else None
            self._plan = pane[0].plan
            self._outlooks = Outlooks(_places(pane, self._timezone), profile)
        return self._outlooks


def _places(pane: Sequence[Footfall], timezone: str) -> Places:
    """The places that a pane tells of, all that a plan has: what outlooks need to know of them."""
    parents = tuple(Parent(each.zone, "") for each in pane if each.level == "parent")
    zones = tuple(Zone(each.zone, "", "") for each in pane if each.level == "zone")
    return Places(pane[0].plan, 0, "", timezone, parents, zones)
