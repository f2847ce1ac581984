"""Which records of the released topics are a release's: each is looked at once, as it is read.

Nothing in a record is signed, so whoever may write to its topic may write what looks like a release, and it is told
like one. All else is passed over: what is not of the topic's form, or not one line of text, since a feed would break
at it; and what contradicts the epoch of its end: another plan, a measure that isn't counted, a pane off its grid, a
place that there isn't. An end that is ahead would take the place of all that is told now: so none is later than the
record's own time in Kafka, which releases set to it, and which brokers refuse if it is an hour ahead of theirs (from
Kafka 4 on by themselves: `message.timestamp.after.max.ms`).

A later release may have more fields, so these are not forbidden.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final, NamedTuple

import msgspec

from schemas.access import RELEASED_BY
from schemas.epochs import Epoch
from schemas.forms import bounded
from schemas.named import UNREADABLE
from schemas.outlook import Outlook
from schemas.plan import Plan
from schemas.released import Areas, AreasSummary, Dwell, Flow, FlowSummary, Footfall, TravelTimes, Visits
from schemas.topics import AREAS, DWELL, FLOWS, FOOTFALL, HOUR_MS, OUTLOOK, VISITS
from streams.api.rules import DERIVED
from streams.api.shelf import Item, item_of
from streams.core.derived.usual import QUARTER_MS
from streams.core.epochs import EpochTable
from streams.core.times import instant
from streams.stores.published import Record

# A record has some hundred bytes, an outlook two thousand.
MOST_BYTES: Final = 64 << 10
# Clocks of brokers, where it is they who stamp the topic.
APART_MS: Final = HOUR_MS
PRESENT: Final = "present"


class Foreign(ValueError):  # noqa: N818 - reads as what it is
    """No release wrote it. It says nothing of what the record says."""


class Unopened(Foreign):
    """Of an epoch that is not known: nothing of it may be told, unless it is opened after all."""


class _Counted(NamedTuple):
    """How a measure is released: the lengths that its panes may have, and of which levels."""

    panes_ms: Set[int]
    levels: Sequence[str]


_FORMS: Final[Mapping[tuple[str, str], Any]] = {
    at: msgspec.json.Decoder(bounded(kind)).decode
    for at, kind in {
        (FOOTFALL, "place"): Footfall,
        (FLOWS, "place"): TravelTimes,
        (FLOWS, "pair"): Flow,
        (FLOWS, "pane"): FlowSummary,
        (DWELL, "place"): Dwell,
        (VISITS, "place"): Visits,
        (AREAS, "place"): Areas,
        (AREAS, "pane"): AreasSummary,
        (OUTLOOK, "place"): Outlook,
    }.items()
}


class Edge:
    """What is read of a deployment's purpose. `epochs`: as far as they are known; `plans`: those at hand."""

    def __init__(self, purpose: str, epochs: EpochTable, plans: Sequence[Plan]) -> None:
        self._purpose = purpose
        self._epochs = epochs
        self._places = {
            plan.hash(): {"zone": {zone.id for zone in plan.zones}, "parent": {parent.id for parent in plan.parents}}
            for plan in plans
        }
        self._epoch: Epoch | None = None  # of the last record: most are of the same
        self._counted: dict[tuple[int, str], Mapping[str, _Counted]] = {}

    def read(self, topic: str, record: Record) -> Item | None:
        """The released record; None if it is of another purpose.

        Raises:
            Foreign: no release wrote it. Unopened: it is of no epoch that is known.
        """
        value = record.value or b""
        try:
            item = item_of(topic, value, self._purpose)
            if item is None:
                return None
            said = _said(item)
            if topic != OUTLOOK and instant(said.start) != item.end_ms - said.window_s * 1000:
                raise Foreign("its start is not its end less its length")
        except (*UNREADABLE, ValueError, OverflowError) as error:
            raise Foreign("it is not as released records are") from error
        if item.end_ms > record.timestamp + (APART_MS if record.timestamp_type else 0):
            raise Foreign("it ends after its time in Kafka")
        if self._epoch is None or not self._epoch.start_ms < item.end_ms <= self._epoch.end_ms:
            self._epoch = self._epochs.find(item.end_ms - 1)
        if self._epoch is None:
            raise Unopened("its epoch is not known")
        self._check(item, said, self._epoch)
        return item

    def _check(self, item: Item, said: Any, epoch: Epoch) -> None:
        """Could the epoch's releases say that?"""
        if (said.plan, said.purpose) != (epoch.plan, epoch.purpose):
            raise Foreign("its epoch has another plan or purpose")
        counted = self._counted_in(item.topic, epoch).get(item.measure)
        if counted is None or said.level not in counted.levels:
            raise Foreign("its epoch counts no such thing")
        of_quarters = item.topic == OUTLOOK
        length_ms = QUARTER_MS if of_quarters else said.window_s * 1000
        since_ms = 0 if of_quarters else epoch.start_ms
        if length_ms not in counted.panes_ms or (item.end_ms - since_ms) % length_ms:
            raise Foreign("its epoch has no such pane")
        places = self._places.get(epoch.plan)
        if places is not None and not places[said.level].issuperset(filter(None, (item.place, item.destination))):
            raise Foreign("its plan has no such place")

    def _counted_in(self, topic: str, epoch: Epoch) -> Mapping[str, _Counted]:
        if (epoch.epoch, topic) not in self._counted:
            self._counted[epoch.epoch, topic] = _counted(topic, epoch)
        return self._counted[epoch.epoch, topic]


def _counted(topic: str, epoch: Epoch) -> Mapping[str, _Counted]:
    found: dict[str, _Counted] = {}
    for measure in epoch.measures:
        levels = (measure.level, "parent")
        if RELEASED_BY[measure.statistic] == topic:
            found[measure.name] = _Counted({measure.pane_ms}, levels)
        elif topic == OUTLOOK and measure.name == PRESENT:
            found[PRESENT] = _Counted({QUARTER_MS}, levels)
    arrivals = [measure for measure in epoch.measures if measure.statistic == "arrivals"]
    if topic == FOOTFALL and arrivals:
        lengths = {measure.pane_ms for measure in arrivals}
        found |= {name: _Counted(lengths, ("zone",)) for name in DERIVED}
    return found


def _said(item: Item) -> Any:
    """What it says, by the topic's contract.

    Raises:
        ValueError: it isn't as that has it, or no line of text.
    """
    value = item.value
    # Between its parts JSON may have line breaks, and of what it doesn't know the decoder takes any bytes for text.
    if len(value) > MOST_BYTES or b"\n" in value or b"\r" in value or not (value.isascii() or value.decode()):
        raise Foreign("it is too long, or not a line of text")
    shape = "pair" if item.destination else "place" if item.place else "pane"
    if (decode := _FORMS.get((item.topic, shape))) is None:
        raise Foreign("the topic has no such records")
    said = decode(value)
    # By a name of another form's it would be found at another place.
    if shape != "pane" and (not item.place or item.place != (said.origin if shape == "pair" else said.zone)):
        raise Foreign("it has two places, or none")
    if shape == "place" and item.topic != OUTLOOK:
        numbers = (said.noisy, said.estimate, said.se, said.low, said.high)
        if numbers.count(None) != (len(numbers) if said.suppressed else 0):
            raise Foreign("it is told and suppressed")
    return said
