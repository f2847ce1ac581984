"""Released records of counts in parts: dwell by length, visits by number, trips to a place by the time they took,
visitors by where they live or work.

In: a measure's estimates for all keys of a pane, of `n` parts of each place. Out: for every zone and district a record
of all its parts together, told or suppressed, and one for each part that can be told. All of it is sums of what was
drawn: a district's variance is that of its zones together, and so is that of all parts. What is counted by district has
no zones. Where pairs of place and area come from the data, those that can be told are, and a summary.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from schemas.access import RELEASED_BY
from schemas.ledger import Publication
from schemas.lengths import BUCKETS, CUT, LIMITS_MS, TRAVEL_TIMES, UNKNOWN, VISITS
from schemas.measures import AREAS, Level, Measure, Statistic
from schemas.released import (
    AREAS_SCHEMA,
    DWELL_SCHEMA,
    FLOWS_SCHEMA,
    VISITS_SCHEMA,
    Areas,
    AreasSummary,
    Dwell,
    Parted,
    TravelTimes,
    Visits,
)
from streams.core.estimates.median import median
from streams.core.release.render import (
    Common,
    Estimates,
    Page,
    Pane,
    common,
    incomplete,
    length,
    publication,
)

STATISTICS: Final[tuple[Statistic, ...]] = ("dwell", "visits", "travel_times", *AREAS)


class _Place(TypedDict):
    measure: str
    level: Level
    zone: str
    suppressed: bool


class _Table(NamedTuple):
    """Estimates of the places of a level: [places, parts] each."""

    level: Level
    places: list[str]
    parts: Estimates

    def together(self, first: int = 0, end: int | None = None) -> Estimates:
        """The parts from `first` to before `end` as one."""
        return self.parts.summed(lambda parts: np.asarray(parts[:, first:end].sum(axis=1)))


def parted(page: Page, measure: Measure, pane: Pane, keys: Estimates) -> Iterator[Publication]:
    """The pane's records."""
    shape = (-1, measure.parts(len(page.parents)))
    tables = _tables(page, measure.level, keys.each(lambda column: column.reshape(shape)))
    k, said, topic = pane.epoch.k, common(pane), RELEASED_BY[measure.statistic]
    wholes = [page.numbers(table.together(), k, measure.name) for table in tables]
    parent_of, districts_told = page.parent_of.tolist(), wholes[-1]
    named = [_named(page, measure, part) for part in range(shape[1])]
    for table, told in zip(tables, wholes, strict=True):
        parts_told = page.numbers(table.parts.each(np.ravel), k, measure.name)
        of_place: dict[int, list[int]] = {}
        for key in parts_told:
            of_place.setdefault(key // shape[1], []).append(key)
        of_lengths = _of_lengths(page, table, pane) if measure.statistic == "dwell" else {}
        for number, place in enumerate(table.places):
            more: Mapping[str, Any] = {}
            if number in told:
                more = {**told[number], **of_lengths.get(number, {})}
            elif table.level == "zone" and parent_of[number] in districts_told:
                more = {"speaks_through": page.parents[parent_of[number]]}
            whole = _Place(measure=measure.name, level=table.level, zone=place, suppressed=number not in told)
            yield publication(topic, place, _record(measure, whole, said, more))
            part_of = _Place(measure=measure.name, level=table.level, zone=place, suppressed=False)
            for key in of_place.get(number, ()):
                filled = {**named[key % shape[1]], **parts_told[key]}
                yield publication(topic, place, _record(measure, part_of, said, filled))


def keyed(
    page: Page, measure: Measure, pane: Pane, keys: Estimates, occurring: NDArray[np.uint32]
) -> Iterator[Publication]:
    """The pane's records if it has the `occurring` keys alone: no sum of them stands for a place."""
    places, parts = page.zones if measure.level == "zone" else page.parents, measure.parts(len(page.parents))
    told, said = page.numbers(keys, pane.epoch.k, measure.name), common(pane)
    for key, found in told.items():
        number, part = divmod(int(occurring[key]), parts)
        place = _Place(measure=measure.name, level=measure.level, zone=places[number], suppressed=False)
        record = _record(measure, place, said, {**_named(page, measure, part), **found})
        yield publication(RELEASED_BY[measure.statistic], places[number], record)
    yield _summary(page, measure, len(told), said)


def _summary(page: Page, measure: Measure, told: int, said: Common, lost: bool = False) -> Publication:
    assert measure.statistic == "home" or measure.statistic == "work"
    summary = AreasSummary(
        schema=AREAS_SCHEMA,
        measure=measure.name,
        level=measure.level,
        kind=measure.statistic,
        published_pairs=told,
        suppressed_pairs=measure.keys(len(page.zones), len(page.parents)) - told,
        state_lost=lost,
        **said,
    )
    return publication(RELEASED_BY[measure.statistic], measure.name, summary)


def shut(page: Page, measure: Measure, pane: Pane) -> Iterator[Publication]:
    """What is said of a pane that can't be counted whole because state was lost: all is suppressed."""
    said = incomplete(pane)
    if measure.keys_from_data(len(page.zones), len(page.parents)) and measure.statistic in AREAS:
        yield _summary(page, measure, 0, said, lost=True)
        return
    levels: tuple[tuple[Level, list[str]], ...] = (("zone", page.zones), ("parent", page.parents))
    for level, places in levels if measure.level == "zone" else levels[1:]:
        for place in places:
            whole = _Place(measure=measure.name, level=level, zone=place, suppressed=True)
            record = _record(measure, whole, said, {"state_lost": True})
            yield publication(RELEASED_BY[measure.statistic], place, record)


def _tables(page: Page, level: Level, counted: Estimates) -> tuple[_Table, ...]:
    """Zones and districts, or districts alone; districts last."""
    if level == "parent":
        return (_Table("parent", page.parents, counted),)
    return _Table("zone", page.zones, counted), _Table("parent", page.parents, counted.summed(page.added))


def _record(measure: Measure, place: _Place, said: Common, more: Mapping[str, Any]) -> Parted:
    if measure.statistic == "visits":
        return Visits(schema=VISITS_SCHEMA, **place, **said, **more)
    if measure.statistic == "travel_times":
        return TravelTimes(schema=FLOWS_SCHEMA, **place, **said, **more)
    if measure.statistic == "home" or measure.statistic == "work":
        return Areas(schema=AREAS_SCHEMA, kind=measure.statistic, **place, **said, **more)
    return Dwell(schema=DWELL_SCHEMA, **place, **said, **more)


def _named(page: Page, measure: Measure, part: int) -> dict[str, Any]:
    if measure.statistic == "visits":
        return {"visit": VISITS[part]}
    if measure.statistic in AREAS:
        return {"area": page.parents[part]} if part < len(page.parents) else {"unknown": True}
    if measure.statistic == "travel_times":
        return length("band", TRAVEL_TIMES[part], part == UNKNOWN)
    return length("bucket", BUCKETS[part], part == CUT)


def _of_lengths(page: Page, table: _Table, pane: Pane) -> dict[int, dict[str, float]]:
    """Stays and passes apart, and the stays' median length, where they are surely k, by place."""
    split = bisect_right(LIMITS_MS, pane.epoch.stay_ms)
    passes, stays = table.together(0, split), table.together(split, CUT)
    middle = median(table.parts.mean, table.parts.se**2, split)
    found: dict[int, dict[str, float]] = {}
    for number, said in page.numbers(passes, pane.epoch.k).items():
        found[number] = {"passes": said["estimate"], "passes_se": said["se"]}
    for number, said in page.numbers(stays, pane.epoch.k).items():
        of_stays = found.setdefault(number, {})
        of_stays |= {"stays": said["estimate"], "stays_se": said["se"]}
        of_stays |= {"median_min": float(middle.median[number]), "median_low": float(middle.low[number])}
        if np.isfinite(middle.high[number]):
            of_stays["median_high"] = float(middle.high[number])
    return found
