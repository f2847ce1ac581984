"""Yesterday, for the filter: what was drawn in the day before, measure by measure, smoothed. It costs no budget.

The ledger holds two epochs, so whoever releases has yesterday's panes, the same as all others who have read as far
(`Days`). Of them a profile is made: the filter goes over the day, then back over it from its end, and of each pane
both are weighed by their variances (two-filter smoothing, Fraser and Potter 1969). What the filter does with it says
`estimate.py`.

In: the ledger's valid records, in its order. Out: a profile of a measure in the day before an epoch; None unless both
are days of as many panes, of one plan and one purpose, one behind the other (days when clocks change are not, and so
not the days after them), nearly all of that day was drawn, and its keys are public: those from data come and go. Kept:
of the epochs that are not over what was drawn, 4 bytes a key and pane.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.measures import Measure
from schemas.topics import DAY_MS
from streams.core.estimates import estimate
from streams.core.estimates.estimate import Belief, Sigma, Yesterday
from streams.core.estimates.models import Models

# Of yesterday's panes, that must have been drawn.
MOST: Final = 0.9
# The noise's standard deviation of a pane that was not: whatever stands there says nothing.
UNKNOWN: Final = 1e9


class Drawn(NamedTuple):
    """What was drawn of a measure in an epoch: i4[keys] by the number of the base pane, and the noise's scale."""

    panes: dict[int, NDArray[np.int32]]
    sigma: float


class Days:
    """What was drawn in the epochs that are not over."""

    def __init__(self) -> None:
        self._drawn: dict[tuple[int, str], Drawn] = {}

    def take(self, record: LedgerRecord) -> None:
        """Take the next valid record."""
        if record.kind != "release" or record.keys:
            return
        of = record.epoch, record.measure
        drawn = self._drawn.setdefault(of, Drawn({}, record.sigma))
        # One scale a day: rules that tighten amid it change the noise.
        if record.sigma > drawn.sigma:
            self._drawn[of] = drawn = drawn._replace(sigma=record.sigma)
        drawn.panes[record.number] = np.frombuffer(record.noisy, "<i8").astype(np.int32)

    def forget(self, over: int) -> None:
        """Forget the epochs before this one."""
        self._drawn = {of: drawn for of, drawn in self._drawn.items() if of[0] >= over}

    def before(self, epoch: Epoch, yesterday: Epoch, measure: Measure) -> Drawn | None:
        """What was drawn yesterday of a measure of the epoch, if the two can be compared."""
        drawn = self._drawn.get((yesterday.epoch, measure.name))
        alike = _what_is_counted(epoch) == _what_is_counted(yesterday)
        if drawn is None or not alike or yesterday.end_ms != epoch.start_ms:
            return None
        if {each.end_ms - each.start_ms for each in (epoch, yesterday)} != {DAY_MS}:
            return None
        if measure.keys_from_data(epoch.zones, epoch.parents) or not _counted_alike(measure, yesterday):
            return None
        return drawn if len(drawn.panes) >= MOST * (DAY_MS // measure.pane_ms) else None


def _what_is_counted(epoch: Epoch) -> tuple[object, ...]:
    """Where, of which panes, and for what: of those who agreed to one purpose nothing is told for another."""
    return epoch.plan, epoch.zones, epoch.parents, epoch.pane_ms, epoch.purpose


def _counted_alike(measure: Measure, yesterday: Epoch) -> bool:
    """Was it the same then, whatever part of the budget it had?"""
    return any(msgspec.structs.replace(each, share=measure.share) == measure for each in yesterday.measures)


class Profile(NamedTuple):
    """A day: f4[panes, keys] each, the first pane's number is 1; and the noise's variance, f4[keys]."""

    level: NDArray[np.float32]
    variance: NDArray[np.float32]
    noise: NDArray[np.float32]

    def at(self, number: int) -> Yesterday:
        """What the filter is given for the day's first, second, ... pane."""
        before, now = (self.level[at].astype(np.float64) for at in (max(number - 2, 0), number - 1))
        variance = self.variance[number - 1].astype(np.float64)
        # As of a mean over the panes before and behind whose weights fall by the same factor from each to the next,
        # of which the variance is this share of the noise's.
        share = np.minimum(variance / self.noise, 1) ** 2
        return Yesterday(before, now, variance, (1 - share) / (1 + share))


def followed(
    panes: Iterable[NDArray[np.int64]], scales: Iterable[Sigma], models: Models, known: Profile | None = None
) -> Iterator[Belief]:
    """What is believed after each pane of a day, [keys] each, by the scale of its noise; `known`: the day before."""
    belief = None
    for number, (pane, scale) in enumerate(zip(panes, scales, strict=False), 1):
        then = known.at(number) if known is not None else None
        if belief is None:
            belief = estimate.begin(pane, scale, models, then)
        else:
            belief = estimate.update(belief, pane, scale, models, then)
        yield belief


def smoothed(noisy: NDArray[np.int64], drawn: NDArray[np.bool_], noise_sigma: Sigma, models: Models) -> Profile:
    """The profile of a day.

    Args:
        noisy: [panes, keys]. drawn: [panes]; what stands in the others is not looked at.
    """
    noise = np.broadcast_to(np.asarray(noise_sigma, np.float32), noisy.shape[1]) ** 2
    day = Profile(np.empty(noisy.shape, np.float32), np.empty(noisy.shape, np.float32), noise)
    scales = [noise_sigma if told else UNKNOWN for told in drawn]
    for number, forward in enumerate(followed(noisy, scales, models)):
        day.level[number], day.variance[number] = forward.level
    belief = None
    for number in reversed(range(len(noisy))):
        if belief is None:
            belief = estimate.begin(noisy[number], scales[number], models)
            continue
        expected = estimate.foretold(belief, models)
        later = expected.level
        share = later.variance / (later.variance + day.variance[number])
        day.level[number] = share * day.level[number] + (1 - share) * later.mean
        day.variance[number] *= share
        belief = estimate.seen(expected, noisy[number], scales[number])
    np.maximum(day.level, 0, out=day.level)
    return day
