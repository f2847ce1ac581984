"""From released people present to outlooks: which panes are taken, and the records that come of them.

In: records of `footfall`, in any order within a pane; the plan's places. Out: an outlook for each place that is told
and has a usual self. A pane is taken once all its places have come, or a later one begins; one that was taken already,
or is earlier than that, is left out: so whatever is read twice counts once.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from math import isnan
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import numpy as np

from schemas.outlook import OUTLOOK_SCHEMA, Ahead, Outlook
from schemas.plan import Places
from schemas.released import Footfall
from streams.core.derived.usual import (
    AHEAD,
    CONGESTION,
    MINUTES_AHEAD,
    QUARTER_MS,
    TWO_SIDED_95,
    Clock,
    Compared,
    Floats,
    Forecasts,
    Kept,
    moved,
    nothing,
    pack,
    take,
    unpack,
)
from streams.core.times import rfc3339

Place = tuple[Literal["zone", "parent"], str]


class Said(NamedTuple):
    """What there is to say of a pane, before it is put into words. `now`, `se`: as released, NaN where nothing was."""

    places: Sequence[Place]
    end: str
    plan: str
    purpose: str
    clock: Clock
    now: Floats
    se: Floats
    compared: Compared
    forecasts: Forecasts


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
            if record is None or not record.complete or record.covered < 1:
                continue
            if record.estimate is not None and record.se is not None:
                numbers[:, number] = record.estimate, record.se
        now, se = numbers
        clock = clock_of(self._pane_ms, self._zone)
        compared, forecasts = take(self._kept, clock, now, se)
        one = next(iter(pane.values()))
        yield from words(Said(self._places, one.end, one.plan, one.purpose, clock, now, se, compared, forecasts))

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
    quarters = tuple(end.weekday() * 96 + end.hour * 4 + end.minute // 15 for end in ends)
    return Clock(end_ms, quarters, again=ends[0].fold == 1)


def words(said: Said) -> Iterator[Outlook]:
    """The outlooks of a pane: of each place that is told and has a usual self."""
    at = [rfc3339(said.clock.end_ms + (step + 1) * QUARTER_MS) for step in range(AHEAD)]
    usual, usual_se, weeks, deviation, congestion = (column.tolist() for column in said.compared)
    ahead = [column.T.tolist() for column in said.forecasts]
    now, se = said.now.tolist(), said.se.tolist()
    for number in np.flatnonzero(~np.isnan(said.compared.deviation)).tolist():
        level, zone = said.places[number]
        yield Outlook(
            schema=OUTLOOK_SCHEMA,
            end=said.end,
            level=level,
            zone=zone,
            estimate=now[number],
            se=se[number],
            usual=round(usual[number], 1),
            usual_se=round(usual_se[number], 1),
            weeks=round(weeks[number], 2),
            ratio=round(now[number] / max(usual[number], 1.0), 2),
            deviation=round(deviation[number], 2),
            congestion=CONGESTION[congestion[number]],
            forecasts=tuple(_ahead(at, *(column[number] for column in ahead))),
            plan=said.plan,
            purpose=said.purpose,
        )


def _ahead(at: Sequence[str], *columns: Sequence[float]) -> Iterator[Ahead]:
    """A place's forecasts; `columns`: as of `Forecasts`, AHEAD each."""
    for step, (estimate, se, scored, error, covered, error_of_now) in enumerate(zip(*columns, strict=True)):
        if isnan(estimate):
            continue
        known = scored > 0
        yield Ahead(
            at=at[step],
            minutes=MINUTES_AHEAD[step],
            estimate=round(estimate, 1),
            se=round(se, 1),
            low=round(max(estimate - TWO_SIDED_95 * se, 0.0), 1),
            high=round(estimate + TWO_SIDED_95 * se, 1),
            scored=round(scored, 1),
            mean_error=round(error, 1) if known else None,
            covered=round(covered, 3) if known else None,
            mean_error_of_now=round(error_of_now, 1) if known else None,
        )
