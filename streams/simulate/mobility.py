"""Where people go: the hours of home and work, and exploration and preferential return between them.

At the end of each stay `decide` says where next and until when. Nights are at home, working hours at work or school
(with a lunch out on some days), ticket holders at the stadium while something is on. All other time is free, spent at
home or elsewhere; where, by exploration and preferential return (Song, Koren, Wang, Barabasi 2010, "Modelling the
scaling properties of human mobility", Nature Physics 6): with the chance 0.6 S**-0.21, S being the places known, a new
one, else a known one in proportion to the visits there. A new one is drawn by the radiation law (Simini, Gonzalez,
Maritan, Barabasi 2012, Nature 484) over the opportunities of the part of the day. Time elsewhere follows Song's
density ~ t**-1.8, from 12 minutes to 5 hours.

Days begin at 04:00 local time; minutes count from there. What is simplified: a memory of PLACES places, straight ways,
one clock offset for the whole run (no daylight saving change within it), and nobody is ill, on holiday or abroad.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import int64
from numpy.typing import NDArray

from streams.simulate.compiled import Row, inlined, kernel
from streams.simulate.draws import (
    DAY,
    GOLDEN,
    PLACE,
    TICKET,
    below,
    mixed,
    named,
    pick,
    power_law_quantiles,
    quantile,
    threshold,
)
from streams.simulate.people import NOWHERE, PLACES
from streams.simulate.town import Town

MINUTE: Final = 60_000
DAY_MS: Final = 86_400_000
DAY_STARTS_MS: Final = 4 * 3_600_000
EXPLORE_RHO: Final = 0.6
EXPLORE_GAMMA: Final = 0.21
TICKET_PERCENT: Final = 6
MATCH_MINUTES: Final = 115
SATURDAY: Final = 5
DAYS_FIXED: Final = 60  # until those who never leave home are asked again


class Ways(NamedTuple):
    """What `decide` looks up: the town's tables, and quantiles (minutes) of free time elsewhere and at home."""

    seed: int
    shift_ms: int  # from a time to one whose days begin at 04:00 local time
    stadium: int
    discs: NDArray[np.int64]
    explore: NDArray[np.int64]
    newness: NDArray[np.int64]
    out: NDArray[np.int64]
    rest: NDArray[np.int64]


def ways(town: Town, utc_offset_ms: int) -> Ways:
    """The tables of a town whose clocks are that much ahead of UTC."""
    newness = [threshold(EXPLORE_RHO * s**-EXPLORE_GAMMA) for s in range(1, PLACES + 1)]
    return Ways(
        town.seed,
        utc_offset_ms - DAY_STARTS_MS,
        town.stadium,
        town.discs,
        town.explore,
        np.array([newness[0], *newness], np.int64),
        power_law_quantiles(12, 300, 1.8),
        power_law_quantiles(40, 360, 1.3),
    )


@inlined
def drawn(p: Row) -> int:
    """The next u64 of a subscriber's own."""
    p.rng += GOLDEN
    result: int = mixed(p.rng)
    return result


@kernel
def match_start(seed: int, day: int) -> int:
    """The minute at which something is on at the stadium, or -1: each Saturday, and a quarter of the other days."""
    if (day + 3) % 7 == SATURDAY:
        return 690
    return 930 if below(named(seed, DAY + 64, day), 4) == 0 else -1


@kernel
def decide(
    w: Ways, i: int, p: Row, places: NDArray[np.uint16], visits: NDArray[np.uint32], t: int
) -> tuple[int, int, int]:
    """Where subscriber i goes at t, until when, and whether it is for the night."""
    day = (t + w.shift_ms) // DAY_MS
    dawn = day * DAY_MS - w.shift_ms
    if p.fixed:
        return p.home, dawn + DAYS_FIXED * DAY_MS, 0
    m = (t - dawn) // MINUTE
    weekday = (day + 3) % 7
    mood = named(w.seed, DAY, (int64(i) << 20) + day)
    wake = p.wake + below(mood << np.uint64(8), 25) + (70 if weekday >= SATURDAY else 0)
    bed = p.bed + below(mood << np.uint64(16), 30) + (50 if 4 <= weekday <= SATURDAY else 0)
    if m < wake:
        return p.home, dawn + wake * MINUTE + below(drawn(p), MINUTE), 1
    if m >= bed:
        late = 70 if (weekday + 1) % 7 >= SATURDAY else 0
        tomorrow = p.wake + below(drawn(p), 25) + late
        return p.home, dawn + DAY_MS + tomorrow * MINUTE + below(drawn(p), MINUTE), 1

    limit = bed
    start = match_start(w.seed, day)
    if start >= 0 and below(named(w.seed, TICKET, (int64(i) << 20) + day), 100) < TICKET_PERCENT:
        first = start - 20 - below(mood << np.uint64(24), 60)
        last = start + MATCH_MINUTES + below(mood << np.uint64(32), 25)
        if first <= m < last:
            return w.stadium, dawn + last * MINUTE + below(drawn(p), MINUTE), 0
        if m < first:
            limit = min(limit, first)

    part = 4 if weekday >= SATURDAY and m < 840 else (0 if m < 420 else 1 if m < 600 else 2 if m < 840 else 3)
    if p.work != NOWHERE and weekday < SATURDAY:
        begins, ends = p.starts + below(mood, 16), min(p.ends + below(mood << np.uint64(12), 16), limit)
        lunch = 450 + below(mood << np.uint64(20), 80)
        out = (mood & np.uint64(3)) == 0 and begins + 120 < lunch < ends - 90
        if begins <= m < ends:
            if out and lunch <= m < lunch + 4:
                stay = (25 + below(drawn(p), 20)) * MINUTE
                return elsewhere(w, p, places, visits, part), t + stay, 0
            leaves = lunch if out and m < lunch else ends
            return p.work, dawn + leaves * MINUTE + below(drawn(p), 3 * MINUTE), 0
        if m < begins:
            limit = min(limit, begins)

    left = (limit - m) * MINUTE
    if left < 25 * MINUTE:
        return p.zone, t + left + below(drawn(p), MINUTE), 0
    homing = 45 if part < 3 else 38 if part == 4 else 62
    if below(drawn(p), 100) < homing:
        return p.home, t + min(quantile(drawn(p), w.rest) * MINUTE + below(drawn(p), MINUTE), left), 0
    stay = quantile(drawn(p), w.out) * MINUTE + below(drawn(p), MINUTE)
    return elsewhere(w, p, places, visits, part), t + min(stay, left), 0


@kernel
def elsewhere(w: Ways, p: Row, places: NDArray[np.uint16], visits: NDArray[np.uint32], part: int) -> int:
    """Exploration and preferential return: another zone than the present one."""
    found: int = int64(p.home)
    total = int64(0)
    for k in range(int64(p.known)):
        if places[k] != p.zone:
            total += visits[k]
    if total == 0 or int64(drawn(p) >> np.uint64(32)) < w.newness[p.known]:
        found = pick(drawn(p), w.explore[part, p.zone])
        return found
    left = below(drawn(p), total)
    for k in range(int64(p.known)):
        if places[k] != p.zone:
            if 0 <= left < visits[k]:
                found = int64(places[k])
            left -= visits[k]
    return found


@kernel
def remember(p: Row, places: NDArray[np.uint16], visits: NDArray[np.uint32], zone: int) -> None:
    """One more visit there; if the memory is full, the place least visited is forgotten."""
    least = 0
    for k in range(int64(p.known)):
        if places[k] == zone:
            visits[k] += 1
            return
        if visits[k] < visits[least]:
            least = k
    if p.known < PLACES:
        least = int64(p.known)
        p.known += 1
    places[least], visits[least] = zone, 1


@kernel
def spot(w: Ways, i: int, zone: int) -> tuple[int, int]:
    """Where in a zone a subscriber always is, metres: within its disc."""
    draw = named(w.seed, PLACE, (int64(i) << 16) + zone)
    reach = w.discs[zone, 2] * 7 // 10
    x = w.discs[zone, 0] - reach + below(draw, 2 * reach + 1)
    y = w.discs[zone, 1] - reach + below(draw << np.uint64(32), 2 * reach + 1)
    return x, y


@kernel
def set_out(w: Ways, i: int, p: Row, zone: int, t: int) -> bool:
    """Plan the way to a zone from t on: on foot, then by bicycle or bus, then faster. False: they are there."""
    x, y = spot(w, i, zone)
    dx, dy = x - p.x, y - p.y
    distance = int64(np.sqrt(np.float64(dx * dx + dy * dy)))
    p.goal = zone
    if distance < 20:
        return False
    mm_a_s = 1_350 if distance < 900 else 4_000 if distance < 3_000 else 7_500
    mm_a_s = mm_a_s * (85 + below(drawn(p), 31)) // 100
    p.from_x, p.from_y, p.to_x, p.to_y = p.x, p.y, x, y
    p.departed, p.duration = t, distance * 1_000_000 // mm_a_s
    p.step, p.steps = 0, max(1, distance // 50)
    return True
