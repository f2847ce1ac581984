"""Who is where: the compiled loops that carry out docs/reference/semantics.md, row by row.

In: the rows of sightings up to a boundary, in the total order. Changed: the subscribers' rows (`slots`), the ring of
departures, the counts of the open panes (`tally`), and those of the windows (`Running`). Nothing can fail: where there
is no room for what a block of `n` rows can add at most (`n` departures, `2 n` keys of each listed measure, whoever is
new), they stop before it, and are called again.

Silence needs no sweep. A presence that has ended by it stays in its row until the subscriber is heard again or for
good: its end is `last + silence`, which `windows` compares with the boundary. Nor does a presence that was left need
one: as long as a ping-pong may restore it, it is the row's memory. What becomes a stay or is complete is looked up at
each pane's end (`settle`), since it belongs to the pane in which it is known. So a sighting counts only what has become
known since the open pane began (`Tally.opened`).

All of a chain of calls but for the look-up (`slots`) stands in this one file: numba's cache looks only at the file of
the function that is called.
The rules are inlined into `handle`: as calls each would hand on every array by its parts, which took half of the time.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.attach import DETACH
from schemas.lengths import BUCKETS, CUT, LIMITS_MS, LONGEST, TRAVEL_LIMITS_MIN, TRAVEL_TIMES, UNKNOWN, VISITS
from schemas.sightings import OPT_IN, OPT_OUT
from streams.core.compiled.blocks import BLOCK_BITS
from streams.core.compiled.borrowed import borrowed
from streams.core.compiled.words import fetch
from streams.core.crowd.departures import HEAD, TAIL, Departures
from streams.core.crowd.slots import (
    ARRIVED,
    BARRED,
    BEFORE_BEGUN_BEFORE,
    BEFORE_STAY,
    BEGUN_BEFORE,
    HIDDEN,
    KNOWN,
    NOWHERE,
    OF_BEFORE,
    OF_LENGTH,
    OF_START,
    STAY,
    Slots,
    find_or_add,
)
from streams.core.crowd.tally import (
    DWELL,
    GLIMPSE,
    JUMP,
    LIVING,
    PASSED,
    PING_PONG,
    TRAVELLED,
    TRAVELLED_BETWEEN,
    TRIPS,
    VISITED,
    Rules,
    Tally,
)
from streams.core.crowd.windows import PRESENT, SHORTEST, Running

# Sightings handled at a time: their subscribers' rows fit the cache between finding and handling.
BLOCK: Final = 4096
# Rows that a pane's end is settled for at a time.
SETTLE_BLOCK: Final = 1024
# A row completes two presences at most: its own, and the one before.
MOST_LISTED: Final = 2
# Of each list, until it is taken out: for the most that a block can add, and half as much again before that.
LIST_ROOM: Final = 3 * BLOCK

# Parts of a place's count: constants of the compiled loops.
_LENGTHS: Final = len(BUCKETS)
_VISITS: Final = len(VISITS)
_TIMES: Final = len(TRAVEL_TIMES)
_MINUTE_MS: Final = 60_000
_SECOND_MS: Final = 1_000
# Bits of an area: the parent, and above it what it is known by.
_OF_AREA: Final = 16
_AREA: Final = (1 << _OF_AREA) - 1
# How many sightings ahead a row is fetched from memory, and what it names; then the two departures behind the newest.
FAR: Final = 16
NEAR: Final = 8
OLDER: Final = 5
OLDEST: Final = 2
# Places for the departures asked for: more than NEAR, so that none is overwritten while it is wanted.
ASKED: Final = 16


class _GoneBy(NamedTuple):
    """The departures while sightings are handled: the tail stands still, `begin` is the number that lies first in the
    ring. `asked`: which one was asked for last of those that each of the next sightings will look at."""

    ring: NDArray[np.void]
    span: NDArray[np.int64]
    tail: int
    begin: int
    asked: NDArray[np.int64]


@njit(cache=True, nogil=True, inline="always")
def _place(number, gone_by):  # type: ignore[no-untyped-def]
    """Where a departure lies that isn't older than the tail. A division would take as long as the wait that it ends."""
    place = np.int64(number) - gone_by.begin
    return place - (len(gone_by.ring) if place >= len(gone_by.ring) else 0)


@njit(cache=True, nogil=True, inline="always")
def _list(m, key, at, used, listed, tally):  # type: ignore[no-untyped-def]
    """Count the subscriber of row `at` at a key of a listed measure, as far as its cap goes."""
    if listed.cap[m] > 0 and used[listed.column[m]] >= listed.cap[m]:
        tally.capped[len(tally.since) + m] += 1
    else:
        if listed.cap[m] > 0:
            used[listed.column[m]] += listed.adds[m]
        last = tally.filled[m]
        tally.keys[m, last] = key
        tally.who[m, last] = at
        tally.filled[m] = last + 1


@njit(cache=True, nogil=True, inline="always")
def _at(rules, m, zone):  # type: ignore[no-untyped-def]
    """The place that a listed measure counts the zone at."""
    return rules.parents[zone] if rules.listed.by_parent[m] else np.int64(zone)


@njit(cache=True, nogil=True, inline="always")
def _between(rules, m, origin, zone):  # type: ignore[no-untyped-def]
    """The pair of places that it counts a way between them at."""
    if rules.listed.by_parent[m]:
        key = rules.parents[origin] * rules.parent_count + rules.parents[zone]
    else:
        key = np.int64(origin) * len(rules.parents) + zone
    return key


@njit(cache=True, nogil=True, inline="always")
def _lasted(row, rules, until):  # type: ignore[no-untyped-def]
    """Is a presence that covers until `until` as long as a stay, and was it seen long enough after its start?"""
    return until - row["start"] >= rules.stay and row["last"] - row["start"] >= rules.seen


@njit(cache=True, nogil=True, inline="always")
def _number_visit(known, zone):  # type: ignore[no-untyped-def]
    """Note a visit to the zone: 0 if it is the first, 1 the second, 2 a later one. Of no more than `KNOWN` zones there
    is a memory; a visit to any other counts as the first."""
    number = np.int64(0)
    for i in range(KNOWN):
        if known[i] == 0:
            known[i] = (zone + 1) << 2
            break
        if known[i] >> 2 == zone + 1:
            number = np.int64(known[i] & 3)
            if number < _VISITS - 1:
                number += 1
            known[i] = ((zone + 1) << 2) | number
            break
    return number


@njit(cache=True, nogil=True, inline="always")
def _travelled(row, departed):  # type: ignore[no-untyped-def]
    """In which part a trip to the present presence counts, by the minutes on the way."""
    minutes = row["start"] // _MINUTE_MS - (np.int64(departed[0]) - 1)
    part = 0
    for limit in TRAVEL_LIMITS_MIN:
        part += minutes >= limit
    return UNKNOWN if departed[0] == 0 else part


@njit(cache=True, nogil=True, inline="always")
def _note_areas(row, areas, rules, end):  # type: ignore[no-untyped-def]
    """The present presence ends at `end`; if a ping-pong restores it, it is noted again. A stay that covers more of an
    area's hours than any before, and a stay's length at least, makes its parent the area."""
    if row["flags"] & STAY:
        for a in range(len(areas)):
            covered = min(end, rules.areas[a, 1]) - max(row["start"], rules.areas[a, 0])
            if covered >= rules.stay and covered // _SECOND_MS > np.int64(areas[a]) >> _OF_AREA:
                areas[a] = (covered // _SECOND_MS << _OF_AREA) | (rules.parents[row["zone"]] + 1)


@njit(cache=True, nogil=True, inline="always")
def _known_area(areas, a, rules):  # type: ignore[no-untyped-def]
    """The parent, or one more than there are: not known."""
    area = np.int64(areas[a]) & _AREA
    return area - 1 if area > 0 else rules.parent_count


@njit(cache=True, nogil=True, inline="always")
def _become_stay(at, row, used, known, departed, areas, rules, tally):  # type: ignore[no-untyped-def]
    """The present presence is a stay: unless the last one was in the same zone, it is a visit, and a trip."""
    row["flags"] |= STAY
    origin, zone = row["stayed"], np.int64(row["zone"])
    row["stayed"] = zone
    if origin == zone:
        return
    number = _number_visit(known, zone) if len(known) > 0 else 0
    listed = rules.listed
    for m in range(len(listed.cap)):
        if listed.what[m] == VISITED:
            _list(m, _at(rules, m, zone) * _VISITS + number, at, used, listed, tally)
        elif listed.what[m] == TRAVELLED and origin != NOWHERE:
            _list(m, _at(rules, m, zone) * _TIMES + _travelled(row, departed), at, used, listed, tally)
        elif listed.what[m] == TRAVELLED_BETWEEN and origin != NOWHERE:
            key = _between(rules, m, origin, zone) * _TIMES + _travelled(row, departed)
            _list(m, key, at, used, listed, tally)
        elif listed.what[m] == LIVING:
            a = listed.area[m]
            if number == 0 and row["start"] + rules.stay > rules.areas[a, 1]:
                key = _at(rules, m, zone) * (rules.parent_count + 1) + _known_area(areas, a, rules)
                _list(m, key, at, used, listed, tally)
        elif listed.what[m] == TRIPS and origin != NOWHERE:
            _list(m, _between(rules, m, origin, zone), at, used, listed, tally)


@njit(cache=True, nogil=True, inline="always")
def _bucket(rules, length, stay, cut):  # type: ignore[no-untyped-def]
    """What length it counts as. `stay`: it was one; else it was a pass, however long the phone was not heard of.
    `cut`: the epoch's start or end may have cut it, so that it is of unknown length, unless what was seen of it is in
    the longest bucket already."""
    if not stay:
        length = min(length, rules.stay - 1)
    bucket = 0
    for limit in LIMITS_MS:
        bucket += length >= limit
    return CUT if cut and bucket < LONGEST else bucket


@njit(cache=True, nogil=True, inline="always")
def _left_bucket(row, rules, now):  # type: ignore[no-untyped-def]
    """The same of the present presence, left for another zone at `now`. On the way a phone is heard seldom, and mostly
    not in every zone: so a pass is taken to have ended a quarter of the way from its last sighting to the next."""
    stay = (row["flags"] & STAY) != 0
    end = now if stay else row["last"] + (now - row["last"]) // 4
    return _bucket(rules, end - row["start"], stay, (row["flags"] & BEGUN_BEFORE) != 0)


@njit(cache=True, nogil=True, inline="always")
def _complete(at, used, rules, tally, zone, bucket, glimpsed, onward):  # type: ignore[no-untyped-def]
    """A presence is complete. `glimpsed`: it was as long as a stay, and none. `onward`: of a pass, the zone that it was
    left for, or `NOWHERE`."""
    if glimpsed:
        tally.filtered[GLIMPSE] += 1
    listed = rules.listed
    for m in range(len(listed.cap)):
        if listed.what[m] == DWELL:
            _list(m, _at(rules, m, zone) * _LENGTHS + bucket, at, used, listed, tally)
        elif listed.what[m] == PASSED and onward != NOWHERE:
            _list(m, _between(rules, m, zone, onward), at, used, listed, tally)


@njit(cache=True, nogil=True, inline="always")
def _complete_before(at, row, used, rules, tally):  # type: ignore[no-untyped-def]
    """So is the one before: no ping-pong can restore it any more."""
    stay, cut = (row["flags"] & BEFORE_STAY) != 0, (row["flags"] & BEFORE_BEGUN_BEFORE) != 0
    onward = NOWHERE if stay or cut else np.int64(row["zone"])
    glimpsed = not stay and row["start"] - (row["before_start"] >> OF_START) >= rules.stay
    bucket = np.int64(row["before_start"] & OF_LENGTH)
    _complete(at, used, rules, tally, row["before"], bucket, glimpsed, onward)


@njit(cache=True, nogil=True, inline="always")
def _complete_present(at, row, used, rules, tally, end, cut):  # type: ignore[no-untyped-def]
    """So is the present one, which nobody knows to have gone elsewhere."""
    stay, length = (row["flags"] & STAY) != 0, end - row["start"]
    bucket = _bucket(rules, length, stay, cut or (row["flags"] & BEGUN_BEFORE) != 0)
    _complete(at, used, rules, tally, row["zone"], bucket, not stay and length >= rules.stay, NOWHERE)


@njit(cache=True, nogil=True, inline="always")
def _count_gone(running, gone, by):  # type: ignore[no-untyped-def]
    """A departure counts from now on, or no longer (`by` -1): in the windows that it was or would have been in."""
    as_of = running.as_of[0]
    for w in range(SHORTEST, len(running.ages)):
        if gone["end"] > as_of - running.ages[w] + running.silence:
            running.counts[gone["zone"], gone["cohort"], w] += by


@njit(cache=True, nogil=True, inline="always")
def _count_row(running, zone, cohort, last, by):  # type: ignore[no-untyped-def]
    """The same for a presence that is in its subscriber's row."""
    as_of = running.as_of[0]
    for w in range(len(running.ages)):
        if last > as_of - running.ages[w]:
            running.counts[zone, cohort, w] += by


@njit(cache=True, nogil=True, inline="always")
def _unlink(row, gone_by, zone):  # type: ignore[no-untyped-def]
    """Take the hidden departure from `zone` out of the chain: a newer one replaces it."""
    ring = gone_by.ring
    number = row["left"]
    newer = np.int64(-1)
    while number >= gone_by.tail:
        at = _place(number, gone_by)
        gone = ring[at]
        if gone["zone"] == zone:
            if newer < 0:
                row["left"] = gone["older"]
            else:
                ring[newer]["older"] = gone["older"]
            return
        newer = at
        number = gone["older"]


@njit(cache=True, nogil=True, inline="always")
def _leave(row, gone_by, rules, running, end, now):  # type: ignore[no-untyped-def]
    """End the presence at `end`, which is known at `now`."""
    if row["flags"] & HIDDEN:
        _unlink(row, gone_by, row["zone"])
    if end > now - rules.horizon:
        number = gone_by.span[HEAD]
        at = _place(number, gone_by)
        gone = gone_by.ring[at]
        gone["end"] = end
        gone["older"] = row["left"]
        gone["zone"] = row["zone"]
        gone["cohort"] = row["cohort"]
        gone["live"] = 1
        row["left"] = number
        gone_by.span[HEAD] = number + 1
        _count_gone(running, gone, 1)
        if len(running.ages) > SHORTEST:
            block = at >> BLOCK_BITS
            running.gone_due[block] = min(running.gone_due[block], end + running.ages[SHORTEST] - running.silence)
    row["zone"] = NOWHERE
    row["before"] = NOWHERE
    row["flags"] = 0


@njit(cache=True, nogil=True, inline="always")
def _enter(row, used, gone_by, rules, tally, running, zone, now):  # type: ignore[no-untyped-def]
    """Open a presence; hide an older departure from the zone; count the arrival, if it is one."""
    row["zone"] = zone
    row["start"] = now
    arrivals = rules.arrivals
    lately = 0
    number = row["left"]
    while number >= gone_by.tail:
        gone = gone_by.ring[_place(number, gone_by)]
        if gone["end"] <= now - rules.horizon:
            break
        if gone["zone"] == zone:
            gone["live"] = 0
            row["flags"] |= HIDDEN
            _count_gone(running, gone, -1)
        for m in range(len(arrivals.cap)):
            same = gone["zone"] == zone or (
                arrivals.by_parent[m] and rules.parents[gone["zone"]] == rules.parents[zone]
            )
            if same and gone["end"] > now - arrivals.gap[m]:
                lately |= 1 << m
        number = gone["older"]
    for m in range(len(arrivals.cap)):
        if lately >> m & 1:
            continue
        if arrivals.cap[m] > 0:
            if used[arrivals.column[m]] >= arrivals.cap[m]:
                tally.capped[m] += 1
                continue
            used[arrivals.column[m]] += 1
        tally.arrivals[m, rules.parents[zone] if arrivals.by_parent[m] else zone] += 1
        row["flags"] |= ARRIVED << m


@njit(cache=True, nogil=True, inline="always")
def _annul(row, used, gone_by, rules, tally, running):  # type: ignore[no-untyped-def]
    """Ping-pong: the present presence never was, and the one before it goes on."""
    tally.filtered[PING_PONG] += 1
    zone = row["zone"]
    arrivals = rules.arrivals
    for m in range(len(arrivals.cap)):
        if row["flags"] & (ARRIVED << m) and row["start"] >= tally.since[m]:
            tally.arrivals[m, rules.parents[zone] if arrivals.by_parent[m] else zone] -= 1
            if arrivals.cap[m] > 0:
                used[arrivals.column[m]] -= 1
    newest = gone_by.ring[_place(row["left"], gone_by)]
    newest["live"] = 0
    _count_gone(running, newest, -1)
    row["left"] = newest["older"]
    if row["flags"] & HIDDEN:
        number = row["left"]
        while number >= gone_by.tail:
            gone = gone_by.ring[_place(number, gone_by)]
            if gone["zone"] == zone:
                gone["live"] = 1
                _count_gone(running, gone, 1)
                break
            number = gone["older"]
    row["zone"] = row["before"]
    row["start"] = row["before_start"] >> OF_START
    row["before"] = NOWHERE
    row["flags"] = (row["flags"] >> OF_BEFORE) & (STAY | BEGUN_BEFORE)


@njit(cache=True, nogil=True, inline="always")
def _bar(row, known, departed, areas):  # type: ignore[no-untyped-def]
    """An opt-out's tombstone: nothing of the subscriber is taken up until an opt-in, nor linked to what was before.
    When they were heard, and their age and gender, are forgotten: of that a snapshot has nothing anyway."""
    row["before"] = BARRED
    row["stayed"] = NOWHERE
    row["start"] = 0
    row["last"] = 0
    row["before_start"] = 0
    row["cohort"] = 0
    known[:] = 0
    departed[:] = 0
    areas[:] = 0


@njit(cache=True, nogil=True, inline="always")
def _complete_known(at, row, used, rules, tally, now, zone, kind):  # type: ignore[no-untyped-def]
    """Count what a sighting shows to be complete, and no pane's end has counted: first the presence before, if it
    can't be restored any more, then the present one, if silence or a detach has ended it."""
    opened = tally.opened[0]
    final = row["start"] + rules.ping_pong
    if row["before"] != NOWHERE and final >= opened:
        moves_on = kind < DETACH and zone != row["zone"] and zone != row["before"]
        if now > final or kind == DETACH or moves_on:
            _complete_before(at, row, used, rules, tally)
            row["before"] = NOWHERE
    silent = row["last"] + rules.silence
    by_silence = now >= silent and silent >= opened
    if by_silence or (now < silent and kind == DETACH):
        end = row["last"] + rules.silence // 2 if by_silence else now
        _complete_present(at, row, used, rules, tally, end, False)


@njit(cache=True, nogil=True, inline="always")
def _jumps(row, rules, now, zone):  # type: ignore[no-untyped-def]
    """Is the sighting further from the last one's zone than anybody travels in the time?"""
    if row["zone"] == NOWHERE or row["zone"] == zone or now >= row["last"] + rules.silence or rules.jump_m_s == 0:
        return False
    if row["before"] == zone and now - row["start"] <= rules.ping_pong:
        return False
    one, other = rules.positions[row["zone"]], rules.positions[zone]
    if one[3] < 0 or other[3] < 0:
        return False
    x, y, z = one[0] - other[0], one[1] - other[1], one[2] - other[2]
    allowed = max(rules.jump_m, (now - row["last"]) * rules.jump_m_s // 1000) + one[3] + other[3]
    return x * x + y * y + z * z > allowed * allowed


@njit(cache=True, nogil=True, inline="always")
def _sight(  # type: ignore[no-untyped-def]
    at, row, used, known, departed, areas, gone_by, rules, tally, running, now, zone, cohort, kind
):
    """One sighting: the numbered rules of the reference's section "Presence"."""
    if kind == OPT_IN:
        if row["before"] == BARRED:
            row["before"] = NOWHERE
        return
    if kind < DETACH and _jumps(row, rules, now, zone):
        tally.filtered[JUMP] += 1
        return
    if row["zone"] != NOWHERE:
        silent = row["last"] + rules.silence
        if not row["flags"] & STAY and _lasted(row, rules, min(now, silent)):
            _become_stay(at, row, used, known, departed, areas, rules, tally)
        _complete_known(at, row, used, rules, tally, now, zone, kind)
        if now >= silent:
            _note_areas(row, areas, rules, row["last"] + rules.silence // 2)
            _leave(row, gone_by, rules, running, silent, now)
    if kind == DETACH or kind == OPT_OUT:
        if row["zone"] != NOWHERE:
            _note_areas(row, areas, rules, now)
            _leave(row, gone_by, rules, running, now, now)
        if kind == OPT_OUT:
            _bar(row, known, departed, areas)
        return
    if row["zone"] == NOWHERE:
        _enter(row, used, gone_by, rules, tally, running, zone, now)
        if now < rules.opens + rules.silence:
            row["flags"] |= BEGUN_BEFORE
        if len(departed) > 0:
            departed[0] = 0
    elif row["zone"] != zone:
        if row["before"] == zone and now - row["start"] <= rules.ping_pong:
            _annul(row, used, gone_by, rules, tally, running)
        else:
            before, of_before = row["zone"], row["flags"] & (STAY | BEGUN_BEFORE)
            before_start = (row["start"] << OF_START) | _left_bucket(row, rules, now)
            if len(departed) > 0 and of_before & STAY:
                departed[0] = now // _MINUTE_MS + 1
            _note_areas(row, areas, rules, now)
            _leave(row, gone_by, rules, running, now, now)
            _enter(row, used, gone_by, rules, tally, running, zone, now)
            row["before"] = before
            row["before_start"] = before_start
            row["flags"] |= of_before << OF_BEFORE
    row["last"] = now
    row["cohort"] = cohort


@njit(cache=True, nogil=True, inline="always")
def _count_change(row, running, at, zone, cohort, last):  # type: ignore[no-untyped-def]
    """A sighting has changed the row from these values: so it does what the row counts for."""
    was_present = zone != NOWHERE and last > running.as_of[0] - running.ages[PRESENT]
    if was_present and row["zone"] == zone and row["cohort"] == cohort:
        return
    if zone != NOWHERE:
        _count_row(running, zone, cohort, last, -1)
    if row["zone"] != NOWHERE:
        _count_row(running, row["zone"], row["cohort"], row["last"], 1)
        block = at >> BLOCK_BITS
        running.row_due[block] = min(running.row_due[block], row["last"] + running.ages[PRESENT])


@njit(cache=True, nogil=True, inline="always")
def _goes_on(row, rules, now, zone, cohort, kind):  # type: ignore[no-untyped-def]
    """Is the sighting one of most, which are in the zone of the last and change nothing but its time?"""
    return (
        row["zone"] == zone
        and row["cohort"] == cohort
        and kind < DETACH
        and now < row["last"] + rules.silence
        and (row["flags"] & STAY or now - row["start"] < rules.stay)
    )


@njit(cache=True, nogil=True, inline="always")
def _fetch_count(running, zone, cohort):  # type: ignore[no-untyped-def]
    counts = running.counts
    place = (np.int64(zone) * counts.shape[1] + np.int64(cohort)) * counts.shape[2]
    fetch(np.int64(counts.ctypes.data) + place * counts.itemsize)


@njit(cache=True, nogil=True, inline="always")
def _fetch_position(positions, zone):  # type: ignore[no-untyped-def]
    fetch(np.int64(positions.ctypes.data) + np.int64(zone) * positions.shape[1] * positions.itemsize)


@njit(cache=True, nogil=True, inline="always")
def _fetch_departure(gone_by, i, number):  # type: ignore[no-untyped-def]
    """Note which departure the sighting `i` will look at, and have it brought; one that is forgotten already is as good
    as the tail, which is at hand."""
    number = max(number, gone_by.tail)
    gone_by.asked[i % ASKED] = number
    fetch(np.int64(gone_by.ring.ctypes.data) + _place(number, gone_by) * gone_by.ring.itemsize)


@njit(cache=True, nogil=True, inline="always")
def _fetch_older(gone_by, i):  # type: ignore[no-untyped-def]
    """The next of its chain, once that one is there. Without a branch."""
    asked = gone_by.ring[_place(gone_by.asked[i % ASKED], gone_by)]
    _fetch_departure(gone_by, i, np.int64(asked["older"]))


@njit(cache=True, nogil=True, inline="always")
def _fetch_next(slots, gone_by, rules, running, found, times, zones, cohorts, i):  # type: ignore[no-untyped-def]
    """Have brought what the sightings after `i` will look at: the row first, and then, if it isn't in the sighting's
    zone, what a change of zones does: the newest departure, what the subscriber has used, and visited if there is a
    visit to number, both zones' counts and positions. So the waits for memory overlap."""
    rows, used, known = slots.rows, slots.used, slots.known
    if i + FAR < len(times) and found[i + FAR] >= 0:
        fetch(np.int64(rows.ctypes.data) + found[i + FAR] * rows.itemsize)
    next_one = gone_by.tail
    if i + NEAR < len(times) and found[i + NEAR] >= 0:
        at = found[i + NEAR]
        row = rows[at]
        if row["zone"] != zones[i + NEAR]:
            next_one = np.int64(row["left"])
            fetch(np.int64(used.ctypes.data) + at * used.shape[1] * used.itemsize)
            # As in `_lasted`, without a branch. Who makes no visit has the table's begin asked for, which is at hand.
            lasted = (times[i + NEAR] - row["start"] >= rules.stay) & (row["last"] - row["start"] >= rules.seen)
            visits = np.int64(lasted & (row["flags"] & STAY == 0))
            fetch(np.int64(known.ctypes.data) + visits * at * known.shape[1] * known.itemsize)
            _fetch_count(running, row["zone"], row["cohort"])
            _fetch_count(running, zones[i + NEAR], cohorts[i + NEAR])
            _fetch_position(rules.positions, row["zone"])
            _fetch_position(rules.positions, zones[i + NEAR])
    _fetch_departure(gone_by, i + NEAR, next_one)
    _fetch_older(gone_by, i + OLDER)
    _fetch_older(gone_by, i + OLDEST)


@njit(cache=True, nogil=True)
def handle(  # type: ignore[no-untyped-def]
    slots: Slots,
    departures: Departures,
    rules: Rules,
    tally: Tally,
    running: Running,
    who,
    adds,
    times,
    zones,
    cohorts,
    kinds,
    done,
    room,
):
    """Handle sightings in order, from number `done` on: find their subscribers, a block after the other, and carry out
    the rules. `who`, `adds`: as `slots.find_or_add` takes them, with the table's `room`; `times` i64[n], ms since the
    epoch's start.

    Returns how many were dropped because their subscriber had opted out, how many subscribers are new, up to which
    sighting all is done, and whether the table is full: it stops before a block that has one subscriber more than there
    is room for, or that the ring or the lists lack room for.
    """
    found = np.empty(BLOCK, np.int64)
    asked = np.empty(ASKED, np.int64)
    barred = added = 0
    full = False
    while done < len(who) and not full:
        end = min(done + BLOCK, len(who))
        if not _is_room(departures, tally, end - done):
            break
        new, looked_up = find_or_add(slots.rows, who[done:end], adds[done:end], room - added, found)
        added += new
        full = looked_up < end - done
        if not full:
            some = times[done:end], zones[done:end], cohorts[done:end], kinds[done:end]
            barred += _handle_block(slots, departures, rules, tally, running, found, asked, *some)
            done = end
    return barred, added, done, full


@njit(cache=True, nogil=True)
def _is_room(departures, tally, rows):  # type: ignore[no-untyped-def]
    """For what so many rows can add at most."""
    room = departures.span[HEAD] - departures.span[TAIL] + rows <= len(departures.ring)
    for filled in tally.filled:
        room &= filled + MOST_LISTED * rows <= tally.keys.shape[1]
    return room


@njit(cache=True, nogil=True)
def _handle_block(slots, departures, rules, tally, running, found, asked, times, zones, cohorts, kinds):  # type: ignore[no-untyped-def]
    slots, rules, tally, running = borrowed(slots), borrowed(rules), borrowed(tally), borrowed(running)
    ring, span = borrowed(departures.ring), borrowed(departures.span)
    found, times, zones, cohorts, kinds = borrowed((found, times, zones, cohorts, kinds))
    tail = span[TAIL]
    asked[:] = tail
    gone_by = _GoneBy(ring, span, tail, tail - tail % len(ring), borrowed(asked))
    barred = 0
    for i in range(len(times)):
        _fetch_next(slots, gone_by, rules, running, found, times, zones, cohorts, i)
        at = found[i]
        if at < 0:
            continue
        row = slots.rows[at]
        if row["before"] == BARRED and kinds[i] < OPT_OUT:
            barred += 1
            continue
        if _goes_on(row, rules, times[i], zones[i], cohorts[i], kinds[i]):
            row["last"] = times[i]
            continue
        zone, cohort, last = row["zone"], row["cohort"], row["last"]
        used, known, departed, areas = slots.used[at], slots.known[at], slots.departed[at], slots.areas[at]
        now, to, whose, kind = times[i], zones[i], cohorts[i], kinds[i]
        _sight(at, row, used, known, departed, areas, gone_by, rules, tally, running, now, to, whose, kind)
        _count_change(row, running, at, zone, cohort, last)
    return barred


@njit(cache=True, nogil=True, inline="always")
def _is_due(row, rules, opened, boundary, over):  # type: ignore[no-untyped-def]
    """May the row have to be settled? Without a branch, since no branch of this could be foreseen."""
    there = (row["pseudonym"] != 0) & (row["zone"] != NOWHERE)
    final, silent = row["start"] + rules.ping_pong, row["last"] + rules.silence
    before = (row["before"] != NOWHERE) & (final >= opened) & (over | (final < boundary))
    # As in `_lasted`.
    lasted = (boundary - 1 - row["start"] >= rules.stay) & (silent - row["start"] >= rules.stay)
    stays = (row["flags"] & STAY == 0) & lasted & (row["last"] - row["start"] >= rules.seen)
    gone = (silent >= opened) & (over | (silent < boundary))
    return there & (before | stays | gone)


@njit(cache=True, nogil=True)
def settle(slots: Slots, rules: Rules, tally: Tally, first, boundary):  # type: ignore[no-untyped-def]
    """At a pane's end, for the table's rows from `first` on: what has become a stay before `boundary` is one, and what
    has become complete counts. At the epoch's end that is all there is.

    Returns where it stopped: the table's end, or where the lists lack room for another SETTLE_BLOCK of rows.
    """
    slots, rules, tally = borrowed(slots), borrowed(rules), borrowed(tally)
    due = np.empty(SETTLE_BLOCK, np.int64)
    while first < len(slots.rows):
        last = min(first + SETTLE_BLOCK, len(slots.rows))
        for filled in tally.filled:
            if filled + MOST_LISTED * (last - first) > tally.keys.shape[1]:
                return first
        _settle_rows(slots, rules, tally, first, last, boundary, due)
        first = last
    return first


@njit(cache=True, nogil=True, inline="always")
def _settle_rows(slots, rules, tally, first, last, boundary, due):  # type: ignore[no-untyped-def]
    opened, over = tally.opened[0], boundary == rules.length
    number = 0
    for at in range(first, last):
        due[number] = at
        number += _is_due(slots.rows[at], rules, opened, boundary, over)
    for n in range(number):
        # As in `_fetch_next`. They lie in the table's order, but too far apart for the processor to see that.
        at, ahead = due[n], due[min(n + FAR, number - 1)]
        fetch(np.int64(slots.used.ctypes.data) + ahead * slots.used.shape[1] * slots.used.itemsize)
        fetch(np.int64(slots.known.ctypes.data) + ahead * slots.known.shape[1] * slots.known.itemsize)
        row = slots.rows[at]
        final = row["start"] + rules.ping_pong
        if row["before"] != NOWHERE and final >= opened and (over or final < boundary):
            _complete_before(at, row, slots.used[at], rules, tally)
            row["before"] = NOWHERE
        silent = row["last"] + rules.silence
        if not row["flags"] & STAY and _lasted(row, rules, min(boundary - 1, silent)):
            _become_stay(at, row, slots.used[at], slots.known[at], slots.departed[at], slots.areas[at], rules, tally)
        if silent >= opened and (over or silent < boundary):
            end = boundary if silent >= boundary else row["last"] + rules.silence // 2
            _complete_present(at, row, slots.used[at], rules, tally, end, silent >= boundary)
