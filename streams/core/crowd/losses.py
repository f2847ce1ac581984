"""Losses: of which sources retention took raw records before they were read, and which times those may have been of.

In: the sections that the chain takes, in their order; one flagged lost begins a loss, the source's next one that isn't,
and that raises its watermark, ends it. Out: for the time that a count is of, the sources that lack something in it.
Kept: losses that a later pane may still reach back to. A function of the sections taken alone, so of the log: restarts
and zombies say the same.

A lost record came after all that the source's watermark spoke of before, so none of its events that wasn't too late is
from before that watermark. The broker stamps records in order, so none was appended after the largest record time that
the source tells of next (its watermark + lateness), and an event may be `AHEAD_MS` ahead of its record. Between these
two times something may be missing; outside of them nothing is.

Which event times were lost depends on what Kafka kept, and on nobody's events.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from schemas.attach import AHEAD_MS
from schemas.epochs import Epoch
from schemas.measures import Measure
from schemas.sightings import LOST, REGISTRY_SOURCE, Head

# Before any event time.
EVER_MS = -(1 << 62)


class Loss(msgspec.Struct, frozen=True, array_like=True):
    """A source's watermark before records of it were lost, ms, and the one that it told of next; None: none yet."""

    source: int
    since_ms: int
    heard_ms: int | None = None

    def reaches(self, start_ms: int, lateness_ms: int) -> bool:
        """May it be of event times at or after this one?"""
        return self.heard_ms is None or self.heard_ms + lateness_ms + AHEAD_MS >= start_ms


def after(losses: tuple[Loss, ...], taken: Iterable[Head], heard: Mapping[int, int]) -> tuple[Loss, ...]:
    """The losses once these sections were taken. `heard`: the sources' watermarks before."""
    said, found = dict(heard), list(losses)
    for head in taken:
        if head.source >= REGISTRY_SOURCE:  # its records count nobody
            continue
        before = said.get(head.source, EVER_MS)
        said[head.source] = max(before, head.watermark_ms)
        last = next((n for n in reversed(range(len(found))) if found[n].source == head.source), None)
        if not head.flags & LOST:
            if last is not None and found[last].heard_ms is None and head.watermark_ms > before:
                found[last] = Loss(head.source, found[last].since_ms, said[head.source])
        elif last is None or not found[last].reaches(before, 0):
            found.append(Loss(head.source, before))
        else:  # one and the same: so they are no more than minutes, however often it happens
            found[last] = Loss(head.source, found[last].since_ms)
    return tuple(found)


def are_open(losses: Sequence[Loss]) -> bool:
    """Is the end of any not known yet?"""
    return any(loss.heard_ms is None for loss in losses)


def lacking(losses: Sequence[Loss], measure: Measure, epoch: Epoch, end_ms: int) -> frozenset[int]:
    """The sources of which something is missing in what the measure's pane to `end_ms` is counted from.

    That is the pane, or, for who is present at its end, the silence before it, in which everyone there was heard last.
    """
    start_ms = end_ms - (epoch.silence_ms if measure.of_presence else measure.pane_ms)
    start_ms = max(start_ms, epoch.opens_ms)
    return frozenset(
        loss.source for loss in losses if loss.since_ms < end_ms and loss.reaches(start_ms, epoch.lateness_ms)
    )


def told(
    losses: Sequence[Loss], epoch: Epoch, number: int, shut: Collection[str], live: Collection[int]
) -> tuple[dict[str, int], int]:
    """What a pane says: by measure that is counted in it how many sources it lacks something of, if any, and of how
    many sources that is, 0 if it lacks nothing."""
    end_ms = epoch.start_ms + number * epoch.pane_ms
    due = [measure for measure in epoch.due(number) if measure.name not in shut] if losses else []
    found = {measure.name: lacking(losses, measure, epoch, end_ms) for measure in due}
    if not any(found.values()):
        return {}, 0
    raw = {source for source in live if source < REGISTRY_SOURCE}
    return {name: len(sources) for name, sources in found.items() if sources}, len(raw.union(*found.values()))


def still_needed(losses: Sequence[Loss], epoch: Epoch, at_ms: int) -> tuple[Loss, ...]:
    """Those that a pane which ends after `at_ms` may reach back to."""
    longest_ms = max(epoch.silence_ms, *(measure.pane_ms for measure in epoch.measures))
    return tuple(loss for loss in losses if loss.reaches(at_ms - longest_ms, epoch.lateness_ms))
