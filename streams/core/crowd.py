"""CROWD: the state machine of one partition of `sightings`, a deterministic function of its log.

In: frames and control records at their offsets (`feed`), and epochs (`add_epoch`). Out: panes. Kept: the chain, the
watermarks, the reorder buffer, and the population of the current epoch; `snapshot` gives all of it as columns, and
`restore` takes it back.

    feed     a frame's sections pass the chain; taken rows wait in the reorder buffer; watermarks advance
    advance  to the last tick that the watermark has passed: rows before each boundary in the total order, then at a
             base pane's end a sweep and a pane, at an epoch's end a new population

Handling rows only up to the last tick changes nothing that can be seen: counts are as of a tick, panes end on ticks.

What can fail: a frame that is none (ValueError: a defect or a foreign writer), an epoch that isn't known yet
(`UnknownEpoch`, before anything has changed: add the epoch, feed again).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.panes import Pane, sealed
from schemas.sightings import GENESIS, LOST, Control, Section, decode_frame
from streams.core.chain import Chain, Link
from streams.core.population import Population
from streams.core.reorder import Reorder, Rows
from streams.core.watermarks import Watermarks

OnTick = Callable[[int, "Crowd"], None]


class UnknownEpoch(LookupError):  # noqa: N818 - reads as what it is
    """The watermark would pass beyond the epochs that are known."""


class Crowd:
    """One partition's state. `parents` u16[zones]: the parent of each zone."""

    def __init__(self, partition: int, parents: NDArray[np.uint16]) -> None:
        self.partition = partition
        self.parents = parents
        self.epochs: list[Epoch] = []
        self.chain = Chain()
        self.watermarks = Watermarks()
        self.reorder = Reorder()
        self.population: Population | None = None
        self.at_ms: int | None = None
        self.next_offset = 0
        self.last_tick_ms: int | None = None
        self.windows: dict[int, NDArray[np.uint32]] = {}
        self.taken = 0
        self.lost = 0
        self.early = 0

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
        return self.watermarks.least

    @property
    def gaps(self) -> int:
        """Sections ignored because they begin beyond the chain."""
        return self.chain.gaps

    @property
    def repeats(self) -> int:
        """Sections ignored because the chain is past them."""
        return self.chain.repeats

    @property
    def buffered(self) -> int:
        """Sightings that wait for the watermark."""
        return self.reorder.size

    @property
    def subscribers(self) -> int:
        """Distinct pseudonyms heard in the epoch."""
        return self.population.heard if self.population else 0

    def counts(self, window_ms: int) -> NDArray[np.uint32]:
        """Distinct subscribers in the window up to `last_tick_ms`, u32[zones, COHORTS].

        Raises:
            KeyError: before the first tick, or for a window that the epoch does not have.
        """
        return self.windows[window_ms]

    def feed(self, value: bytes, offset: int, on_tick: OnTick | None = None) -> list[Pane]:
        """Take the record at `offset`; returns the panes that it closes, in order.

        Raises:
            ValueError: the value is neither a frame nor a control record.
            UnknownEpoch: nothing has changed; add the epoch and feed the record again.
        """
        record = decode_frame(value)
        self._check_epochs(record)
        if isinstance(record, Control):
            self.watermarks.set_live(record.version, record.sources)
        else:
            for section in record:
                self._take(section)
        self.next_offset = offset + 1
        watermark = self.watermarks.current()
        return [] if watermark is None else self._advance(watermark, on_tick)

    def _check_epochs(self, record: list[Section] | Control) -> None:
        said = [section.watermark_ms for section in record] if isinstance(record, list) else []
        horizon = max((epoch.end_ms for epoch in self.epochs), default=None)
        if said and (horizon is None or max([*said, self.watermark_ms or 0]) > horizon):
            # Only if the least watermark passes the horizon is the epoch needed; the others may wait.
            preview = {**self.watermarks.seen, **{s.source: s.watermark_ms for s in record if isinstance(s, Section)}}
            live = self.watermarks.live
            if live and all(source in preview for source in live):
                least = min(preview[source] for source in live)
                if horizon is None or least > horizon:
                    raise UnknownEpoch(least)

    def _take(self, section: Section) -> None:
        link, first = self.chain.take(section.source, section.from_, section.to, bool(section.flags & GENESIS))
        if link is not Link.TAKEN:
            return
        if section.flags & LOST:
            self.lost += section.to - max(first, section.from_)
        self.watermarks.advance(section.source, section.watermark_ms)
        begin = int(np.searchsorted(section.offset, first))
        rows = Rows(
            section.pseudonym[begin:],
            section.ts[begin:],
            section.zone[begin:],
            section.cohort[begin:],
            section.kind[begin:],
        )
        self.taken += len(rows.ts)
        self.reorder.add(section.source, rows)

    def _advance(self, watermark_ms: int, on_tick: OnTick | None) -> list[Pane]:
        goal = self._last_tick(watermark_ms)
        if goal is None:
            return []
        if self.population is None:
            self._begin(self.epochs[0])
        assert self.at_ms is not None
        if goal <= self.at_ms:
            return []
        rows = self.reorder.take_before(goal)
        panes: list[Pane] = []
        done = int(np.searchsorted(rows.ts, self.at_ms))
        self.early += done
        while self.at_ms < goal:
            population = self._population_at(self.at_ms)
            boundary = self._next_boundary(population.epoch, goal, on_tick is not None)
            due = int(np.searchsorted(rows.ts, boundary))
            population.handle(Rows(*(column[done:due] for column in rows)), boundary)
            done = due
            self.at_ms = boundary
            panes += self._at_boundary(population, boundary, goal, on_tick)
        return panes

    def _at_boundary(self, population: Population, boundary: int, goal: int, on_tick: OnTick | None) -> list[Pane]:
        epoch = population.epoch
        population.sweep(boundary)
        if boundary == goal or boundary == epoch.end_ms or on_tick is not None:
            self._tick(population, boundary)
        if on_tick is not None:
            on_tick(boundary, self)
        panes = []
        if (boundary - epoch.start_ms) % epoch.pane_ms == 0:
            panes.append(self._pane(population, boundary))
        return panes

    def _tick(self, population: Population, boundary: int) -> None:
        present = population.present()
        windows = population.epoch.windows_ms
        self.windows = {window: population.window(present, boundary, window) for window in windows}
        self.last_tick_ms = boundary

    def _pane(self, population: Population, boundary: int) -> Pane:
        epoch = population.epoch
        return sealed(
            Pane(
                epoch=epoch.epoch,
                partition=self.partition,
                partitions=epoch.partitions,
                number=(boundary - epoch.start_ms) // epoch.pane_ms,
                start_ms=boundary - epoch.pane_ms,
                end_ms=boundary,
                logic=epoch.logic,
                counts=population.close_pane(boundary),
                heard=population.heard,
            )
        )

    def _population_at(self, time_ms: int) -> Population:
        """The population, that of the next epoch if the last one is over: nothing is carried across."""
        assert self.population is not None
        over = self.population.epoch.end_ms
        if time_ms >= over:
            self._begin(next(epoch for epoch in self.epochs if epoch.start_ms >= over))
        return self.population

    def _begin(self, epoch: Epoch) -> None:
        self.population = Population(epoch, self.parents)
        self.at_ms = epoch.opens_ms

    def _last_tick(self, watermark_ms: int) -> int | None:
        """The last boundary at or before the watermark; None before the first epoch opens."""
        begun = [epoch for epoch in self.epochs if epoch.opens_ms <= watermark_ms]
        if not begun:
            return None
        epoch = begun[-1]
        ticks = (watermark_ms - epoch.start_ms) // epoch.tick_ms
        return min(epoch.start_ms + ticks * epoch.tick_ms, epoch.end_ms)

    def _next_boundary(self, epoch: Epoch, goal: int, every_tick: bool) -> int:
        assert self.at_ms is not None
        step = epoch.tick_ms if every_tick else epoch.pane_ms
        passed = (self.at_ms - epoch.start_ms) // step
        return min(epoch.start_ms + (passed + 1) * step, goal, epoch.end_ms)
