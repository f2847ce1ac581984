"""How well rules for changing place tell what people truly did, on simulated towns with the harder radio.

For each rule, medians over the towns of: stays and trips found for each true one, the shares of those found that are a
true one's, and of the true ones that are found; the right zone at panes' ends; footfall (distinct people by zone and
hour) found for each true one, and its shares alike. True is a stay of 10 minutes at a spot within one zone: a slow way
through a large zone is none. Rules get the events' zones and times alone, in the order of time, one subscriber after
the other; what a pane's end has told is not changed.

    python -m benchmarks.place_changes [--towns 3] [--subscribers 2000] [--hours 24] [--radio real]

Rules: `back` moves at once, and takes the move back if the phone is back within so many seconds. `away` moves once the
old zone has not been heard for so many; `weight` once what was heard elsewhere outweighs, in time, what was heard in
the old zone by so many; `hmm` is a forward filter of two zones (mean time in a zone, likelihood ratio of a sighting,
time for which sightings say the same). Of a presence of 10 minutes, `seen` asks that it was seen so long after its
start to be a stay. What the crowd does is `back 300, seen 60`: docs/reference/semantics.md, "Presence" and "Stays".
"""

import argparse
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from streams.simulate.mobility import ways
from streams.simulate.network import Crowd, advance, begin, finish, network, room
from streams.simulate.people import OFF, STAYING, populate
from streams.simulate.town import make_town

START_MS = 1_772_420_400_000
HOUR_MS = 3_600_000
PANE_MS = 300_000
STAY_MS = 600_000
SILENCE_MS = 3_900_000
DETACH = 4
NOWHERE = -1
WAYS = ("back", "away", "weight", "hmm")
BACK, AWAY, WEIGHT, HMM = range(4)


class Rule(NamedTuple):
    """A rule and what it is given, s; of `hmm`: s, a ratio, s. `seen`: s."""

    way: int
    first: float
    second: float = 0.0
    third: float = 0.0
    seen: float = 0.0

    @property
    def name(self) -> str:
        """As the table has it."""
        given = f"{self.first:g}, {self.second:g}, {self.third:g}" if self.way == HMM else f"{self.first:g}"
        return f"{WAYS[self.way]} {given}" + (f", seen {self.seen:g}" if self.seen else "")


RULES = (
    *(Rule(BACK, s) for s in (0, 60, 180, 300, 590)),
    *(Rule(BACK, 60, seen=s) for s in (60, 180, 300, 600)),
    *(Rule(BACK, 300, seen=s) for s in (60, 120, 180, 300, 600)),
    Rule(BACK, 590, seen=180),
    *(Rule(AWAY, s) for s in (60, 180, 300)),
    Rule(AWAY, 180, seen=180),
    *(Rule(WEIGHT, s) for s in (60, 180, 300, 420)),
    Rule(WEIGHT, 180, seen=180),
    Rule(HMM, 1800, 8, 30),
    Rule(HMM, 3600, 8, 60),
    Rule(HMM, 3600, 4, 60),
    Rule(HMM, 1800, 8, 30, 180),
)


class Day(NamedTuple):
    """A simulated day: events and truths by subscriber, times in ms from its start."""

    who: NDArray[np.int64]
    ts: NDArray[np.int64]
    zone: NDArray[np.int64]
    kind: NDArray[np.int64]
    truths: NDArray[np.void]
    people: int
    zones: int
    end: int


def simulate(seed: int, subscribers: int, hours: int, radio: str, zones: int = 60) -> Day:
    """A town's day."""
    town = make_town(seed, subscribers, zones, radio=radio)
    w, n = ways(town, HOUR_MS), network(town, 0.05)
    people, places, visits = populate(town)
    crowd = Crowd(people, np.zeros(people.size, np.int64), places, visits)
    begin(w, n, crowd, START_MS)
    out = room(1 << 16, 1 << 15)
    events, truths, end = [], [], START_MS + hours * HOUR_MS
    first = 0
    while first < people.size:
        out.size[:] = 0
        first = advance(w, n, crowd, out, first, end)
        events.append(out.events[: out.size[0]].copy())
        truths.append(out.truths[: out.size[1]].copy())
    truths.append(finish(crowd, end))
    all_events, all_truths = np.concatenate(events), np.concatenate(truths)
    all_events = all_events[np.lexsort((all_events["seq"], all_events["ts"], all_events["who"]))]
    all_truths = all_truths[np.lexsort((all_truths["begin"], all_truths["who"]))]
    all_truths["begin"] -= START_MS
    all_truths["end"] -= START_MS
    zone = town.cell_zone[all_events["cell"]].astype(np.int64)
    columns = (all_events["who"].astype(np.int64), all_events["ts"] - START_MS, zone, all_events["kind"].astype(int))
    return Day(*columns, all_truths, people.size, len(town.layout.zones), end - START_MS)


@njit(cache=True)
def _told(who, ts, zone, kind, people, end, way, first, second, third):  # type: ignore[no-untyped-def]
    """Presences that a rule tells (who, zone, start, end), and each one's zone at each pane's end."""
    panes = end // PANE_MS
    at = np.full((people, panes), NOWHERE, np.int64)
    out = np.empty((len(who) + people, 4), np.int64)
    size = 0
    lo = 0
    while lo < len(who):
        hi = lo
        while hi < len(who) and who[hi] == who[lo]:
            hi += 1
        here, start, last = NOWHERE, 0, 0  # `last`: heard at all
        other, weight, heard_here = NOWHERE, 0.0, 0
        before, before_start = NOWHERE, 0
        pane = 0
        for k in range(lo, hi + 1):
            now = ts[k] if k < hi else end + 1
            # What time alone brings, up to the sighting; panes' ends on the way.
            while True:
                b = (pane + 1) * PANE_MS
                upto = min(now, b)
                if here != NOWHERE:
                    due = last + SILENCE_MS
                    if other != NOWHERE:
                        if way == AWAY:
                            due = min(due, max(heard_here + int(first * 1000), last))
                        elif way == WEIGHT:
                            due = min(due, last + max(0, int(first * 1000 - weight)))
                    if due < upto:
                        out[size, 0], out[size, 1], out[size, 2], out[size, 3] = who[lo], here, start, due
                        size += 1
                        if due == last + SILENCE_MS:
                            here = NOWHERE
                        else:
                            here, start, heard_here = other, due, last
                        other, weight, before = NOWHERE, 0.0, NOWHERE
                        continue
                if b > now or pane >= panes:
                    break
                at[who[lo], pane] = here
                pane += 1
            if k == hi:
                if here != NOWHERE:
                    out[size, 0], out[size, 1], out[size, 2], out[size, 3] = who[lo], here, start, end
                    size += 1
                break
            z = zone[k]
            if kind[k] == DETACH:
                if here != NOWHERE:
                    out[size, 0], out[size, 1], out[size, 2], out[size, 3] = who[lo], here, start, now
                    size += 1
                here, other, weight, before = NOWHERE, NOWHERE, 0.0, NOWHERE
                continue
            if here == NOWHERE:
                here, start, last, heard_here = z, now, now, now
                other, weight, before = NOWHERE, 0.0, NOWHERE
                continue
            move = False
            if way == BACK:
                if z != here and z == before and now - start <= first * 1000:
                    size -= 1
                    here, start, before = before, before_start, NOWHERE
                elif z != here:
                    move = True
            elif way == AWAY:
                if z == here:
                    heard_here, other = now, NOWHERE
                else:
                    other = z
                    move = now - heard_here >= first * 1000
            elif way == WEIGHT:
                if z == here:
                    weight = max(0.0, weight - (now - last))
                    other = NOWHERE
                else:
                    weight += now - last
                    other = z
                    move = weight >= first * 1000
            else:
                gap = (now - last) / 1000
                mixing = 0.5 * (1 - np.exp(-2 * gap / first))
                p = weight + (1 - 2 * weight) * mixing
                odds = p / (1 - p) * second ** (min(1.0, gap / third) * (1.0 if z != here else -1.0))
                weight = odds / (1 + odds)
                move = z != here and weight > 0.5
            if move:
                out[size, 0], out[size, 1], out[size, 2], out[size, 3] = who[lo], here, start, now
                size += 1
                before, before_start = here, start
                here, start, heard_here = z, now, now
                other = NOWHERE
                weight = 0.0 if way != HMM else 1 - weight
            last = now
        lo = hi
    return out[:size], at


def true_presences(day: Day) -> NDArray[np.int64]:
    """(who, zone, begin, end, ms at a spot) of what truly was, stretches in one zone joined."""
    t = day.truths
    on = t["mode"] != OFF
    joins = np.zeros(len(t), bool)
    same = (t["who"][1:] == t["who"][:-1]) & (t["zone"][1:] == t["zone"][:-1]) & on[1:] & on[:-1]
    joins[1:] = same & (t["begin"][1:] == t["end"][:-1])
    first = np.flatnonzero(~joins)
    still = np.where(t["mode"] == STAYING, t["end"] - t["begin"], 0)
    last = np.append(first[1:], len(t)) - 1
    joined = np.stack([t["who"][first], t["zone"][first], t["begin"][first], t["end"][last]], 1).astype(np.int64)
    return np.column_stack([joined, np.add.reduceat(still, first)])[on[first]]


def trips_of(stays: NDArray[np.int64]) -> NDArray[np.int64]:
    """(who, origin, destination, arrival) between consecutive stays in different zones."""
    ahead = (stays[1:, 0] == stays[:-1, 0]) & (stays[1:, 1] != stays[:-1, 1])
    return np.column_stack([stays[1:, 0], stays[:-1, 1], stays[1:, 1], stays[1:, 2]])[ahead]


@njit(cache=True)
def _matched(found, true, slack):  # type: ignore[no-untyped-def]
    """How many of (who, key, begin, end), both by who and begin, are one and the same: who and key equal, overlapping
    within `slack` ms; each once."""
    used = np.zeros(len(true), np.bool_)
    pairs, low = 0, 0
    for f in range(len(found)):
        while low < len(true) and true[low, 0] < found[f, 0]:
            low += 1
        k = low
        while k < len(true) and true[k, 0] == found[f, 0]:
            overlap = true[k, 2] - slack < found[f, 3] and found[f, 2] < true[k, 3] + slack
            if not used[k] and true[k, 1] == found[f, 1] and overlap:
                used[k] = True
                pairs += 1
                break
            k += 1
    return pairs


def hours_seen(presences: NDArray[np.int64], day: Day) -> set[int]:
    """Who was where in which hour, as numbers."""
    seen: set[int] = set()
    hours = day.end // HOUR_MS
    for who, zone, since, end in presences[:, :4].tolist():
        for hour in range(since // HOUR_MS, min((end - 1) // HOUR_MS + 1, hours)):
            seen.add((who * day.zones + zone) * hours + hour)
    return seen


def _keyed(trips: NDArray[np.int64], day: Day) -> NDArray[np.int64]:
    """Trips as `_matched` takes them."""
    pair = trips[:, 1] * day.zones + trips[:, 2]
    return np.column_stack([trips[:, 0], pair, trips[:, 3], trips[:, 3] + 1])


def _seen(day: Day, told: NDArray[np.int64]) -> NDArray[np.int64]:
    """How long after its start each presence was seen last in its zone, ms."""
    at = day.who * (day.end + 1) + day.ts
    first = np.searchsorted(at, told[:, 0] * (day.end + 1) + told[:, 2])
    last = np.searchsorted(at, told[:, 0] * (day.end + 1) + told[:, 3])
    return _last_seen(day.ts, day.zone, told, first, last)


@njit(cache=True)
def _last_seen(ts, zone, told, first, last):  # type: ignore[no-untyped-def]
    seen = np.zeros(len(told), np.int64)
    for n in range(len(told)):
        for k in range(first[n], last[n]):
            if zone[k] == told[n, 1]:
                seen[n] = ts[k] - told[n, 2]
    return seen


def judge(day: Day, rule: Rule) -> dict[str, float]:
    """What the rule tells of the day, against the truth."""
    args = (day.people, day.end, rule.way, rule.first, rule.second, rule.third)
    told, at = _told(day.who, day.ts, day.zone, day.kind, *args)
    true = true_presences(day)
    long = (told[:, 3] - told[:, 2] >= STAY_MS) & (_seen(day, told) >= rule.seen * 1000)
    stays, true_stays = told[long], true[true[:, 4] >= STAY_MS]
    trips, true_trips = trips_of(stays), trips_of(true_stays)
    keyed = [
        np.column_stack([t[:, 0], t[:, 1] * day.zones + t[:, 2], t[:, 3], t[:, 3] + 1]) for t in (trips, true_trips)
    ]
    same_stays, same_trips = _matched(stays, true_stays, 0), _matched(keyed[0], keyed[1], 1_800_000)
    seen, truly = hours_seen(told, day), hours_seen(true, day)
    was = _true_at(true[:, :4], day.people, at.shape[1])
    both = (at != NOWHERE) & (was != NOWHERE)
    return {
        "true stays": len(true_stays),
        "stays/true": len(stays) / len(true_stays),
        "right": same_stays / max(1, len(stays)),
        "recall": same_stays / len(true_stays),
        "trips/true": len(trips) / len(true_trips),
        "right trips": same_trips / max(1, len(trips)),
        "trip recall": same_trips / len(true_trips),
        "zone at pane": float((at == was)[both].mean()),
        "footfall/true": len(seen) / len(truly),
        "footfall right": len(seen & truly) / len(seen),
        "footfall recall": len(seen & truly) / len(truly),
    }


@njit(cache=True)
def _true_at(true, people, panes):  # type: ignore[no-untyped-def]
    at = np.full((people, panes), NOWHERE, np.int64)
    for k in range(len(true)):
        for pane in range(true[k, 2] // PANE_MS, min(true[k, 3] // PANE_MS, panes)):
            if true[k, 2] <= (pane + 1) * PANE_MS - 1 < true[k, 3]:
                at[true[k, 0], pane] = true[k, 1]
    return at


def main() -> None:
    """Print a table, medians over the towns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--towns", type=int, default=3)
    parser.add_argument("--subscribers", type=int, default=2000)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--radio", default="real")
    options = parser.parse_args()
    days = [simulate(seed, options.subscribers, options.hours, options.radio) for seed in range(1, options.towns + 1)]
    print("events a subscriber:", [round(len(day.ts) / day.people, 1) for day in days])
    heading = None
    for rule in RULES:
        judged = [judge(day, rule) for day in days]
        if heading is None:
            heading = list(judged[0])
            print("| rule | " + " | ".join(heading) + " |\n|---|" + "---|" * len(heading))
        cells = [f"{np.median([one[name] for one in judged]):.3f}".removesuffix(".000") for name in heading]
        print(f"| {rule.name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
