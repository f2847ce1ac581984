"""One partition's subscribers in one epoch: the tables, and the loops over them, kept large enough.

In: rows in the total order, and boundaries. Out: counts. This is the Python around `presence`: it calls a loop, enlarges
what the loop says is full, and calls again. Everything it holds is in `arrays` and `numbers`, which is what a snapshot
stores.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.cohorts import COHORTS
from schemas.epochs import Epoch
from schemas.measures import Measure
from schemas.panes import Counts, from_dense, sparse
from streams.core import presence
from streams.core.reorder import Rows

FIRST_SLOTS = 1024
FIRST_ROOM = 1024
NO_CAP = (1 << 16) - 1


class Population:
    """Everyone heard in `epoch`. `parents` u16[zones] is each zone's parent."""

    def __init__(self, epoch: Epoch, parents: NDArray[np.uint16]) -> None:
        self.epoch = epoch
        self._arrivals = _the(epoch, "arrivals")
        self._trips = [measure for measure in epoch.measures if measure.statistic == "trips"]
        if len(self._trips) > 2:
            raise ValueError(f"measures: {len(self._trips)} of statistic trips, at most 2 are possible")
        if epoch.stay_ms <= epoch.ping_pong_ms:
            raise ValueError("epoch: stay_ms must be longer than ping_pong_ms")
        self._rules = _rules(epoch, self._arrivals, self._trips)
        zones = np.arange(len(parents), dtype=np.uint16)
        self._places = np.stack([zones if m.level == "zone" else parents for m in self._trips] or [zones])
        widths = [epoch.zones if m.level == "zone" else epoch.parents for m in self._trips]
        self._width = np.array(widths, np.int64)
        self._longest_ms = max([*epoch.windows_ms, self._arrivals.gap_ms if self._arrivals else 0])
        self.table = presence.new_table(FIRST_SLOTS)
        self.departures = presence.new_departures(FIRST_ROOM)
        self.trip_keys = np.zeros((max(1, len(self._trips)), FIRST_ROOM), np.int64)
        self.arrivals = np.zeros(epoch.zones, np.int32)
        self.numbers = np.zeros(4, np.int64)
        self._since = -1

    @property
    def heard(self) -> int:
        """Distinct pseudonyms heard in the epoch."""
        return int(self.numbers[presence.USED])

    def handle(self, rows: Rows, until_ms: int) -> None:
        """Handle `rows`, all before `until_ms`, which lies in the open panes."""
        pane_ms = self._arrivals.pane_ms if self._arrivals else self.epoch.pane_ms
        pane = (until_ms - 1 - self.epoch.start_ms) // pane_ms
        columns = (rows.pseudonym, rows.ts, rows.zone, rows.cohort, rows.kind)
        total = len(rows.ts)

        done = 0
        while True:
            done = presence.handle_rows(
                self.table,
                self.departures,
                self.numbers,
                self._rules,
                self.trip_keys,
                self._places,
                self._width,
                self.arrivals,
                pane,
                self.epoch.start_ms,
                columns,
                done,
                total,
            )
            if done == total:
                return
            self._enlarge()

    def sweep(self, boundary_ms: int) -> None:
        """End silent presences and recognise stays, as of `boundary_ms`."""
        boundary = boundary_ms - self.epoch.start_ms
        self._since = boundary - self._longest_ms

        slot = 0
        while True:
            slot = presence.sweep(
                self.table,
                self.departures,
                self.numbers,
                self._rules,
                self.trip_keys,
                self._places,
                self._width,
                boundary,
                slot,
            )
            if slot == len(self.table):
                return
            if self._enlarge():
                slot = 0  # slots have moved; what is done already is done once

    def present(self) -> NDArray[np.uint32]:
        """Those present, u32[zones, COHORTS], as of the last sweep's boundary."""
        counts = np.zeros((self.epoch.zones, COHORTS), np.uint32)
        presence.count_present(self.table, counts)
        return counts

    def window(self, present: NDArray[np.uint32], boundary_ms: int, window_ms: int) -> NDArray[np.uint32]:
        """Distinct subscribers in `[boundary - window, boundary)`: `present` and those who left and are not back."""
        counts = present.copy()
        since = boundary_ms - window_ms - self.epoch.start_ms
        presence.count_departed(self.table, self.departures, int(self.numbers[presence.DEPARTED]), since, counts)
        return counts

    def close_pane(self, boundary_ms: int) -> dict[str, Counts]:
        """The counts of all measures whose pane ends at `boundary_ms`; their accumulators begin anew."""
        present = self.present()
        counts: dict[str, Counts] = {}
        for measure in self.epoch.measures:
            if (boundary_ms - self.epoch.start_ms) % measure.pane_ms == 0:
                counts[measure.name] = self._close(measure, present)
        return counts

    def _close(self, measure: Measure, present: NDArray[np.uint32]) -> Counts:
        if measure.statistic == "present":
            return from_dense(present.sum(axis=1))
        if measure.statistic == "present_cohort":
            return from_dense(present.ravel())
        if measure.statistic == "arrivals":
            counts = from_dense(self.arrivals)
            self.arrivals[:] = 0
            return counts
        row = self._trips.index(measure)
        keys, values = np.unique(
            self.trip_keys[row, : self.numbers[presence.TRIPS + row]], return_counts=True
        )
        self.numbers[presence.TRIPS + row] = 0
        return sparse(keys, values)

    def _enlarge(self) -> bool:
        """Enlarge whatever is full. True if the subscribers' slots have moved."""
        used, departed = int(self.numbers[presence.USED]), int(self.numbers[presence.DEPARTED])
        if departed + 2 > len(self.departures):
            self._compact(departed)
        fullest = int(self.numbers[presence.TRIPS :].max())
        if fullest + 2 > self.trip_keys.shape[1]:
            self.trip_keys = np.pad(self.trip_keys, ((0, 0), (0, self.trip_keys.shape[1])))
        if (used + 1) * 16 <= len(self.table) * presence.FILL:
            return False
        larger = presence.new_table(len(self.table) * 3 // 2)
        moved = np.zeros(len(self.table), np.int32)
        presence.rehash(self.table, larger, moved)
        presence.relocate(self.departures, int(self.numbers[presence.DEPARTED]), moved)
        self.table = larger
        return True

    def _compact(self, departed: int) -> None:
        kept = presence.new_departures(len(self.departures))
        moved = np.empty(len(self.departures), np.int32)
        left = int(presence.compact(self.table, self.departures, departed, self._since, kept, moved))
        if left * 2 > len(kept):
            kept = np.concatenate([kept, presence.new_departures(len(kept))])
        self.departures = kept
        self.numbers[presence.DEPARTED] = left


def _the(epoch: Epoch, statistic: str) -> Measure | None:
    found = [measure for measure in epoch.measures if measure.statistic == statistic]
    if len(found) > 1 or any(measure.level != "zone" for measure in found):
        raise ValueError(f"measures: one of statistic {statistic} by zone is possible")
    return found[0] if found else None


def _rules(epoch: Epoch, arrivals: Measure | None, trips: list[Measure]) -> NDArray[np.int64]:
    caps = [measure.cap or NO_CAP for measure in trips] + [0, 0]
    return np.array(
        [
            epoch.silence_ms,
            epoch.stay_ms,
            epoch.ping_pong_ms,
            arrivals.gap_ms if arrivals else 0,
            (arrivals.cap or NO_CAP) if arrivals else 0,
            *caps[:2],
        ],
        np.int64,
    )
