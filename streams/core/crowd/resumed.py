"""After lost state: what the rest of the log still tells, and from when on which counts are whole again.

A crowd whose snapshot is gone, and whose log no longer reaches back to where its state began, goes on at the log's
start. Each source's chain is taken up at its first section there. Of the rows before, none is from after that
section's watermark by more than the lateness (no record before it has a later time) and the minute that an event may
be ahead of its record. So from `whole_ms` on, the largest of these over the sources, all rows are in the log:

    an epoch that opens at or after it   is counted whole, as if nothing had happened
    presence                             is whole a silence later: who is there has been heard since
    arrivals, trips, all else with caps  stay shut until such an epoch: what was used of the caps is gone

Where impossible jumps aren't believed, presence waits for such an epoch too: which of two places that are too far apart
is believed depends on which was heard first, and may for as long as both are heard.

Nothing is ever counted in part and released: what is shut is named in the pane, which closes it in the ledger.
"""

from collections.abc import Sequence

import msgspec

from schemas.attach import AHEAD_MS
from schemas.epochs import Epoch
from schemas.measures import Measure
from schemas.sightings import Head
from schemas.topics import PANES_KEPT_MS


class Resumed(msgspec.Struct, frozen=True):
    """That a state was resumed. `whole_ms`: as far as the sources that were heard can tell."""

    whole_ms: int = 0

    def taken_up(self, section: Head, epochs: Sequence[Epoch]) -> "Resumed":
        """A source's chain is taken up at this section, and what is before it is lost."""
        lateness_ms = max(epoch.lateness_ms for epoch in epochs)
        # An event may be exactly so much ahead: the first instant after it is whole.
        return Resumed(max(self.whole_ms, section.watermark_ms + lateness_ms + AHEAD_MS + 1))

    def whole_from(self, measure: Measure, epoch: Epoch) -> int | None:
        """Since when the measure is whole in the epoch, ms; None: not before its end."""
        if epoch.opens_ms >= self.whole_ms:
            return epoch.opens_ms
        if not measure.of_presence or epoch.jump_m_s or self.whole_ms + epoch.silence_ms > epoch.end_ms:
            return None
        return self.whole_ms + epoch.silence_ms

    def shut(self, epoch: Epoch, number: int) -> frozenset[str]:
        """Names of the measures whose pane ends with base pane `number` and is not whole."""
        end_ms = epoch.start_ms + number * epoch.pane_ms
        whole = {measure.name: self.whole_from(measure, epoch) for measure in epoch.due(number)}
        return frozenset(name for name, since in whole.items() if since is None or since > end_ms)

    def shut_until(self, epochs: Sequence[Epoch], at_ms: int) -> dict[str, int]:
        """The measures that are shut at a time, each with the end of that, as far as the known epochs tell."""
        coming = [epoch for epoch in epochs if epoch.end_ms > at_ms]
        found: dict[str, int] = {}
        for name in (measure.name for epoch in coming[:1] for measure in epoch.measures):
            since = (self.whole_from(m, epoch) for epoch in coming for m in epoch.measures if m.name == name)
            found[name] = next((ms for ms in since if ms is not None), coming[-1].end_ms)
        return {name: until for name, until in found.items() if until > at_ms}


def oldest_awaited(epochs: Sequence[Epoch], watermark_ms: int) -> Epoch:
    """The first epoch that a release may still wait for: the panes of those before are gone from their topic.

    A resumed crowd begins with its first pane, all of it shut, so that nothing is left waiting; what had been sent
    before the loss came first and stands.
    """
    return next((epoch for epoch in epochs if epoch.end_ms > watermark_ms - PANES_KEPT_MS), epochs[-1])
