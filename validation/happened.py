"""What truly happened, by the definitions of docs/reference/semantics.md, of where people truly were.

In: stretches (subscriber, zone, staying or on the way, from, to) of an epoch. Out: the measures' counts as the crowd
would have them if the network saw everything at once: the same panes, keys and moments at which a count is taken. Where
the definitions deal with what a network can't know, the truth needs no rule: no ping-pong, no silence.

One thing is told apart that the network can't: a *stop*. Somebody who takes ten minutes to walk through a park was
there for ten minutes, but did not stop there. `stops` says which of both a stay is: where people truly stopped (the
default, what truly happened), or where they were for so long (the definition's words, on true positions).
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.cohorts import COHORTS
from schemas.epochs import Epoch
from schemas.lengths import BUCKETS, CUT, LIMITS_MS, LONGEST, TRAVEL_LIMITS_MIN, TRAVEL_TIMES, UNKNOWN, VISITS
from schemas.measures import AREAS, Measure
from streams.simulate.people import OFF, STAYING

FOOTFALL_MS: Final = 900_000
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000

Counts = NDArray[np.int64]


class Medians(NamedTuple):
    """How many stays there are, i64[panes, zones], and their median length in minutes, f64, NaN of none."""

    stays: Counts
    minutes: NDArray[np.float64]


class Presences(NamedTuple):
    """Times without a break in one zone, by subscriber and time: i64[n] each; stop_ms: the longest time on one spot."""

    who: NDArray[np.int64]
    zone: NDArray[np.int64]
    begin: NDArray[np.int64]
    end: NDArray[np.int64]
    stop_ms: NDArray[np.int64]

    def rows(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> "Presences":
        """Some of them."""
        return Presences(*(column[keep] for column in self))


def presences(stretches: NDArray[np.void], excluded: NDArray[np.int64], epoch: Epoch) -> Presences:
    """Stretches joined; phones that are off and zones that are excluded are nowhere."""
    inside = (stretches["end"] > epoch.start_ms) & (stretches["begin"] < epoch.end_ms) & (stretches["mode"] != OFF)
    rows = stretches[inside & ~np.isin(stretches["zone"], excluded)]
    rows = rows[np.lexsort([rows["begin"], rows["who"]])]
    who, zone = rows["who"].astype(np.int64), rows["zone"].astype(np.int64)
    begin = np.maximum(rows["begin"], epoch.start_ms)
    end = np.minimum(rows["end"], epoch.end_ms)
    staying = rows["mode"] == STAYING
    same = (who[1:] == who[:-1]) & (zone[1:] == zone[:-1]) & (begin[1:] == end[:-1])
    # First stops without a break, then presences: a stop may be told in several stretches.
    spot = np.flatnonzero(np.concatenate([[True], ~(same & (staying[1:] == staying[:-1]))]))
    whole = np.flatnonzero(np.concatenate([[True], ~same]))
    if not len(rows):
        return Presences(who, zone, begin, end, begin)
    long = np.where(staying[spot], end[np.append(spot[1:], len(rows)) - 1] - begin[spot], 0)
    longest = np.maximum.reduceat(long, np.searchsorted(spot, whole))
    return Presences(who[whole], zone[whole], begin[whole], end[np.append(whole[1:], len(rows)) - 1], longest)


def present(there: Presences, epoch: Epoch, measure: Measure) -> Counts:
    """Who is where the last instant before each pane's end, i64[panes, zones]."""
    return _present(there, epoch, measure, epoch.zones)


def _present(there: Presences, epoch: Epoch, measure: Measure, places: int) -> Counts:
    panes = epoch.panes(measure.pane_ms)
    change = np.zeros((panes + 1, places), np.int64)
    np.add.at(change, ((there.begin - epoch.start_ms) // measure.pane_ms, there.zone), 1)
    np.add.at(change, ((there.end - epoch.start_ms) // measure.pane_ms, there.zone), -1)
    return change.cumsum(axis=0)[:-1]


def present_by_cohort(there: Presences, epoch: Epoch, measure: Measure, cohorts: NDArray[np.uint8]) -> Counts:
    """The same by cohort, i64[panes, zones * COHORTS]. `cohorts`: of each subscriber, by number."""
    keys = Presences(there.who, there.zone * COHORTS + cohorts[there.who], there.begin, there.end, there.stop_ms)
    return _present(keys, epoch, measure, epoch.zones * COHORTS)


def footfall(there: Presences, epoch: Epoch, window_ms: int = FOOTFALL_MS) -> Counts:
    """Distinct people with any instant in the zone, i64[windows, zones]."""
    first = (there.begin - epoch.start_ms) // window_ms
    last = (there.end - 1 - epoch.start_ms) // window_ms
    times = last - first + 1
    row = np.repeat(np.arange(len(first)), times)
    window = np.arange(len(row)) - np.repeat(times.cumsum() - times, times) + first[row]
    return once(there.who[row], window, there.zone[row], epoch.panes(window_ms), epoch.zones)


def stays(there: Presences, epoch: Epoch, stops: bool = True) -> Presences:
    """The presences that are stays."""
    return there.rows(_stayed(there, epoch, stops))


def _stayed(there: Presences, epoch: Epoch, stops: bool) -> NDArray[np.bool_]:
    return np.asarray((there.stop_ms if stops else there.end - there.begin) >= epoch.stay_ms)


def trips(stayed: Presences, epoch: Epoch, measure: Measure, parents: NDArray[np.uint16]) -> Counts:
    """From stay to stay in another zone, i64[panes, places squared], in the pane in which the stay is known."""
    places = epoch.zones if measure.level == "zone" else epoch.parents
    moved = (stayed.who[1:] == stayed.who[:-1]) & (stayed.zone[1:] != stayed.zone[:-1])
    origin, goal = stayed.zone[:-1][moved], stayed.zone[1:][moved]
    if measure.level == "parent":
        origin, goal = parents[origin].astype(np.int64), parents[goal].astype(np.int64)
    pane = (stayed.begin[1:][moved] + epoch.stay_ms - epoch.start_ms) // measure.pane_ms
    return once(stayed.who[1:][moved], pane, origin * places + goal, epoch.panes(measure.pane_ms), places**2)


def travel_times(
    there: Presences, epoch: Epoch, measure: Measure, parents: NDArray[np.uint16], stops: bool = True
) -> Counts:
    """Trips by their destination, or by both ends, and the minutes between the two zones, i64[panes, places * 6] or
    i64[panes, places squared * 6]."""
    long = np.flatnonzero(_stayed(there, epoch, stops))
    one, other = long[:-1], long[1:]
    moved = (there.who[one] == there.who[other]) & (there.zone[one] != there.zone[other])
    one, other = one[moved], other[moved]
    broken = np.cumsum(~_goes_on(there))
    minutes = (there.begin[other] - epoch.start_ms) // MINUTE_MS - (there.end[one] - epoch.start_ms) // MINUTE_MS
    part = np.searchsorted(np.array(TRAVEL_LIMITS_MIN), minutes, side="right")
    part = np.where(np.append(0, broken)[one] == np.append(0, broken)[other], part, UNKNOWN)
    zones = np.stack([there.zone[one], there.zone[other]])
    origin, goal = zones if measure.level == "zone" else parents[zones].astype(np.int64)
    places = epoch.zones if measure.level == "zone" else epoch.parents
    place = goal if measure.statistic == "travel_times" else origin * places + goal
    pane = (there.begin[other] + epoch.stay_ms - epoch.start_ms) // measure.pane_ms
    keys, panes = place * len(TRAVEL_TIMES) + part, epoch.panes(measure.pane_ms)
    return once(there.who[other], pane, keys, panes, measure.keys(epoch.zones, epoch.parents))


def passes(there: Presences, epoch: Epoch, measure: Measure, parents: NDArray[np.uint16], stops: bool = True) -> Counts:
    """From where somebody did not stay to where they were next, i64[panes, places squared], when it is certain."""
    went = np.append(_goes_on(there), False)[: len(there.who)]
    passed = np.flatnonzero(went & ~_stayed(there, epoch, stops) & (there.begin > epoch.start_ms))
    here, onward = there.zone[passed], there.zone[passed + 1]
    if measure.level == "parent":
        here, onward = parents[here].astype(np.int64), parents[onward].astype(np.int64)
    places = epoch.zones if measure.level == "zone" else epoch.parents
    panes = epoch.panes(measure.pane_ms)
    pane = np.minimum((_certain(there, epoch)[passed] - epoch.start_ms) // measure.pane_ms, panes - 1)
    return once(there.who[passed], pane, here * places + onward, panes, places**2)


def _goes_on(there: Presences) -> NDArray[np.bool_]:
    """Which presences the next one follows at once, bool[n - 1]."""
    return np.asarray((there.who[1:] == there.who[:-1]) & (there.begin[1:] == there.end[:-1]))


def visits(stayed: Presences, epoch: Epoch, measure: Measure, remembered: int | None = None) -> Counts:
    """Stays after one elsewhere or none, numbered by zone, i64[panes, zones * 3].

    Args:
        remembered: number in the first so many visited zones only, as the crowd does; elsewhere each is a first one.
    """
    came, number = _numbered(stayed, epoch, remembered)
    pane = (came.begin + epoch.stay_ms - epoch.start_ms) // measure.pane_ms
    keys = came.zone * len(VISITS) + number
    return once(came.who, pane, keys, epoch.panes(measure.pane_ms), epoch.zones * len(VISITS))


def areas(
    stayed: Presences,
    epoch: Epoch,
    measure: Measure,
    parents: NDArray[np.uint16],
    lived: NDArray[np.int64] | None = None,
) -> Counts:
    """First visits once the hours are over that tell of a home, or a place of work, by its district; last, if there is
    none. i64[panes, zones * (parents + 1)].

    Args:
        lived: each subscriber's true district, by number, -1 if they have none. None, or who has none: by the longest
            stay in the hours, as the crowd has it.
    """
    until = epoch.start_ms + np.array([0, epoch.home_until_ms, epoch.work_until_ms])
    since_ms, until_ms = until[:2] if measure.statistic == "home" else until[1:]
    longest = _longest(stayed, epoch, parents, int(since_ms), int(until_ms))
    came, number = _numbered(stayed, epoch, None)
    came = came.rows((number == 0) & (came.begin + epoch.stay_ms > until_ms))
    area = np.array([longest.get(who, epoch.parents) for who in came.who.tolist()], np.int64)
    if lived is not None:
        area = np.where(lived[came.who] >= 0, lived[came.who], area)
    pane = (came.begin + epoch.stay_ms - epoch.start_ms) // measure.pane_ms
    keys = came.zone * (epoch.parents + 1) + area
    return once(came.who, pane, keys, epoch.panes(measure.pane_ms), epoch.zones * (epoch.parents + 1))


def _longest(
    stayed: Presences, epoch: Epoch, parents: NDArray[np.uint16], since_ms: int, until_ms: int
) -> dict[int, int]:
    """The district of each one's longest stay in some hours, in whole seconds, of equals the first."""
    within = np.minimum(stayed.end, until_ms) - np.maximum(stayed.begin, since_ms)
    there = stayed.rows(within >= epoch.stay_ms)
    seconds = within[within >= epoch.stay_ms] // 1000
    order = np.lexsort([there.begin, -seconds, there.who])
    who, first = np.unique(there.who[order], return_index=True)
    return dict(zip(who.tolist(), parents[there.zone[order][first]].tolist(), strict=True))


def _numbered(stayed: Presences, epoch: Epoch, remembered: int | None) -> tuple[Presences, NDArray[np.int64]]:
    """The stays that are visits, and each one's number there from 0, the last of VISITS at most."""
    again = (stayed.who[1:] == stayed.who[:-1]) & (stayed.zone[1:] == stayed.zone[:-1])
    came = stayed.rows(~np.append(False, again)[: len(stayed.who)])
    order = np.argsort(came.who * epoch.zones + came.zone, kind="stable")
    nth, first = _ordinals((came.who * epoch.zones + came.zone)[order])
    number = np.empty(len(order), np.int64)
    number[order] = np.minimum(nth, len(VISITS) - 1)
    if remembered is not None:
        firsts = np.sort(order[first])
        known = firsts[_ordinals(came.who[firsts])[0] < remembered]
        pairs = came.who * epoch.zones + came.zone
        number[~np.isin(pairs, pairs[known])] = 0
    return came, number


def _ordinals(rising: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of values in order: which of its equals each is, from 0, and which are the first."""
    first = np.append(True, rising[1:] != rising[:-1])[: len(rising)]
    begin = np.maximum.accumulate(np.where(first, np.arange(len(rising)), 0))
    return np.arange(len(rising)) - begin, first


def dwell(there: Presences, epoch: Epoch, measure: Measure, stops: bool = True) -> Counts:
    """Lengths of presences, when it is certain that they are over, i64[panes, zones * 8].

    Args:
        stops: without a stop it is a pass, however long the way was.
    """
    bucket, pane = _ended(there, epoch, measure, stops)
    panes = epoch.panes(measure.pane_ms)
    return once(there.who, pane, there.zone * len(BUCKETS) + bucket, panes, epoch.zones * len(BUCKETS))


def median_stay(there: Presences, epoch: Epoch, measure: Measure) -> Medians:
    """The median length of the stays that `dwell` counts in each pane and zone, those cut left out."""
    bucket, pane = _ended(there, epoch, measure, stops=True)
    stays = (bucket != CUT) & (there.stop_ms >= epoch.stay_ms)
    key, minutes = (pane * epoch.zones + there.zone)[stays], ((there.end - there.begin) / MINUTE_MS)[stays]
    order = np.lexsort([minutes, key])
    found, first, each = np.unique(key[order], return_index=True, return_counts=True)
    middle = (minutes[order][first + (each - 1) // 2] + minutes[order][first + each // 2]) / 2
    shape = (epoch.panes(measure.pane_ms), epoch.zones)
    medians = Medians(np.zeros(shape, np.int64), np.full(shape, np.nan))
    medians.stays.flat[found], medians.minutes.flat[found] = each, middle
    return medians


def _ended(
    there: Presences, epoch: Epoch, measure: Measure, stops: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each presence the bucket of its length, and the pane in which it counts."""
    length = there.end - there.begin
    if stops:
        length = np.where(there.stop_ms >= epoch.stay_ms, length, np.minimum(length, epoch.stay_ms - 1))
    bucket = np.searchsorted(np.array(LIMITS_MS), length, side="right")
    cut = (there.begin == epoch.start_ms) | (there.end == epoch.end_ms)
    bucket = np.where(cut & (bucket < LONGEST), CUT, bucket)
    last = epoch.panes(measure.pane_ms) - 1
    return bucket, np.minimum((_certain(there, epoch) - epoch.start_ms) // measure.pane_ms, last)


def _certain(there: Presences, epoch: Epoch) -> NDArray[np.int64]:
    """When the crowd takes a presence for over: no ping-pong can restore it any more. i64[n]"""
    goes_on = _goes_on(there)
    certain = there.end.copy()
    certain[:-1][goes_on] = np.minimum(there.end[:-1] + epoch.ping_pong_ms, there.end[1:])[goes_on]
    return certain


def once(who: NDArray[np.int64], pane: NDArray[np.int64], key: NDArray[np.int64], panes: int, keys: int) -> Counts:
    """Counts i64[panes, keys], each subscriber once in each."""
    # Sorted: the hash table by which numpy.unique finds distinct numbers takes a hundred times as long for these.
    seen = np.sort((who * panes + pane) * keys + key)
    cell = np.concatenate([seen[:1], seen[1:][seen[1:] != seen[:-1]]]) % (panes * keys)
    return np.bincount(cell, minlength=panes * keys).reshape(panes, keys).astype(np.int64)


def everything(
    there: Presences,
    epoch: Epoch,
    parents: NDArray[np.uint16],
    stops: bool = True,
    cohorts: NDArray[np.uint8] | None = None,
    lives: NDArray[np.int64] | None = None,
) -> dict[str, Counts]:
    """Measures by name, as far as the truth knows them, and footfall of 15 minutes and of the hour.

    Args:
        stops: stays are stops; else only what depends on that is worked out, such as trips, visits and dwell.
        cohorts: u8 of each subscriber, by number. None: people by cohort are left out.
        lives: districts of each subscriber's home and work, i64[n, 2], as in `areas`.
    """
    stayed = stays(there, epoch, stops)
    found: dict[str, Counts] = {}
    if stops:
        found = {"footfall": footfall(there, epoch), "footfall_hour": footfall(there, epoch, HOUR_MS)}
    for measure in epoch.measures:
        if measure.statistic == "present" and stops:
            found[measure.name] = present(there, epoch, measure)
        elif measure.statistic == "present_cohort" and stops and cohorts is not None:
            found[measure.name] = present_by_cohort(there, epoch, measure, cohorts)
        elif measure.statistic == "trips":
            found[measure.name] = trips(stayed, epoch, measure, parents)
        elif measure.statistic in ("travel_times", "travel_times_by_pair"):
            found[measure.name] = travel_times(there, epoch, measure, parents, stops)
        elif measure.statistic == "passes":
            found[measure.name] = passes(there, epoch, measure, parents, stops)
        elif measure.statistic == "visits":
            found[measure.name] = visits(stayed, epoch, measure)
        elif measure.statistic in AREAS:
            lived = None if lives is None else lives[:, AREAS.index(measure.statistic)]
            found[measure.name] = areas(stayed, epoch, measure, parents, lived)
        elif measure.statistic == "dwell":
            found[measure.name] = dwell(there, epoch, measure, stops)
    return found
