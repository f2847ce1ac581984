"""CROWD: the state machine of one partition of `sightings`, a deterministic function of its log.

In: frames and control records at their offsets (`feed`), and epochs (`add_epoch`). Out: panes. Kept: the chain, the
watermarks, the losses, the reorder buffer, and the population of the current epoch; `snapshot.to_columns` gives all of
it, and `snapshot.restore` takes it back.

    feed     a frame's sections pass the chain; taken rows wait in the reorder buffer; watermarks advance
    advance  to the last tick that the watermark has passed: rows before each boundary in the total order, then at a
             base pane's end a pane, and after an epoch's end a new population, with nothing carried across

A control record may say that pseudonyms change at a time within an epoch (an incident): from then on all is new, and
what is not whole is shut.
A crowd whose state is lost begins amid its log (`resume`): see `resumed` for what is shut then, and until when.

Handling rows only up to the last tick changes nothing that can be seen: counts are as of a tick, panes end on ticks.

A record that no gateway wrote is passed over: were it one of theirs, the chain would show the gap.

What can fail: a frame that is broken (ValueError: a defect), an epoch that isn't known yet
(`UnknownEpoch`; add it, feed again), a raw log that was made anew (ThrongError). In all cases nothing has changed.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.attach import AHEAD_MS
from schemas.epochs import Epoch
from schemas.panes import Pane, sealed
from schemas.sightings import GENESIS, LOST, REGISTRY_SOURCE, Control, Foreign, Head, decode_heads
from streams.core.crowd import losses
from streams.core.crowd.chain import Link, link
from streams.core.crowd.losses import EVER_MS, Loss
from streams.core.crowd.population import Population
from streams.core.crowd.reorder import Reorder, select
from streams.core.crowd.resumed import Resumed, oldest_awaited
from streams.core.crowd.watermarks import UNHEARD, Watermarks
from streams.core.times import rfc3339
from streams.errors import ThrongError

OnTick = Callable[[int, "Crowd"], None]
Parents = NDArray[np.uint16] | Callable[[Epoch], NDArray[np.uint16]]
Positions = NDArray[np.int64] | Callable[[Epoch], NDArray[np.int64]] | None


class UnknownEpoch(LookupError):  # noqa: N818 - reads as what it is
    """The watermark would pass beyond the epochs that are known."""


class _Links(NamedTuple):
    """A frame against the chain: taken sections with the first offset that counts, and where the chain then
    stands."""

    taken: list[tuple[Head, int]]
    following: dict[int, int]
    open_gaps: frozenset[int]
    gaps: int
    repeats: int
    resumed: Resumed | None


class Crowd:
    """One partition's state. `parents` u16[zones]: the parent of each zone; where plans change, as the epoch has it.
    `positions`: where the zones are, as in `distances`, alike; None: no jump is impossible.

    Attributes:
        next_offset: of the log, the record to feed next.
        at_ms: the last boundary handled. last_tick_ms: what `counts` is as of.
        following: next offset of each source. open_gaps: sources of which rows are missing there, while later ones
            came. gaps, repeats: sections ignored; lost: raw records gone before they were read; early: rows of before
            the first epoch opened; taken: rows taken up. Since this object was made: barred: rows dropped by an
            opt-out; foreign: records that no gateway wrote.
        losses: raw records gone before they were read, as far as a pane to come may lack them.
        resumed: that state was lost, until all of it is whole again.
        resets: when pseudonyms are to change within an epoch, ms.
    """

    def __init__(self, partition: int, parents: Parents, positions: Positions = None) -> None:
        self.partition = partition
        self._parents = parents
        self._positions = positions
        self.epochs: list[Epoch] = []
        self.following: dict[int, int] = {}
        self.open_gaps = frozenset[int]()
        self.watermarks: Watermarks = UNHEARD
        self.reorder = Reorder()
        self.population: Population | None = None
        self.at_ms: int | None = None
        self.next_offset = 0
        self.resumed: Resumed | None = None
        self.resets: tuple[int, ...] = ()
        self.losses: tuple[Loss, ...] = ()
        self.last_tick_ms: int | None = None
        self._capped = Counter[str]()
        self._filtered = Counter[str]()
        self.taken = self.gaps = self.repeats = self.lost = self.early = self.barred = self.foreign = 0

    def resume(self, offset: int) -> None:
        """Of a new crowd: begin at the start of a log that no longer holds all of it; what is not whole is shut."""
        self.resumed = Resumed()
        self.next_offset = offset

    def parents(self, epoch: Epoch) -> NDArray[np.uint16]:
        """The parent of each zone in an epoch."""
        return self._parents(epoch) if callable(self._parents) else self._parents

    def begun(self, epoch: Epoch) -> Population:
        """The epoch's population, of nobody so far."""
        positions = self._positions(epoch) if callable(self._positions) else self._positions
        return Population(epoch, self.parents(epoch), epoch.parents, positions)

    def add_epoch(self, epoch: Epoch) -> None:
        """Take up an epoch; one that is known already is ignored."""
        if all(known.epoch != epoch.epoch for known in self.epochs):
            self.epochs = sorted([*self.epochs, epoch], key=lambda e: e.start_ms)

    @property
    def epoch(self) -> Epoch | None:
        """The epoch that the counts are of."""
        return self.population.epoch if self.population else None

    @property
    def watermark_ms(self) -> int | None:
        """Event time up to which all is complete; None until every source has been heard of."""
        return self.watermarks.least_ms

    @property
    def buffered(self) -> int:
        """Sightings that wait for the watermark."""
        return self.reorder.size

    @property
    def subscribers(self) -> int:
        """Distinct pseudonyms heard in the epoch."""
        return self.population.heard if self.population else 0

    def take_capped(self) -> dict[str, int]:
        """By measure how many counts its cap has left out, since this was asked last."""
        left_out, self._capped = self._capped, Counter()
        if self.population is not None:
            left_out.update(self.population.take_capped())
        return dict(left_out)

    def take_filtered(self) -> dict[str, int]:
        """By rule (`population.FILTERS`) how many presences it has filtered, since this was asked last."""
        filtered, self._filtered = self._filtered, Counter()
        if self.population is not None:
            filtered.update(self.population.take_filtered())
        return dict(filtered)

    def counts(self, window_ms: int) -> NDArray[np.uint32]:
        """Distinct subscribers in the window up to `last_tick_ms`, u32[zones, COHORTS]: a view, until the next `feed`.

        Raises:
            ValueError: before the first tick, or for a window that the epoch does not have.
        """
        if self.population is None or self.last_tick_ms is None:
            raise ValueError("there are no counts before the first tick")
        return self.population.within(window_ms)

    def window_is_whole(self, window_ms: int) -> bool:
        """Are the counts of the window of all that was there?"""
        if self.resumed is None or self.last_tick_ms is None or self.epoch is None:
            return self.resumed is None
        # Of the epochs that a window reaches into, the first must have been whole.
        first = next(epoch for epoch in self.epochs if epoch.end_ms > self.last_tick_ms - window_ms)
        if first.jump_m_s and first.opens_ms < self.resumed.whole_ms:
            return False
        return self.last_tick_ms >= self.resumed.whole_ms + self.epoch.silence_ms + window_ms

    def shut_until(self) -> dict[str, int]:
        """The measures that are shut now, each with the end of that, ms."""
        if self.resumed is None:
            return {}
        at_ms = self.at_ms if self.at_ms is not None else self.watermark_ms or 0
        return self.resumed.shut_until(self.epochs, at_ms)

    def feed(self, value: bytes, offset: int, on_tick: OnTick | None = None) -> list[Pane]:
        """Take the record at `offset`; returns the panes that it closes, in order.

        Args:
            on_tick: called at every tick, not only the last one, with its time and this crowd: for tests.

        Raises:
            ValueError: the frame or control record is broken. UnknownEpoch: see there.
        """
        try:
            record = decode_heads(value)
        except Foreign:
            self.foreign += 1
            self.next_offset = offset + 1
            return []
        if isinstance(record, Control):
            links = _Links([], self.following, self.open_gaps, 0, 0, self.resumed)
            watermarks = self.watermarks.governed(record.version, record.sources)
        else:
            if self.resumed and not self.epochs:
                raise UnknownEpoch(0)
            links = self._link(record)
            said = {section.source: section.watermark_ms for section, _ in links.taken}
            watermarks = self._live(said).after(said)
        self._check_epochs(watermarks.least_ms)
        self._take(value, links.taken)
        self.following = links.following
        self.open_gaps = links.open_gaps
        self.gaps += links.gaps
        self.repeats += links.repeats
        self.watermarks = watermarks
        self.resumed = links.resumed
        if isinstance(record, Control) and record.reset_ms > (self.at_ms or 0):
            self.resets = tuple(sorted({*self.resets, record.reset_ms}))
        self.next_offset = offset + 1
        return [] if watermarks.least_ms is None else self._advance(watermarks.least_ms, on_tick)

    def _link(self, sections: list[Head]) -> _Links:
        following, resumed, open_gaps = dict(self.following), self.resumed, set(self.open_gaps)
        taken: list[tuple[Head, int]] = []
        found = {Link.TAKEN: 0, Link.GAP: 0, Link.REPEAT: 0}
        for section in sections:
            if resumed is not None and self._begins_at(section, following):
                following[section.source] = section.from_
                if section.source < REGISTRY_SOURCE:  # the registry's rows count nobody, and its times may be others
                    resumed = resumed.taken_up(section, self.epochs)
            what, first = link(following, section.source, section.from_, section.to, bool(section.flags & GENESIS))
            found[what] += 1
            if what is Link.TAKEN:
                following[section.source] = section.to
                taken.append((section, first))
                open_gaps.discard(section.source)
            elif what is Link.GAP:
                open_gaps.add(section.source)
            else:
                self._refuse_anew(section)
        return _Links(taken, following, frozenset(open_gaps), found[Link.GAP], found[Link.REPEAT], resumed)

    def _refuse_anew(self, section: Head) -> None:
        """What is repeated was heard, so no record of it has a later time than has been heard of the source.

        Raises:
            ThrongError: `made_anew` if one has, by more than what a gateway may have had for a lateness.
        """
        heard = self.watermarks.heard.get(section.source, section.watermark_ms)
        lateness_ms = max((epoch.lateness_ms for epoch in self.epochs), default=0)
        if section.watermark_ms > heard + lateness_ms + AHEAD_MS:
            raise ThrongError(
                "made_anew",
                f"source {section.source} begins again: records that come as those before offset "
                f"{self.following[section.source]}, which were counted, are of after {rfc3339(heard)}; see "
                "docs/how-to/outages.md#made-anew",
            )

    def _begins_at(self, section: Head, following: dict[int, int]) -> bool:
        """Is a source's chain to be taken up at the section, since what is before it is lost?

        The first one in the log may be a zombie's repeat, and what really follows then seems to leave a gap. Until the
        watermark has come to where all is whole it is no gap, and what is whole begins later.
        """
        at, least_ms = following.get(section.source), self.watermarks.least_ms
        if at is None:
            return section.from_ > 0 and not section.flags & GENESIS
        return section.from_ > at and (least_ms is None or least_ms < self._whole_ms)

    @property
    def _whole_ms(self) -> int:
        return self.resumed.whole_ms if self.resumed else 0

    def _live(self, said: dict[int, int]) -> Watermarks:
        """The watermarks, with the sources that must be live if the control record is no longer in the log.

        Of the registry only an epoch knows whether it holds the watermark; a raw partition may have been added since.
        """
        if self.resumed is None:
            return self.watermarks
        raw = {source for source in said if source < REGISTRY_SOURCE}
        return self.watermarks.joined(raw.union(self.epochs[-1].sources))

    def _check_epochs(self, least_ms: int | None) -> None:
        horizon = max((epoch.end_ms for epoch in self.epochs), default=None)
        if least_ms is not None and (horizon is None or least_ms > horizon):
            raise UnknownEpoch(least_ms)

    def _take(self, value: bytes, sections: list[tuple[Head, int]]) -> None:
        lost = sum(head.to - max(first, head.from_) for head, first in sections if head.flags & LOST)
        self.lost += lost
        if lost or losses.are_open(self.losses):
            self.losses = losses.after(self.losses, (head for head, _ in sections), self.watermarks.heard)
        # Where the registry doesn't hold the watermark its rows may come late: they count from now on.
        late = EVER_MS if self.at_ms is None else self.at_ms
        since = [(head, first, late if head.source >= REGISTRY_SOURCE else EVER_MS) for head, first in sections]
        self.taken += self.reorder.add_sections(value, since)

    def _advance(self, watermark_ms: int, on_tick: OnTick | None) -> list[Pane]:
        goal = self._last_tick(watermark_ms)
        if goal is None or (self.at_ms is not None and goal <= self.at_ms):
            return []
        rows = self.reorder.take_before(goal)
        at = self._begin(watermark_ms) if self.at_ms is None else self.at_ms
        done = int(np.searchsorted(rows.ts, at))
        self.early += done
        panes: list[Pane] = []
        while at < goal:
            population, at = self._population_at(at)
            boundary = _next_boundary(population.epoch, at, goal, on_tick is not None)
            due = int(np.searchsorted(rows.ts, boundary))
            self.barred += population.handle(select(rows, slice(done, due)))
            done = due
            at = boundary
            population.advance(boundary)
            self.last_tick_ms = boundary
            if on_tick is not None:
                on_tick(boundary, self)
            if (boundary - population.epoch.start_ms) % population.epoch.pane_ms == 0:
                panes.append(self._pane(population, boundary))
                # Every crowd stops at a pane's end, whatever frames it gets; at another time it may or may not.
                if boundary in self.resets:
                    self._reset(population.epoch, boundary)
        self.at_ms = at
        return panes

    def _reset(self, epoch: Epoch, at_ms: int) -> None:
        """Begin anew within the epoch: nobody's pseudonym goes on. What is not whole is shut, as after a loss."""
        self.resets = tuple(ms for ms in self.resets if ms > at_ms)
        self.resumed = Resumed(max(at_ms, self._whole_ms))
        self.population = self.begun(epoch)
        self.population.recount(at_ms)

    def _begin(self, watermark_ms: int) -> int:
        first = self.epochs[0] if self.resumed is None else oldest_awaited(self.epochs, watermark_ms)
        return first.opens_ms

    def _pane(self, population: Population, boundary: int) -> Pane:
        epoch = population.epoch
        number = (boundary - epoch.start_ms) // epoch.pane_ms
        shut = self.resumed.shut(epoch, number) if self.resumed else frozenset[str]()
        # After a loss thousands of panes may be passed of which there is nothing to count.
        nothing = population.heard == 0 and len(shut) == len(epoch.due(number))
        counts = {} if nothing else population.close_pane(boundary)
        lacking, sources = losses.told(self.losses, epoch, number, shut, self.watermarks.live)
        self.losses = losses.still_needed(self.losses, epoch, boundary)
        return sealed(
            Pane(
                epoch=epoch.epoch,
                partition=self.partition,
                partitions=epoch.partitions,
                number=number,
                start_ms=boundary - epoch.pane_ms,
                end_ms=boundary,
                logic=epoch.logic,
                counts={name: counted for name, counted in counts.items() if name not in shut},
                heard=population.heard,
                shut=tuple(sorted(shut)),
                resumed=self.resumed is not None,
                lacking=lacking,
                sources=sources,
            )
        )

    def _population_at(self, time_ms: int) -> tuple[Population, int]:
        """The population of `time_ms`, and where it goes on: a new one if the epoch before is over."""
        over = self.population.epoch.end_ms if self.population else None
        if self.population is not None and over is not None and time_ms < over:
            return self.population, time_ms
        epoch = next(epoch for epoch in self.epochs if epoch.end_ms > time_ms)
        if epoch.opens_ms >= self._whole_ms:
            self.resumed = None
        if self.population is not None:
            self._capped.update(self.population.take_capped())
            self._filtered.update(self.population.take_filtered())
        self.population = self.begun(epoch)
        return self.population, epoch.opens_ms

    def _last_tick(self, watermark_ms: int) -> int | None:
        """The last boundary at or before the watermark; None before the first epoch opens."""
        begun = [epoch for epoch in self.epochs if epoch.opens_ms <= watermark_ms]
        if not begun:
            return None
        epoch = begun[-1]
        ticks = (watermark_ms - epoch.start_ms) // epoch.tick_ms
        return min(epoch.start_ms + ticks * epoch.tick_ms, epoch.end_ms)


def _next_boundary(epoch: Epoch, at_ms: int, goal: int, every_tick: bool) -> int:
    step = epoch.tick_ms if every_tick else epoch.pane_ms
    passed = (at_ms - epoch.start_ms) // step
    return min(epoch.start_ms + (passed + 1) * step, goal, epoch.end_ms)
