"""What does not add up in a deployment's rules, or in an epoch: each a sentence; no sentence, nothing found.

A measure's noise is right only if one subscriber adds at most 1 to at most `cap` cells of its count vector, and only
whole panes are drawn: what would break that is refused here, before anything is counted by it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import cast

from schemas.access import STATISTICS, measures_for
from schemas.epochs import Epoch
from schemas.measures import AREAS, HIGHEST_CAP, MINUTE_MS, MOST_ARRIVALS, PAIRED, Measure
from schemas.policy import Purpose, Rulebook
from streams.core.release.budget import delta_spent
from streams.errors import ThrongError

BASE_PANE_MS = 5 * MINUTE_MS
HOUR_MS = 60 * MINUTE_MS
# For rounding: of shares that are added up, and of the delta that a rho was searched for.
SLACK = 1e-9
DELTA_SLACK = 1e-6
# Worked out from people present and arrivals (`core.release`), under these names.
FOLLOWS = ("footfall", "departures")


def problems(book: Rulebook) -> Iterator[str]:
    """Whatever is wrong, the first thing first."""
    yield from _together(book.measures)
    if book.measures and not measures_for(book.purpose, book.measures):
        yield f"none of the measures is allowed for the purpose {book.purpose}"


def sound(epoch: Epoch) -> Epoch:
    """The epoch, if the noise of its measures would be right: whoever wrote it need not have asked `problems`.

    Raises:
        ThrongError: `epochs`, naming what is wrong with it.
    """
    for problem in _wrong(epoch):
        raise ThrongError(
            "epochs",
            f"epoch {epoch.epoch}: {problem}: nothing is counted or told by it; see docs/how-to/outages.md#unsound",
        )
    return epoch


def _wrong(epoch: Epoch) -> Iterator[str]:
    yield from _together(epoch.measures)
    allowed = STATISTICS.get(cast(Purpose, epoch.purpose), ())
    for measure in epoch.measures:
        if epoch.purpose and measure.statistic not in allowed:
            yield f"measure {measure.name}: {measure.statistic} is not allowed for the purpose {epoch.purpose}"
    if (spent := delta_spent(epoch)) > epoch.delta * (1 + DELTA_SLACK):
        yield f"it costs a delta of {spent:.3g} at its epsilon of {epoch.epsilon:g}, and has {epoch.delta:g}"


def _together(measures: Sequence[Measure]) -> Iterator[str]:
    if not measures:
        yield "there is no measure: nothing would be told"
    for name, times in Counter(measure.name for measure in measures).items():
        if times > 1:
            yield f"there are {times} measures with the name {name}"
    for measure in measures:
        yield from _measure(measure)
    arrivals = sum(measure.statistic == "arrivals" for measure in measures)
    if arrivals > MOST_ARRIVALS:
        yield f"there are {arrivals} measures of arrivals; {MOST_ARRIVALS} can be counted"
    shares = sum(measure.share for measure in measures)
    if shares > 1 + SLACK:
        yield f"the measures' shares of the budget add up to {shares:.3f}; 1 is all there is"


def _measure(measure: Measure) -> Iterator[str]:
    name = f"measure {measure.name}"
    if not measure.name.isidentifier() or len(measure.name) > 32:
        yield f"measure {measure.name!r}: a name is up to 32 letters, digits and underscores"
    if measure.name in FOLLOWS or (measure.name == "present" and measure.statistic != "present"):
        yield f"{name}: that is the name of another number, which is told beside it"
    if not 0 < measure.share <= 1:
        yield f"{name}: share is {measure.share:g}, which is not above 0 and at most 1"
    if measure.pane_ms <= 0 or measure.pane_ms % BASE_PANE_MS or HOUR_MS % measure.pane_ms:
        yield f"{name}: pane_ms is {measure.pane_ms}, not 5, 10, 15, 20, 30 or 60 min"
    if measure.of_presence and measure.cap:
        yield f"{name}: cap is {measure.cap}, but whoever is present counts once in each pane: leave it out, or 0"
    if not measure.of_presence and measure.cap < 1:
        yield f"{name}: cap is {measure.cap}, but {measure.statistic} of a subscriber must be bounded: at least 1"
    if measure.cap > HIGHEST_CAP:
        yield f"{name}: cap is {measure.cap}; counts up to {HIGHEST_CAP} can be kept"
    if measure.statistic == "arrivals" and measure.gap_ms < measure.pane_ms:
        yield (
            f"{name}: gap_ms is {measure.gap_ms}, shorter than its pane of {measure.pane_ms}: "
            "a subscriber could count twice in one cell"
        )
    if measure.statistic != "arrivals" and measure.gap_ms:
        yield f"{name}: gap_ms says how long one is away before an arrival; {measure.statistic} has none"
    if measure.level == "parent" and measure.statistic not in (*PAIRED, *AREAS, "travel_times"):
        yield f"{name}: {measure.statistic} is counted by zone; districts are sums of it"
