"""From screened batches to frames: the gateway's outgoing chain.

In: for each source (a raw partition, or one of the registry) consecutive batches of screened rows, each with the range
of offsets it covers. Out: on `take`, one frame for every target partition, with a section for each source that has
moved, rows or not, so that every target's chain covers every offset. Kept: per source where the last section ended and
the running maximum of record times. A worker that loses a source forgets it with `drop`; one that gains it starts with
`open` where the group's commit says.

Rows of one section lie within 24 days (`schemas.sightings`). A source whose log jumps further, over a pause or in a
sparse recording, gets several, one behind the other; their watermark is the last one's. So does one of which retention
took records: what is lost is a section of its own, so that crowds can count it.

Two frames that overlap, from a zombie or after a restart, are harmless: the crowd takes each offset once (`chain`).
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from schemas.sightings import LOST, REGISTRY_SOURCE, WIDEST_MS
from streams.core.gateway.frames import Outgoing, frames
from streams.core.gateway.gateway import NEVER_MS, Screened
from streams.core.gateway.lateness import Watermark

# What a source's record times may advance by and no row be too far from another: rows are off by the lateness at most,
# which is an hour, and a minute.
SURELY_NARROW_MS: Final = 20 * 86_400_000
# Of 24 bytes each; a record of `sightings` may have 8 MB.
MOST_IN_A_FRAME: Final = 250_000
ROW_COLUMNS: Final = ("pseudonym", "ts", "offset", "index", "zone", "cohort", "kind")


def rows_at_once(wanted: int, targets: int) -> int:
    """After how many rows, `wanted` at most, to flush, so that no frame outgrows a record.

    Subscribers are spread over targets by a hash, so none gets twice its share of them; and rows of one subscriber, who
    may be a machine that goes mad, are packed into half their bytes.
    """
    return min(wanted, MOST_IN_A_FRAME * max(1, targets // 2))


class Mark(NamedTuple):
    """How far a source is: the next offset to read, and the largest record time below it (ms)."""

    next_offset: int
    running_max: int


class Flush(NamedTuple):
    """What to send: `frames[p]` for target p, and the marks to commit once all are acknowledged."""

    frames: list[bytes]
    marks: dict[int, Mark]
    rows: int


class _Source:
    def __init__(self, mark: Mark, watermark: Watermark) -> None:
        self.sent_to = mark.next_offset
        self.sent_max = mark.running_max
        self.watermark = watermark
        self.mark = mark
        self.lost_to: int | None = None
        self.pending: list[Screened] = []


class Framer:
    """Collects screened rows of the sources of one worker. `watermark`: of a source, by the largest record time."""

    def __init__(self, targets: int, watermark: Watermark) -> None:
        self._targets = targets
        self._watermark = watermark
        self._sources: dict[int, _Source] = {}
        self.rows = 0

    def open(self, source: int, mark: Mark, watermark: Watermark | None = None) -> None:
        """Take up a source at `mark`; sections begin there. It has the watermark of all, or its own."""
        self._sources[source] = _Source(mark, watermark or self._watermark)

    def drop(self, source: int) -> None:
        """Forget a source and what is pending of it."""
        gone = self._sources.pop(source, None)
        if gone is not None:
            self.rows -= sum(len(screened.ts) for screened in gone.pending)

    def mark(self, source: int) -> Mark | None:
        """How far the source has been read, or None if it isn't open."""
        found = self._sources.get(source)
        return None if found is None else found.mark

    def running_max(self) -> dict[int, int]:
        """The largest record time of each open source, ms."""
        return {number: state.mark.running_max for number, state in self._sources.items()}

    def watermark_ms(self) -> int:
        """The least watermark of the open raw sources: far in the past if there is none, or one was never heard."""
        return min(
            (s.watermark(s.mark.running_max) for number, s in self._sources.items() if number < REGISTRY_SOURCE),
            default=NEVER_MS,
        )

    def lose(self, source: int, log_start: int) -> int:
        """Cover offsets below `log_start`, gone by retention, by a section of their own, flagged lost: nothing may be
        pending of the source. Returns how many they are."""
        state = self._sources[source]
        lost = log_start - state.mark.next_offset
        state.lost_to = log_start
        state.mark = Mark(log_start, state.mark.running_max)
        return lost

    def add(self, source: int, screened: Screened, next_offset: int) -> None:
        """Take up the rows of the offsets from the source's mark to `next_offset`."""
        state = self._sources[source]
        state.pending.append(screened)
        state.mark = Mark(next_offset, screened.running_max)
        self.rows += len(screened.ts)

    def take(self) -> Flush | None:
        """Frames for all that has moved since the last call, or None if nothing has."""
        moved = [(number, state) for number, state in sorted(self._sources.items()) if _moved(state)]
        if not moved:
            return None
        sections = [section for number, state in moved for section in _sections(number, state)]
        flush = Flush(frames(sections, self._targets), {number: state.mark for number, state in moved}, self.rows)
        for _, state in moved:
            state.sent_to, state.sent_max = state.mark
            state.lost_to = None
            state.pending = []
        self.rows = 0
        return flush


def _sections(number: int, state: _Source) -> Iterator[Outgoing]:
    """The source's section; more than one if its rows are too far apart for one, or some of it was lost."""
    until_ms, since_ms = (state.watermark(at) for at in (state.mark.running_max, state.sent_max))
    cuts: Sequence[int] = (
        () if number < REGISTRY_SOURCE and until_ms - since_ms < SURELY_NARROW_MS else _cuts(state.pending)
    )
    if state.lost_to is not None and state.lost_to < state.mark.next_offset:
        cuts = (state.lost_to, *cuts)
    for from_, to in pairwise((state.sent_to, *cuts, state.mark.next_offset)):
        parts = [_part(screened, from_, to) for screened in state.pending] if cuts else state.pending
        at_ms = until_ms if to == state.mark.next_offset else since_ms
        yield Outgoing(number, LOST if state.lost_to == to else 0, from_, to, at_ms, parts)


def _cuts(pending: Sequence[Screened]) -> list[int]:
    """The offsets at which a section must end since what follows is too far from its other rows."""
    ts = np.concatenate([screened.ts for screened in pending] or [np.empty(0, np.int64)])
    if len(ts) == 0 or int(ts.max() - ts.min()) <= WIDEST_MS:
        return []
    offset = np.concatenate([screened.offset for screened in pending])
    order = np.argsort(offset, kind="stable")
    offset, ts = offset[order], ts[order]
    firsts = np.flatnonzero(np.diff(offset, prepend=-1))  # of each record: its rows are close to each other
    least, most = np.minimum.reduceat(ts, firsts), np.maximum.reduceat(ts, firsts)
    cuts, begin, end = list[int](), int(least[0]), int(most[0])
    for at, low, high in zip(offset[firsts].tolist(), least.tolist(), most.tolist(), strict=True):
        begin, end = min(begin, low), max(end, high)
        if end - begin > WIDEST_MS:
            cuts.append(at)
            begin, end = low, high
    return cuts


def _part(screened: Screened, from_: int, to: int) -> Screened:
    """The rows of some offsets."""
    kept = (screened.offset >= from_) & (screened.offset < to)
    columns = {name: getattr(screened, name)[kept] for name in ROW_COLUMNS}
    return screened._replace(**columns, starts=np.concatenate(([0], np.cumsum(kept)))[screened.starts])


def _moved(state: _Source) -> bool:
    return state.mark.next_offset > state.sent_to
