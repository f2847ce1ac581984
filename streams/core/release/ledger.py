"""The account of what was drawn: the first record of a (epoch, measure, pane) in the log is the release.

In: ledger records in the order of the log. Out: whether each is valid. Kept: for each epoch that is not over and each
measure the pane through which it is closed, what the epoch's measures have cost, what was drawn, and the last valid
record of each measure. A pure function of the log, so that all who read it agree, zombies included.

Panes are drawn in the order of time, so once two later epochs were drawn an epoch is *over*: nothing of it is ever
drawn, whether or not the ledger still knows of it. What is over is forgotten. So an account may begin amid the log, at
the first record of the epochs that are not over (`Beginning`): it then agrees with one that has read all of it.
Each record names the beginning that its writer knew. An older one, of a writer that was paused, lies earlier: it costs
reading, and changes nothing.
"""

import math
from typing import Final

from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, Beginning, LedgerRecord
from streams.core.estimates.yesterday import Days
from streams.core.release.budget import KEYS_SHARE

# Higher than any pane's number.
ALL: Final = 1 << 62
# Epochs that are not over: the one that is drawn, and the one before.
KEPT: Final = 2


class Overspent(ValueError):  # noqa: N818 - reads as what it is
    """A draw would cost more than the epoch has, or the epoch is over."""


def cap_of(record: LedgerRecord) -> float:
    """The most counts of a subscriber that the record's noise is for: m, as sigma is sqrt(m / (2 rho))."""
    return 2 * record.sigma**2 * record.rho


class Account:
    """The ledger as read so far. `brought`: the valid records that came from another deployment, by a replay. `days`:
    what was drawn here.

    Args:
        over: epochs before this one were over where reading began.
    """

    def __init__(self, over: int = 0) -> None:
        self._over = over
        self._closed: dict[tuple[int, str], int] = {}
        self._cost: dict[int, dict[str, float]] = {}
        self._delta: dict[int, dict[str, float]] = {}
        # Of what was brought, for how many counts of a subscriber its noise was.
        self._brought_cap: dict[tuple[int, str], float] = {}
        self._first: dict[int, Beginning] = {}
        self._own: set[int] = set()
        self.last: dict[str, LedgerRecord] = {}
        self.brought: list[LedgerRecord] = []
        self.days = Days()

    def take(self, record: LedgerRecord, offset: int = 0) -> bool:
        """Take the next record; True if it is the first for its pane, False if it is void."""
        if record.number <= self.closed_through(record.epoch, record.measure):
            return False
        first = Beginning(offset, 0, record.epoch, record.measure, record.number, record.writer)
        self._first.setdefault(record.epoch, first)
        self._closed[record.epoch, record.measure] = record.number
        costs = self._cost.setdefault(record.epoch, {})
        # A void costs nothing, and takes nothing back of what releases have cost.
        costs[record.measure] = max(costs.get(record.measure, 0.0), record.rho)
        deltas = self._delta.setdefault(record.epoch, {})
        deltas[record.measure] = max(deltas.get(record.measure, 0.0), record.delta)
        self.last[record.measure] = record
        if record.panes_offset == BROUGHT:
            self.brought.append(record)
            if record.kind == "release":
                key = record.epoch, record.measure
                self._brought_cap[key] = min(cap_of(record), self._brought_cap.get(key, math.inf))
        else:
            # What was brought may be of any time, and is published by whoever draws after it.
            self._own.add(record.epoch)
            self.days.take(record)
            self._end_epochs()
        return True

    def begins(self) -> Beginning | None:
        """Where whoever reads the ledger must begin; None: at its start."""
        if not self._over:
            return None
        first = min(self._first.values(), key=lambda each: each.offset)
        return Beginning(first.offset, self._over, first.epoch, first.measure, first.number, first.writer)

    def closed_through(self, epoch: int, measure: str) -> int:
        """The highest pane of the measure that is drawn or void; nothing at or below it is ever drawn. 0: none."""
        return ALL if epoch < self._over else self._closed.get((epoch, measure), 0)

    def closed(self, epoch: Epoch, number: int) -> bool:
        """Is everything of the epoch up to base pane `number` drawn or void?"""
        for measure in epoch.measures:
            every = measure.pane_ms // epoch.pane_ms
            due = number // every * every
            if due >= epoch.first_pane and self.closed_through(epoch.epoch, measure.name) < due:
                return False
        return True

    def over(self, epoch: int) -> bool:
        """Is nothing of the epoch drawn any more, whatever comes?"""
        return epoch < self._over

    def begun(self, epoch: int) -> bool:
        """Is any pane of the epoch drawn or void?"""
        return epoch in self._cost or self.over(epoch)

    def spent(self, epoch: int) -> float:
        """rho that the epoch's measures have cost so far, 0 once it is over."""
        return sum(self._cost.get(epoch, {}).values())

    def check(self, epoch: Epoch, measure: str, rho: float, delta: float = 0.0) -> None:
        """Refuse a draw that the epoch can't pay for. A measure is paid once an epoch, for all of its panes.

        Raises:
            Overspent: saying which.
        """
        if self.over(epoch.epoch):
            raise Overspent(f"epoch {epoch.epoch} is over: what it has cost is not known any more")
        others = sum(cost for name, cost in self._cost.get(epoch.epoch, {}).items() if name != measure)
        paid = self._cost.get(epoch.epoch, {}).get(measure, 0.0)
        if (paid > 0 and rho > paid * (1 + 1e-9)) or others + rho > epoch.rho * (1 + 1e-9):
            raise Overspent(f"epoch {epoch.epoch}: {measure} at rho {rho:.6f} would overspend it")
        self._check_cap(epoch, measure)
        others = sum(cost for name, cost in self._delta.get(epoch.epoch, {}).items() if name != measure)
        if others + delta > epoch.delta * KEYS_SHARE * (1 + 1e-9):
            raise Overspent(f"epoch {epoch.epoch}: {measure} at delta {delta:.3g} would overspend it")

    def _check_cap(self, epoch: Epoch, measure: str) -> None:
        """Where counts were brought of which a subscriber adds fewer, that measure's cost was for these alone: who adds
        more after them is not paid for."""
        brought = self._brought_cap.get((epoch.epoch, measure), math.inf)
        cap = max((epoch.cap(each) for each in epoch.measures if each.name == measure), default=0)
        if cap > brought * (1 + 1e-6):
            raise Overspent(
                f"epoch {epoch.epoch}: {measure} at {cap} counts of a subscriber would overspend it: what a replay has "
                f"brought of it was drawn for {brought:.0f}"
            )

    def needed_offset(self) -> int:
        """Where reading `panes` must begin: behind what some writer had wholly released when it drew."""
        return max([0, *(record.panes_offset for record in self.last.values())])

    def _end_epochs(self) -> None:
        """Forget all epochs before the last but one of which this deployment has drawn."""
        over = sorted(self._own)[-KEPT] if len(self._own) >= KEPT else self._over
        if over <= self._over:
            return
        self._over = over
        self._own = {epoch for epoch in self._own if epoch >= over}
        self._closed = {key: number for key, number in self._closed.items() if key[0] >= over}
        self._brought_cap = {key: cap for key, cap in self._brought_cap.items() if key[0] >= over}
        for kept in (self._cost, self._delta, self._first):
            for epoch in [epoch for epoch in kept if epoch < over]:
                del kept[epoch]
        self.last = {name: record for name, record in self.last.items() if record.epoch >= over}
        self.brought = [record for record in self.brought if record.epoch >= over]
        self.days.forget(over)
