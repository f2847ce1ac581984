"""What the network notes of people's ways: the loop that turns time into events.

`advance` takes each subscriber through a slice of time, from one thing to the next: a service request (a Poisson
process whose rate depends on the hour, the person, and whether they are on the way), a look at the radio within a
session, for some a request by the clock, the periodic update 54 minutes after the last event (T3412, 3GPP TS 24.301), a
step of their way, the end of a stay. A phone in a session is handed over when its cell changes; an idle one moves from
cell to cell unseen and reports only when it leaves the two tracking areas that it was last registered in. Some switch
off for the night: detach, attach.

Kept is PERSON and the places of each; each subscriber's events depend on their own draws alone, so that slices of any
length give the same events. An event may lie some seconds beyond the slice (a ping-pong's way back), none before it.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import int64
from numpy.typing import NDArray

from streams.simulate.compiled import Row, Rows, kernel
from streams.simulate.draws import SCALE, below, exponential_quantiles, quantile, threshold
from streams.simulate.handover import LOOK_EVERY_MS, choose
from streams.simulate.heard import PIXEL_M, Heard
from streams.simulate.mobility import DAY_MS, Ways, decide, drawn, remember, set_out, spot
from streams.simulate.people import MOVING, NEVER, OFF, STAYING
from streams.simulate.radio import Radio
from streams.simulate.town import Town

UPDATE, ATTACH, HANDOVER, SERVICE, DETACH = range(5)
T3412_MS: Final = 54 * 60_000
HOUR_MS: Final = 3_600_000
MOVING_FACTOR: Final = 3  # people on the way use their phones that much more often
LONG_SESSION_PERCENT: Final = 35
LONG_SESSION_MS: Final = 200_000  # mean of the long ones
BEAT_JITTER_MS: Final = 3000
SPARE: Final = 8  # events and truths that one turn of the loop makes at most

# Service requests an hour, times 16, by the hour from 04:00 on.
_RATES: Final = (7, 11, 34, 63, 74, 74, 74, 78, 83, 83, 81, 81, 85, 92, 96, 94, 90, 83, 69, 49, 29, 16, 9, 7)


class Network(NamedTuple):
    """What `advance` looks up."""

    half_side: int
    side: int
    squares: Rows
    leave: NDArray[np.int64]
    come: NDArray[np.int64]
    area: NDArray[np.uint8]
    rates: NDArray[np.int64]
    exponential: NDArray[np.int64]
    ping_pong: int
    seed: int
    heard: Heard


EVENT: Final = np.dtype(
    [("ts", np.int64), ("who", np.uint32), ("seq", np.uint32), ("cell", np.uint16), ("kind", np.uint8)], align=True
)
TRUTH: Final = np.dtype(
    [("begin", np.int64), ("end", np.int64), ("who", np.uint32), ("zone", np.uint16), ("mode", np.uint8)], align=True
)


class Out(NamedTuple):
    """Room for what a slice brings; `size` holds the numbers of events and truths so far."""

    size: NDArray[np.int64]
    events: Rows
    truths: Rows


class Crowd(NamedTuple):
    """The people of a running simulation: PERSON[n], each one's next time, places and visits."""

    people: Rows
    next_ms: NDArray[np.int64]
    places: NDArray[np.uint16]
    visits: NDArray[np.uint32]


def network(town: Town, ping_pong: float) -> Network:
    """The tables of a town; `ping_pong` is the share of handovers that go to and fro once more."""
    r: Radio = town.radio
    return Network(
        r.half_side,
        r.side,
        r.squares,
        r.leave,
        r.come,
        town.cell_area,
        np.array(_RATES, np.int64),
        exponential_quantiles(),
        threshold(ping_pong),
        town.seed,
        r.heard,
    )


def room(events: int, truths: int) -> Out:
    """Room for that many."""
    return Out(np.zeros(2, np.int64), np.empty(events, EVENT), np.empty(truths, TRUTH))


@kernel
def begin(w: Ways, n: Network, c: Crowd, start: int) -> None:
    """Put everybody where they would be at that hour, their periodic timers at any phase."""
    for i in range(c.next_ms.size):
        p = c.people[i]
        p.zone = p.home
        goal, until, night = decide(w, i, p, c.places[i], c.visits[i], start)
        p.zone, p.goal, p.since, p.sleeps = goal, goal, start, night
        p.x, p.y = spot(w, i, goal)
        p.until = start + 1 + below(drawn(p), max(1, (until - start) // 1000)) * 1000 if not night else until
        p.mode = OFF if night and p.switches_off else STAYING
        p.cell = square(n, p).best
        p.area = n.area[p.cell]
        p.area_2 = p.area
        p.last_event = start - below(drawn(p), T3412_MS)
        p.check = NEVER
        p.beats_at = start + 1 + below(drawn(p), int64(p.beat_s)) * 1000 if p.beat_s else NEVER
        ask_again(w, n, p, start)
        c.next_ms[i] = upcoming(p)


@kernel
def advance(w: Ways, n: Network, c: Crowd, out: Out, first: int, end: int) -> int:
    """Take subscribers from `first` on to `end`. Returns at whom the room ran out, or the number of all."""
    for i in range(first, c.next_ms.size):
        if c.next_ms[i] >= end:
            continue
        p = c.people[i]
        t = c.next_ms[i]
        while t < end:
            if out.size[0] + SPARE > out.events.size or out.size[1] + SPARE > out.truths.size:
                c.next_ms[i] = t
                return i
            if p.mode == MOVING and t == step_time(p):
                step(n, i, p, out, t)
                if p.step == p.steps:
                    arrive(w, n, i, p, c, out, t)
            elif p.mode != MOVING and t == p.until:
                leave_stay(w, n, i, p, c, out, t)
            elif t == p.check:
                p.check = NEVER
                look(n, i, p, out, t)
            elif t == p.activity:
                if not p.look:
                    serve(w, n, i, p, out, t)
                ask_again(w, n, p, t)
            else:
                reselect(n, i, p, t)
                emit(n, i, p, out, t, UPDATE)
            t = upcoming(p)
        c.next_ms[i] = t
    return c.next_ms.size


@kernel
def upcoming(p: Row) -> int:
    """When the next thing happens to a subscriber."""
    soonest: int = step_time(p) if p.mode == MOVING else p.until
    if p.mode != OFF:
        soonest = min(min(p.activity, p.check), min(soonest, p.last_event + T3412_MS))
    return soonest


@kernel
def step_time(p: Row) -> int:
    """When the next step of the way is done."""
    result: int = p.departed + p.duration * (p.step + 1) // p.steps
    return result


@kernel
def ask_again(w: Ways, n: Network, p: Row, t: int) -> None:
    """Draw the next service request; beyond the hour the rate is another, so ask again there (no memory, so exact)."""
    hour_end = ((t + w.shift_ms) // HOUR_MS + 1) * HOUR_MS - w.shift_ms
    if p.busy:
        rate = n.rates[((t + w.shift_ms) % DAY_MS) // HOUR_MS] * p.busy
        if p.mode == MOVING:
            rate *= MOVING_FACTOR
        gap = quantile(drawn(p), n.exponential) * (16 * 256 * HOUR_MS // SCALE) // rate + 1
        p.look = t + gap >= hour_end
        p.activity = min(t + gap, hour_end)
    if p.beat_s and (p.busy == 0 or p.beats_at <= p.activity):
        p.look = False
        p.activity = max(p.beats_at, t + 1)


@kernel
def square(n: Network, p: Row) -> Row:
    """The square of the raster that a subscriber is in."""
    return n.squares[place(n, p)]


@kernel
def place(n: Network, p: Row) -> int:
    """Its number."""
    result: int = (p.y + n.half_side) // PIXEL_M * n.side + (p.x + n.half_side) // PIXEL_M
    return result


@kernel
def reselect(n: Network, i: int, p: Row, t: int) -> bool:
    """Look at the radio here and now: does another cell serve?"""
    if len(n.heard.cells):
        before = p.cell
        p.cell = choose(n.seed, n.heard, place(n, p), i, p, t)
        changed: bool = p.cell != before
        return changed
    here = square(n, p)
    now = p.cell
    chance = int64(drawn(p) >> np.uint64(32))
    if now == here.best:
        if chance < n.leave[here.gap]:
            p.cell = here.second
    elif now != here.second or chance < n.come[here.gap]:
        p.cell = here.best
    result: bool = p.cell != now
    return result


@kernel
def emit(n: Network, i: int, p: Row, out: Out, t: int, kind: int) -> None:
    """Note an event in the serving cell; the phone is registered in its tracking area from now on."""
    at = out.size[0]
    e = out.events[at]
    e.who, e.ts, e.cell, e.kind, e.seq = i, t, p.cell, kind, p.seq
    out.size[0] = at + 1
    p.seq += 1
    p.last_event = max(p.last_event, t)
    area = n.area[p.cell]
    if area != p.area:
        p.area_2 = p.area
        p.area = area


@kernel
def look(n: Network, i: int, p: Row, out: Out, t: int) -> None:
    """Another cell may serve: a handover within a session, else an update if the tracking areas are left."""
    before = p.cell
    if len(n.heard.cells) and t < p.active_until:
        p.check = t + LOOK_EVERY_MS
    if not reselect(n, i, p, t):
        return
    if t < p.active_until:
        emit(n, i, p, out, t, HANDOVER)
        if int64(drawn(p) >> np.uint64(32)) < n.ping_pong:
            there = p.cell
            p.cell = before
            back = t + 1000 + below(drawn(p), 8000)
            emit(n, i, p, out, back, HANDOVER)
            p.cell = there
            emit(n, i, p, out, back + 500 + below(drawn(p), 8000), HANDOVER)
    elif n.area[p.cell] != p.area and n.area[p.cell] != p.area_2:
        emit(n, i, p, out, t, UPDATE)


@kernel
def serve(w: Ways, n: Network, i: int, p: Row, out: Out, t: int) -> None:
    """A service request begins a session, unless one is on: seconds mostly, minutes sometimes."""
    length = 5_000 + below(drawn(p), 15_000)
    if p.beat_s:
        p.beats_at = t + int64(p.beat_s) * 1000 + below(drawn(p), BEAT_JITTER_MS)
    if p.busy and below(drawn(p), 100) < LONG_SESSION_PERCENT:
        length += quantile(drawn(p), n.exponential) * LONG_SESSION_MS // SCALE
        p.check = t + (LOOK_EVERY_MS if len(n.heard.cells) else length // 2)
    if t >= p.active_until:
        reselect(n, i, p, t)
        emit(n, i, p, out, t, SERVICE)
    p.active_until = max(p.active_until, t + length)


@kernel
def tell(i: int, p: Row, out: Out, t: int) -> None:
    """Write the truth of the time since the last, unless it is none."""
    if t > p.since:
        at = out.size[1]
        told = out.truths[at]
        told.who, told.zone, told.mode, told.begin, told.end = i, p.zone, p.mode, p.since, t
        out.size[1] = at + 1
    p.since = t


@kernel
def step(n: Network, i: int, p: Row, out: Out, t: int) -> None:
    """One step of the way: about 50 metres."""
    p.step += 1
    p.x = p.from_x + (int64(p.to_x) - p.from_x) * p.step // p.steps
    p.y = p.from_y + (int64(p.to_y) - p.from_y) * p.step // p.steps
    zone = square(n, p).zone
    if zone != p.zone:
        tell(i, p, out, t)
        p.zone = zone
    look(n, i, p, out, t)


@kernel
def arrive(w: Ways, n: Network, i: int, p: Row, c: Crowd, out: Out, t: int) -> None:
    """At the goal: at least three minutes, whatever the plan was."""
    tell(i, p, out, t)
    p.zone, p.mode = p.goal, STAYING
    remember(p, c.places[i], c.visits[i], p.goal)
    p.until = max(p.until, t + 180_000)
    ask_again(w, n, p, t)
    if p.sleeps and p.switches_off:
        switch_off(n, i, p, out, t)


@kernel
def switch_off(n: Network, i: int, p: Row, out: Out, t: int) -> None:
    """The night: a detach, then nothing."""
    reselect(n, i, p, t)
    emit(n, i, p, out, t, DETACH)
    tell(i, p, out, t)
    p.mode, p.check, p.active_until = OFF, NEVER, 0


@kernel
def leave_stay(w: Ways, n: Network, i: int, p: Row, c: Crowd, out: Out, t: int) -> None:
    """The end of a stay, or of the night: where next?"""
    if p.mode == OFF:
        tell(i, p, out, t)
        p.mode = STAYING
        reselect(n, i, p, t)
        emit(n, i, p, out, t, ATTACH)
    goal, until, night = decide(w, i, p, c.places[i], c.visits[i], t)
    p.until, p.sleeps = max(until, t + 60_000), night
    if set_out(w, i, p, goal, t):
        tell(i, p, out, t)
        p.mode = MOVING
    elif night and p.switches_off:
        switch_off(n, i, p, out, t)
    ask_again(w, n, p, t)


@kernel
def _finish(c: Crowd, out: Out, end: int) -> None:
    for i in range(c.next_ms.size):
        tell(i, c.people[i], out, end)


def finish(c: Crowd, end: int) -> Rows:
    """The truth of everybody's stretch that isn't over at the end."""
    out = room(0, c.next_ms.size)
    _finish(c, out, end)
    return out.truths[: out.size[1]]
