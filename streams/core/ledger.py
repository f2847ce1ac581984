"""The account of what was drawn: the first record of a (epoch, measure, pane) in the log is the release.

In: ledger records in the order of the log. Out: whether each is valid. Kept: for each epoch and measure the pane
through which it is closed, what the epoch's measures have cost, and the last valid record of each measure. A pure
function of the log, so that all who read it agree, zombies included.
"""

from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, LedgerRecord
from streams.core.budget import KEYS_SHARE


class Overspent(ValueError):  # noqa: N818 - reads as what it is
    """A draw would cost more than the epoch has."""


class Account:
    """The ledger as read so far. `brought`: the valid records that came from another deployment, by a replay."""

    def __init__(self) -> None:
        self._closed: dict[tuple[int, str], int] = {}
        self._cost: dict[int, dict[str, float]] = {}
        self._delta: dict[int, dict[str, float]] = {}
        self.last: dict[str, LedgerRecord] = {}
        self.brought: list[LedgerRecord] = []

    def take(self, record: LedgerRecord) -> bool:
        """Take the next record; True if it is the first for its pane, False if it is void."""
        if record.number <= self.closed_through(record.epoch, record.measure):
            return False
        self._closed[record.epoch, record.measure] = record.number
        costs = self._cost.setdefault(record.epoch, {})
        # A void costs nothing, and takes nothing back of what releases have cost.
        costs[record.measure] = max(costs.get(record.measure, 0.0), record.rho)
        deltas = self._delta.setdefault(record.epoch, {})
        deltas[record.measure] = max(deltas.get(record.measure, 0.0), record.delta)
        self.last[record.measure] = record
        if record.panes_offset == BROUGHT:
            self.brought.append(record)
        return True

    def closed_through(self, epoch: int, measure: str) -> int:
        """The highest pane of the measure that is drawn or void; nothing at or below it is ever drawn. 0: none."""
        return self._closed.get((epoch, measure), 0)

    def closed(self, epoch: Epoch, number: int) -> bool:
        """Is everything of the epoch up to base pane `number` drawn or void?"""
        for measure in epoch.measures:
            every = measure.pane_ms // epoch.pane_ms
            due = number // every * every
            if due >= epoch.first_pane and self.closed_through(epoch.epoch, measure.name) < due:
                return False
        return True

    def begun(self, epoch: int) -> bool:
        """Is any pane of the epoch drawn or void?"""
        return epoch in self._cost

    def spent(self, epoch: int) -> float:
        """rho that the epoch's measures have cost so far."""
        return sum(self._cost.get(epoch, {}).values())

    def check(self, epoch: Epoch, measure: str, rho: float, delta: float = 0.0) -> None:
        """Refuse a draw that the epoch can't pay for. A measure is paid once an epoch, for all of its panes.

        Raises:
            Overspent: saying which.
        """
        others = sum(cost for name, cost in self._cost.get(epoch.epoch, {}).items() if name != measure)
        paid = self._cost.get(epoch.epoch, {}).get(measure, 0.0)
        if (paid > 0 and rho > paid * (1 + 1e-9)) or others + rho > epoch.rho * (1 + 1e-9):
            raise Overspent(f"epoch {epoch.epoch}: {measure} at rho {rho:.6f} would overspend it")
        others = sum(cost for name, cost in self._delta.get(epoch.epoch, {}).items() if name != measure)
        if others + delta > epoch.delta * KEYS_SHARE * (1 + 1e-9):
            raise Overspent(f"epoch {epoch.epoch}: {measure} at delta {delta:.3g} would overspend it")

    def needed_offset(self) -> int:
        """Where reading `panes` must begin: behind what some writer had wholly released when it drew."""
        return max([0, *(record.panes_offset for record in self.last.values())])
