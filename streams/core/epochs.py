"""Epochs: which one an event time falls in, and where a new one begins and ends.

An epoch is a local day from the change hour (04:00) to the next one, in event time, so 23 to 25 hours long where
clocks are put forward or back. In come the records of the `epochs` topic in the order of the log; the first of an
epoch wins, and the very first says where counting begins (`opens_ms`): what ends before that is nothing to count.
Kept: the table. Nothing can fail but an unknown time zone.
"""

from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.measures import Measure
from streams.errors import ThrongError

HOUR_MS = 3_600_000
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
# Added to an epoch's number for each part that it is cut into: no date has these.
PART = 32


class Bounds(NamedTuple):
    """An epoch's number (YYYYMMDD of the local date of its start), and [start, end) in ms."""

    epoch: int
    start_ms: int
    end_ms: int


def epoch_bounds(ts_ms: int, timezone: str, change_hour: int = 4) -> Bounds:
    """The local day from `change_hour` on that holds `ts_ms`.

    Where the hour doesn't exist on a date the day begins with the first instant after it; where it comes twice, with
    the first.

    Raises:
        ThrongError: `timezone` if there is no such zone.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ThrongError("timezone", f"unknown time zone {timezone!r}: use an IANA name, Europe/Berlin") from error
    day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts_ms)).astimezone(zone).date()
    # The change lies on the local date of ts or on the day before; two more days for dates that a zone has skipped.
    starts = [(day + n * DAY, _start_ms(day + n * DAY, change_hour, zone)) for n in range(-2, 3)]
    at = bisect_right([start for _, start in starts], ts_ms)
    local, start_ms = starts[at - 1]
    return Bounds(_number(local), start_ms, starts[at][1])


def _number(day: date) -> int:
    return day.year * 10_000 + day.month * 100 + day.day


def _start_ms(day: date, hour: int, zone: ZoneInfo) -> int:
    """The first instant whose local time is `hour` o'clock of `day` or later."""
    wanted = datetime.combine(day, time(hour))
    # In a gap the two folds are the offsets before and after it, and the gap's end lies between the two readings.
    low, high = sorted(wanted.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if low.astimezone(zone).replace(tzinfo=None) < wanted:
        while high - low > SECOND:
            middle = low + (high - low) // 2
            if middle.astimezone(zone).replace(tzinfo=None) < wanted:
                low = middle
            else:
                high = middle
        low = high.replace(microsecond=0)
    return round(low.timestamp()) * 1000


class EpochTable:
    """The epochs of a deployment, in the order of time."""

    def __init__(self, epochs: Sequence[Epoch] = ()) -> None:
        self.epochs: list[Epoch] = []
        self.starts: NDArray[np.int64] = np.empty(0, np.int64)
        self.ends: NDArray[np.int64] = np.empty(0, np.int64)
        self.years: NDArray[np.int64] = np.empty(0, np.int64)
        self.opens_ms: int | None = None
        for epoch in epochs:
            self.add(epoch)

    @property
    def horizon_ms(self) -> int | None:
        """The end of the last known epoch."""
        return self.epochs[-1].end_ms if self.epochs else None

    def add(self, epoch: Epoch) -> bool:
        """Take the next record of the log. False, and nothing changed, if another has its number or its time.

        The same holds for one that ends before the deployment's first epoch opens: gateways that raced for the first
        epoch, around its start, then agree by the log.
        """
        if self.opens_ms is None:
            self.opens_ms = epoch.opens_ms
        elif epoch.end_ms <= self.opens_ms or any(_collide(epoch, other) for other in self.epochs):
            return False
        self.epochs.insert(int(np.searchsorted(self.starts, epoch.start_ms)), epoch)
        self._index()
        return True

    def _index(self) -> None:
        self.starts = np.array([e.start_ms for e in self.epochs], np.int64)
        self.ends = np.array([e.end_ms for e in self.epochs], np.int64)
        self.years = np.array([e.epoch // 10_000 for e in self.epochs], np.int64)

    def cut(self, at_ms: int) -> None:
        """Give the rest of the epoch that holds `at_ms` a salt of its own, as a part with another number.

        For gateways alone, who resolve salts by epochs: to all others the epoch stays whole. Nothing changes if it is
        cut there already, or twice before.
        """
        whole = self.find(at_ms)
        if whole is None or whole.start_ms == at_ms or whole.epoch % 100 > 2 * PART:
            return
        number = whole.epoch + PART
        if any(epoch.epoch == number for epoch in self.epochs):
            return
        rest = replace(whole, epoch=number, start_ms=at_ms, opens_ms=max(at_ms, whole.opens_ms), salt=str(number))
        place = self.epochs.index(whole)
        self.epochs[place : place + 1] = [replace(whole, end_ms=at_ms), rest]
        self._index()

    def find(self, ts_ms: int) -> Epoch | None:
        """The epoch that holds an event time, whether it was open by then or not."""
        return next((epoch for epoch in self.epochs if epoch.start_ms <= ts_ms < epoch.end_ms), None)

    def find_index(self, ts_ms: NDArray[np.int64]) -> NDArray[np.int64]:
        """For each time i64[n] its epoch's position in `epochs`, or -1."""
        at = np.searchsorted(self.starts, ts_ms, side="right") - 1
        if not self.epochs:
            return at
        return np.where((at >= 0) & (ts_ms < self.ends[at]), at, -1)


def _collide(one: Epoch, other: Epoch) -> bool:
    return one.epoch == other.epoch or (one.start_ms < other.end_ms and other.start_ms < one.end_ms)


class Terms(NamedTuple):
    """What a new epoch is to hold, from settings, policy and plan; see `schemas.epochs.Epoch` for each."""

    timezone: str
    change_hour: int
    partitions: int
    plan: str
    zones: int
    parents: int
    measures: tuple[Measure, ...]
    epsilon: float
    delta: float
    rho: float
    k: int
    policy: str
    sources: tuple[int, ...]
    lateness_ms: int = 10_000
    tick_ms: int = 10_000
    purpose: str = ""
    audit: str = ""
    stay_ms: int = 600_000
    seen_ms: int = 180_000
    ping_pong_ms: int = 300_000
    jump_m_s: int = 0
    jump_m: int = 10_000


def make_epoch(ts_ms: int, terms: Terms, known: EpochTable) -> Epoch:
    """The record of the epoch that holds `ts_ms`, which none in `known` does.

    A deployment's first epoch opens at the last full hour from its start that isn't after `ts_ms`. An epoch whose
    neighbour in `known` reaches into its day (the change hour or the time zone was set anew) is cut there.

    Raises:
        ThrongError: `timezone` if there is no such zone.
    """
    bounds = _between(ts_ms, terms, known)
    first = not known.epochs
    opens_ms = bounds.start_ms + ((ts_ms - bounds.start_ms) // HOUR_MS * HOUR_MS if first else 0)
    return Epoch(
        epoch=bounds.epoch,
        start_ms=bounds.start_ms,
        end_ms=bounds.end_ms,
        opens_ms=opens_ms,
        salt=str(bounds.epoch),
        **{name: value for name, value in terms._asdict().items() if name != "change_hour"},
    )


def _between(ts_ms: int, terms: Terms, known: EpochTable) -> Bounds:
    """The bounds of a new epoch around `ts_ms`, cut where known ones begin and end."""
    day = epoch_bounds(ts_ms, terms.timezone, terms.change_hour)
    before = [epoch for epoch in known.epochs if epoch.end_ms <= ts_ms]
    after = [epoch.start_ms for epoch in known.epochs if epoch.start_ms > ts_ms]
    number, start_ms, end_ms = day
    if any(epoch.epoch == number for epoch in before):
        # The hour was set later: what is left until then goes to the next day's epoch.
        number, _, end_ms = epoch_bounds(day.end_ms, terms.timezone, terms.change_hour)
    if before:
        start_ms = max(start_ms, before[-1].end_ms)
    return Bounds(number, start_ms, min([end_ms, *after]))
