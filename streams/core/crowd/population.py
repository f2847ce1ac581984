"""One partition's subscribers in one epoch: the tables, what is counted in the open panes, and the epoch's rules.

In: rows in the total order, up to a boundary. Out: the counts of windows and of panes. This is the Python around the
compiled loops (`presence`, `windows`): it makes room, calls them until all is handled, and closes panes. Measures are
data: any number of them by zone or parent, but for the five arrivals measures that a row has flags for.

`handle` rows up to a boundary, `advance` to it, then look at windows or close a pane.

What can fail: an epoch whose lengths or measures can't be counted (ThrongError, when it begins).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.cohorts import COHORTS
from schemas.epochs import LOGIC, Epoch
from schemas.measures import AREAS, HIGHEST_CAP, MOST_ARRIVALS, Measure, Statistic
from schemas.panes import Counts, from_dense
from schemas.sightings import OPT_IN
from streams.core import distances
from streams.core.crowd import departures, slots, windows
from streams.core.crowd.listed import Listed, counted, moved
from streams.core.crowd.presence import BLOCK, LIST_ROOM, MOST_LISTED, SETTLE_BLOCK, handle, settle
from streams.core.crowd.reorder import Rows
from streams.core.crowd.tally import (
    DWELL,
    LIVING,
    PASSED,
    TRAVELLED,
    TRAVELLED_BETWEEN,
    TRIPS,
    VISITED,
    Capped,
    Rules,
    Tally,
)
from streams.errors import ThrongError

MOST_KEYS: Final = 1 << 32
# Of an area, as many seconds as `Slots.areas` holds.
LONGEST_MS: Final = 0xFFFF * 1000
# As in `Tally.filtered`.
FILTERS: Final = ("ping_pong", "glimpse", "jump")
LISTED: Final[Mapping[Statistic, int]] = {
    "trips": TRIPS,
    "dwell": DWELL,
    "visits": VISITED,
    "travel_times": TRAVELLED,
    "travel_times_by_pair": TRAVELLED_BETWEEN,
    "passes": PASSED,
    "home": LIVING,
    "work": LIVING,
}


class Population:
    """Everyone heard in `epoch`, or opted out in it. `parents` u16[zones]: each zone's parent; else as in `Epoch`.
    `positions`: where the zones are, as in `distances`; None: not known."""

    def __init__(
        self,
        epoch: Epoch,
        parents: NDArray[np.uint16],
        parent_count: int,
        positions: NDArray[np.int64] | None = None,
    ) -> None:
        check(epoch, len(parents))
        self.epoch = epoch
        self.heard = 0
        self._arrivals = [m for m in epoch.measures if m.statistic == "arrivals"]
        self._listed = [m for m in epoch.measures if m.statistic in LISTED]
        capped = list(dict.fromkeys(_counts_against(m) for m in self._arrivals + self._listed if m.cap))
        self.rules = Rules(
            silence=epoch.silence_ms,
            stay=epoch.stay_ms,
            seen=epoch.seen_ms,
            ping_pong=epoch.ping_pong_ms,
            horizon=max([*epoch.windows_ms, epoch.ping_pong_ms + 1, *(m.gap_ms for m in self._arrivals)]),
            opens=epoch.opens_ms - epoch.start_ms,
            length=epoch.end_ms - epoch.start_ms,
            parents=parents.astype(np.int64),
            parent_count=parent_count,
            arrivals=_columns(self._arrivals, capped),
            listed=_columns(self._listed, capped),
            areas=_hours(epoch),
            jump_m_s=epoch.jump_m_s,
            jump_m=epoch.jump_m,
            positions=distances.nowhere(len(parents)) if positions is None else positions,
        )
        counted_too = {m.statistic for m in epoch.measures}
        self.slots = slots.new_slots(
            *(slots.SMALLEST, [cap for _, cap in capped]),
            visited=len(parents) if counted_too & {"visits", *AREAS} else 0,
            travelled=bool(counted_too & {"travel_times", "travel_times_by_pair"}),
            areas=len(self.rules.areas),
        )
        self.departures = departures.new_departures()
        self.running = windows.new_running(len(parents), epoch.silence_ms, epoch.windows_ms, self.rules.opens)
        self.fit()
        places = max(len(parents), parent_count)
        self.tally = Tally(
            np.zeros((len(self._arrivals), places), np.uint32),
            np.zeros(len(self._arrivals), np.int64),
            np.zeros((len(self._listed), LIST_ROOM), np.uint32),
            np.zeros((len(self._listed), LIST_ROOM), np.uint32),
            np.zeros(len(self._listed), np.int64),
            np.array([self.rules.opens]),
            np.zeros(len(self._arrivals) + len(self._listed), np.int64),
            np.zeros(len(FILTERS), np.int64),
        )
        self.listed: list[list[Listed]] = [[] for _ in self._listed]
        most_keys = (measure.keys(len(parents), parent_count) for measure in self._listed)
        self.key_types: list[np.dtype[np.unsignedinteger]] = [
            np.dtype(np.uint16) if most <= 1 << 16 else np.dtype(np.uint32) for most in most_keys
        ]

    def handle(self, rows: Rows) -> int:
        """Handle rows of the open panes, in the total order. Returns how many were dropped by an opt-out."""
        times = rows.ts - self.epoch.start_ms
        adds = rows.kind != OPT_IN  # an opt-in of somebody who isn't here changes nothing
        columns = rows.pseudonym, adds, times, rows.zone, rows.cohort, rows.kind
        barred = done = 0
        while done < len(times):
            # For one block: mostly there is room for all, and a call takes as long as a hundred sightings.
            self._make_room(min(BLOCK, len(times) - done))
            room = slots.room(self.slots, self.heard)
            tables = self.slots, self.departures, self.rules, self.tally, self.running
            more, new, done, full = handle(*tables, *columns, done, room)
            barred += more
            self.heard += new
            if full:
                self._enlarge()
        return barred

    def _enlarge(self) -> None:
        """The table. How many of a block's subscribers are new is known no sooner than when one has no place."""
        self.take_listed()
        self.slots, row_due, rows = slots.larger(self.slots, self.running.row_due, self.heard + 1)
        self.running = self.running._replace(row_due=row_due)
        for number, parts in enumerate(self.listed):
            self.listed[number] = [moved(part, rows) for part in parts]

    def _make_room(self, rows: int) -> None:
        # What the windows still count must not be forgotten, so the last boundary decides, not the rows' times.
        forgotten = int(self.running.as_of[0]) - self.rules.horizon
        before, self.departures = self.departures, departures.with_room(self.departures, rows, forgotten)
        if self.departures is not before:
            self.fit()
        self._make_list_room(rows)

    def fit(self) -> None:
        """Fit the windows' bookkeeping to the tables, which have been enlarged or replaced."""
        self.running = windows.fitted(self.running, self.slots.rows, self.departures)

    def _make_list_room(self, rows: int) -> None:
        if max(self.tally.filled.tolist(), default=0) + MOST_LISTED * rows > LIST_ROOM:
            self.take_listed()

    def advance(self, boundary_ms: int) -> None:
        """Make the windows those up to the boundary, before which all rows must have been handled, and none after."""
        windows.advance(self.running, self.slots.rows, self.departures, boundary_ms - self.epoch.start_ms)

    def recount(self, boundary_ms: int) -> None:
        """The same of a restored state, from the whole table."""
        self.fit()
        windows.recount(self.running, self.slots.rows, self.departures, boundary_ms - self.epoch.start_ms)

    def within(self, window_ms: int) -> NDArray[np.uint32]:
        """Distinct subscribers in the window up to the last boundary, u32[zones, COHORTS]: a view of what moves on.

        Raises:
            ValueError: the epoch doesn't have the window.
        """
        of_window: NDArray[np.uint32] = self.running.counts[..., windows.place(self.epoch.windows_ms, window_ms)]
        return of_window

    def close_pane(self, boundary_ms: int) -> dict[str, Counts]:
        """The counts of the measures whose pane ends at the boundary, a base pane's end; they begin anew."""
        boundary = boundary_ms - self.epoch.start_ms
        self._settle(boundary)
        self.tally.opened[0] = boundary
        self.take_listed()
        present = self.running.counts[..., windows.PRESENT]
        return {
            measure.name: self._close(measure, present, boundary)
            for measure in self.epoch.measures
            if boundary % measure.pane_ms == 0
        }

    def _settle(self, boundary: int) -> None:
        first = 0
        while first < len(self.slots.rows):
            self._make_list_room(min(SETTLE_BLOCK, len(self.slots.rows) - first))
            first = settle(self.slots, self.rules, self.tally, first, boundary)

    def take_listed(self) -> None:
        """Put what was listed to the rest of the open panes' lists, in no more room than it needs."""
        for number, filled in enumerate(self.tally.filled.tolist()):
            if filled:
                keys, who = self.tally.keys[number, :filled], self.tally.who[number, :filled]
                self.listed[number].append(Listed(keys.astype(self.key_types[number]), who.copy()))
        self.tally.filled[:] = 0

    def take_capped(self) -> dict[str, int]:
        """By measure how many counts its cap has dropped since this was asked last."""
        dropped = {
            measure.name: number
            for measure, number in zip(self._arrivals + self._listed, self.tally.capped.tolist(), strict=True)
        }
        self.tally.capped[:] = 0
        return dropped

    def take_filtered(self) -> dict[str, int]:
        """By rule how many presences it has filtered since this was asked last."""
        filtered = dict(zip(FILTERS, self.tally.filtered.tolist(), strict=True))
        self.tally.filtered[:] = 0
        return filtered

    def _close(self, measure: Measure, present: NDArray[np.uint32], boundary: int) -> Counts:
        if measure.statistic == "arrivals":
            number = self._arrivals.index(measure)
            counts = from_dense(self.tally.arrivals[number])
            self.tally.arrivals[number] = 0
            self.tally.since[number] = boundary
            return counts
        if measure.statistic in LISTED:
            number = self._listed.index(measure)
            counts = counted(self.listed[number], measure.keys(self.epoch.zones, self.rules.parent_count))
            self.listed[number] = []
            return counts
        by_cohort = present if measure.level == "zone" else self._by_parent(present)
        return from_dense(by_cohort.sum(axis=1) if measure.statistic == "present" else by_cohort.ravel())

    def _by_parent(self, counts: NDArray[np.uint32]) -> NDArray[np.uint32]:
        summed = np.zeros((self.rules.parent_count, COHORTS), np.uint32)
        np.add.at(summed, self.rules.parents, counts)
        return summed


def check(epoch: Epoch, zones: int) -> None:
    """Refuse an epoch that can't be counted.

    Raises:
        ThrongError: `epochs`, naming what is wrong with it.
    """
    length = epoch.end_ms - epoch.start_ms
    arrivals = [m for m in epoch.measures if m.statistic == "arrivals"]
    wrong = {
        f"it is counted by rules {epoch.logic}, this release has {LOGIC}; see docs/how-to/upgrade.md": (
            epoch.logic != LOGIC
        ),
        f"it has {epoch.zones} zones, the plan {zones}": epoch.zones != zones,
        "its panes are no multiple of its ticks": epoch.pane_ms % epoch.tick_ms != 0,
        f"it is longer than {slots.LONGEST_EPOCH_MS} ms": length > slots.LONGEST_EPOCH_MS,
        "its length is no multiple of its panes": length % epoch.pane_ms != 0,
        "a measure's panes are no multiple of its own": any(m.pane_ms % epoch.pane_ms for m in epoch.measures),
        "it opens between two panes": (epoch.opens_ms - epoch.start_ms) % epoch.pane_ms != 0,
        "a ping-pong may last as long as a stay": epoch.ping_pong_ms >= epoch.stay_ms,
        "a stay would have to be seen longer than it lasts": epoch.seen_ms > epoch.stay_ms,
        "a jump's speed or length is below 0": epoch.jump_m_s < 0 or epoch.jump_m < 0,
        "a ping-pong may last as long as a silence": epoch.ping_pong_ms >= epoch.silence_ms,
        f"it has more than {MOST_ARRIVALS} measures of arrivals": len(arrivals) > MOST_ARRIVALS,
        "the hours of home or work are none, or more than 18": not (
            0 < epoch.home_until_ms < epoch.work_until_ms <= epoch.home_until_ms + LONGEST_MS
            and epoch.home_until_ms <= LONGEST_MS
        ),
        f"a measure has over {MOST_KEYS} keys": any(m.keys(zones, epoch.parents) > MOST_KEYS for m in epoch.measures),
        f"a cap is above {HIGHEST_CAP}": any(m.cap > HIGHEST_CAP for m in epoch.measures),
    }
    for what, is_wrong in wrong.items():
        if is_wrong:
            raise ThrongError("epochs", f"epoch {epoch.epoch}: {what}")


def countable(epoch: Epoch) -> Epoch:
    """The epoch, about to be written: what is written of it no command can mend, so no crowd may choke on it.

    Raises:
        ThrongError: `epochs` if it can't be counted, naming what is wrong with it.
    """
    try:
        check(epoch, epoch.zones)
    except ThrongError as error:
        raise ThrongError("epochs", f"{error}: it is not opened; change the settings, the plan or the rules") from error
    return epoch


def _counts_against(measure: Measure) -> tuple[str, int]:
    """What a subscriber's count is of, and its cap. Trips by zone, by district and by time are the same trips."""
    same = dict.fromkeys(("trips", "travel_times", "travel_times_by_pair"), "trips") | {"passes": "passes"}
    return same.get(measure.statistic, f"{measure.statistic} {measure.name}"), measure.cap


def _columns(measures: Sequence[Measure], capped: Sequence[tuple[str, int]]) -> Capped:
    counts = [_counts_against(measure) for measure in measures]
    areas = _areas(measures)
    return Capped(
        what=np.array([LISTED.get(measure.statistic, 0) for measure in measures], np.int64),
        by_parent=np.array([measure.level == "parent" for measure in measures], np.int64),
        cap=np.array([measure.cap for measure in measures], np.int64),
        column=np.array([capped.index(count) if count[1] else 0 for count in counts], np.int64),
        adds=np.array([count not in counts[number + 1 :] for number, count in enumerate(counts)], np.int64),
        gap=np.array([measure.gap_ms for measure in measures], np.int64),
        area=np.array([areas.index(m.statistic) if m.statistic in AREAS else 0 for m in measures], np.int64),
    )


def _areas(measures: Sequence[Measure]) -> list[Statistic]:
    """Which areas are known of a subscriber, in their order."""
    return [area for area in AREAS if any(measure.statistic == area for measure in measures)]


def _hours(epoch: Epoch) -> NDArray[np.int64]:
    """From when to when presences tell of each area, i64[areas, 2], ms since the epoch's start."""
    hours = {"home": (0, epoch.home_until_ms), "work": (epoch.home_until_ms, epoch.work_until_ms)}
    return np.array([hours[area] for area in _areas(epoch.measures)], np.int64).reshape(-1, 2)
