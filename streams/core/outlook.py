"""From released people present to outlooks: which panes are taken, and the records that come of them.

In: records of `footfall`, in any order within a pane; the plan's places. Out: an outlook for each place that is told
and has a usual self. A pane is taken once all its places have come, or a later one begins; one that was taken already,
or is earlier than that, is left out: so whatever is read twice counts once.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from schemas.outlook import OUTLOOK_SCHEMA, Ahead, Outlook
from schemas.plan import Places
from schemas.released import Footfall
from streams.core.times import rfc3339
from streams.core.usual import (
    AHEAD,
    CONGESTION,
    QUARTER_MS,
    TWO_SIDED_95,
    Clock,
    Compared,
    Forecasts,
    Kept,
    moved,
    nothing,
    pack,
    take,
    unpack,
)

Place = tuple[str, str]


class Outlooks:
    """What follows of the records so far. `places`: of the plan that they name; `profile`: as `profile()` said before.

    Raises:
        ValueError: the profile is none.
    """

    def __init__(self, places: Places, profile: bytes | None = None) -> None:
        self._zone = ZoneInfo(places.timezone)
        self._places: list[Place] = [("zone", zone.id) for zone in places.zones]
        self._places += [("parent", parent.id) for parent in places.parents]
        self._known = frozenset(self._places)
        self._kept = nothing(len(self._places)) if profile is None else self._read(profile)
        self._pane: dict[Place, Footfall] = {}
        self._pane_ms = 0

    def take(self, record: Footfall) -> Iterator[Outlook]:
        """Take up a record; what follows, if that makes a pane whole."""
        end_ms = round(datetime.fromisoformat(record.end).timestamp() * 1000)
        place = (record.level, record.zone)
        if record.measure != "present" or place not in self._known or end_ms % QUARTER_MS or end_ms <= self._kept.at_ms:
            return
        if end_ms < self._pane_ms:
            return
        if end_ms > self._pane_ms:
            yield from self.close()
            self._pane_ms = end_ms
        self._pane[place] = record
        if len(self._pane) == len(self._places):
            yield from self.close()

    def close(self) -> Iterator[Outlook]:
        """What follows of the pane so far, whole or not."""
        pane, self._pane = self._pane, {}
        if not pane:
            return
        numbers = np.full((2, len(self._places)), np.nan)
        for number, place in enumerate(self._places):
            record = pane.get(place)
            if record is not None and record.estimate is not None and record.se is not None and record.complete:
                numbers[:, number] = record.estimate, record.se
        now, se = numbers
        clock = clock_of(self._pane_ms, self._zone)
        compared, forecasts = take(self._kept, clock, now, se)
        for number in np.flatnonzero(~np.isnan(compared.deviation)).tolist():
            yield _outlook(pane[self._places[number]], clock, compared, forecasts, number)

    def profile(self) -> bytes:
        """What is kept, to go on with later."""
        return msgspec.msgpack.encode((self._places, pack(self._kept)))

    def _read(self, profile: bytes) -> Kept:
        try:
            names, kept = msgspec.msgpack.decode(profile, type=tuple[list[Place], bytes])
            before = {place: number for number, place in enumerate(names)}
            return moved(unpack(kept), np.array([before.get(place, -1) for place in self._places], np.int64))
        except (msgspec.DecodeError, ValueError) as error:
            raise ValueError(f"no profile: {error}") from error


def clock_of(end_ms: int, zone: ZoneInfo) -> Clock:
    """The quarter of the local week that ends then (Monday 0:15 is 1), and the next ones."""
    ends = [datetime.fromtimestamp((end_ms + step * QUARTER_MS) / 1000, zone) for step in range(AHEAD + 1)]
    return Clock(end_ms, tuple(end.weekday() * 96 + end.hour * 4 + end.minute // 15 for end in ends))


def _outlook(record: Footfall, clock: Clock, compared: Compared, forecasts: Forecasts, number: int) -> Outlook:
    estimate, usual = record.estimate or 0.0, float(compared.usual[number])
    return Outlook(
        schema=OUTLOOK_SCHEMA,
        end=record.end,
        level=record.level,
        zone=record.zone,
        estimate=estimate,
        se=record.se or 0.0,
        usual=round(usual, 1),
        usual_se=round(float(compared.usual_se[number]), 1),
        weeks=round(float(compared.weeks[number]), 2),
        ratio=round(estimate / max(usual, 1.0), 2),
        deviation=round(float(compared.deviation[number]), 2),
        congestion=CONGESTION[int(compared.congestion[number])],
        forecasts=tuple(_ahead(clock.end_ms, forecasts, number)),
        plan=record.plan,
        purpose=record.purpose,
    )


def _ahead(end_ms: int, forecasts: Forecasts, number: int) -> Iterator[Ahead]:
    for step in range(AHEAD):
        estimate, se = float(forecasts.estimate[step, number]), float(forecasts.se[step, number])
        if np.isnan(estimate):
            continue
        scored = float(forecasts.scored[step, number])
        yield Ahead(
            at=rfc3339(end_ms + (step + 1) * QUARTER_MS),
            minutes=(step + 1) * QUARTER_MS // 60_000,
            estimate=round(estimate, 1),
            se=round(se, 1),
            low=round(max(estimate - TWO_SIDED_95 * se, 0.0), 1),
            high=round(estimate + TWO_SIDED_95 * se, 1),
            scored=round(scored, 1),
            **(_score(forecasts, step, number) if scored > 0 else {}),
        )


def _score(forecasts: Forecasts, step: int, number: int) -> Mapping[str, float]:
    return {
        "mean_error": round(float(forecasts.mean_error[step, number]), 1),
        "covered": round(float(forecasts.covered[step, number]), 3),
        "mean_error_of_now": round(float(forecasts.mean_error_of_now[step, number]), 1),
    }
