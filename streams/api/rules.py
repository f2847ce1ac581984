"""What may still be told of what was published: a release's own rules, of each record's epoch, as they are now.

A suspension silences what was told before it as well: of that epoch nothing is served any more.
"""

from typing import Protocol

from schemas.epochs import Epoch
from schemas.measures import Statistic
from streams.api.shelf import Item
from streams.core.epochs import EpochTable
from streams.core.rules.rules import Told


class Rules(Protocol):
    """The rules in force (`agents.rules.ReleaseRules`)."""

    def of(self, epoch: Epoch) -> Told: ...


# Worked out from two measures: withdrawn with either of them.
DERIVED: dict[str, tuple[Statistic, ...]] = {"footfall": ("present", "arrivals"), "departures": ("present", "arrivals")}


def why_not(item: Item, epochs: EpochTable, rules: Rules) -> str:
    """Why a record may not be told; empty if it may. Of an epoch that isn't known, nothing may."""
    epoch = epochs.find(item.end_ms - 1)
    if epoch is None:
        return "its epoch is not known yet"
    told = rules.of(epoch)
    if told.withheld:
        return told.withheld
    if item.end_ms <= told.quiet_ms:
        return "people may be in it whom the rules no longer allow"
    measures = told.epoch.measures
    if item.measure in DERIVED:
        there = {measure.statistic for measure in measures} >= set(DERIVED[item.measure])
    else:
        there = any(measure.name == item.measure for measure in measures)
    return "" if there else "the measure was withdrawn"
