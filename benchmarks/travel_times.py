"""How well the minutes from stay to stay, as a network hears of them, tell how long people truly travelled.

True trips are from a stop of 10 minutes in one zone to the next one in another, and two lengths of them are true:
*zone* is the time between the two zones, *door* that between the two stops. For each moment at which an origin may be
taken for left, of the trips that were found and truly were: the share in the right band, of all and of those of each
true band, the share of each band's that truly are of it, and the median difference in minutes. `unknown` is the share
on which the phone was off or silent: they are in no band.

    python -m benchmarks.travel_times [--towns 3] [--subscribers 4000] [--zones 60] [--radio real]

Departures: `left` is the first sighting elsewhere (what the crowd does, docs/reference/semantics.md, "Travel times"),
`last` the last one in the origin, `middle` half-way between. `none` says that all trips are in the most frequent band.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from benchmarks.place_changes import BACK, STAY_MS, Day, _seen, _told, simulate
from schemas.lengths import TRAVEL_LIMITS_MIN, TRAVEL_TIMES, UNKNOWN
from streams.simulate.people import STAYING

PING_PONG_S = 300
SEEN_MS = 180_000
MINUTE_MS = 60_000
SLACK_MS = 1_800_000
DEPARTURES = ("left", "last", "middle")


def found_trips(day: Day) -> dict[str, NDArray[np.int64]]:
    """Trips by the crowd's rules, i64[n] each: who, origin, destination, arrival, whole (was the phone heard of all the
    way), and the departure by each name."""
    told, _ = _told(day.who, day.ts, day.zone, day.kind, day.people, day.end, BACK, PING_PONG_S, 0.0, 0.0)
    seen = _seen(day, told)
    from_nowhere = np.ones(len(told), np.int64)
    from_nowhere[1:] = (told[1:, 0] != told[:-1, 0]) | (told[1:, 2] != told[:-1, 3])
    breaks = from_nowhere.cumsum()
    stays = np.flatnonzero((told[:, 3] - told[:, 2] >= STAY_MS) & (seen >= SEEN_MS))
    one, other = stays[:-1], stays[1:]
    trip = (told[one, 0] == told[other, 0]) & (told[one, 1] != told[other, 1])
    one, other = one[trip], other[trip]
    left, last = told[one, 3], told[one, 2] + seen[one]
    return {
        "who": told[one, 0],
        "origin": told[one, 1],
        "destination": told[other, 1],
        "arrival": told[other, 2],
        "whole": (breaks[one] == breaks[other]).astype(np.int64),
        "left": left,
        "last": last,
        "middle": (left + last) // 2,
    }


def true_trips(day: Day) -> dict[str, NDArray[np.int64]]:
    """Trips that truly were: who, origin, destination, arrival in the zone, minutes between the zones and the stops."""
    t = day.truths
    still = (t["mode"] == STAYING) & (t["end"] - t["begin"] >= STAY_MS)
    # Where a stop is told in several stretches, they are joined.
    go_on = (t["who"][1:] == t["who"][:-1]) & (t["zone"][1:] == t["zone"][:-1]) & (t["begin"][1:] == t["end"][:-1])
    whole = np.append(True, ~go_on).cumsum() - 1
    begins, ends = np.full(whole[-1] + 1, 1 << 62), np.zeros(whole[-1] + 1, np.int64)
    np.minimum.at(begins, whole, t["begin"])
    np.maximum.at(ends, whole, t["end"])
    stop = np.flatnonzero(still)
    one, other = stop[:-1], stop[1:]
    trip = (t["who"][one] == t["who"][other]) & (t["zone"][one] != t["zone"][other])
    one, other = one[trip], other[trip]
    arrival = begins[whole[other]]
    return {
        "who": t["who"][one].astype(np.int64),
        "origin": t["zone"][one].astype(np.int64),
        "destination": t["zone"][other].astype(np.int64),
        "arrival": arrival,
        "zone": (arrival - ends[whole[one]]) // MINUTE_MS,
        "door": (t["begin"][other] - t["end"][one]) // MINUTE_MS,
    }


def matched(
    found: dict[str, NDArray[np.int64]], true: dict[str, NDArray[np.int64]], day: Day
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of found and of true trips of one person between the same zones, that arrived within half an hour."""

    def key(trips: dict[str, NDArray[np.int64]]) -> NDArray[np.int64]:
        return (trips["who"] * day.zones + trips["origin"]) * day.zones + trips["destination"]

    by_key: dict[int, list[int]] = {}
    for number, one in enumerate(key(true).tolist()):
        by_key.setdefault(one, []).append(number)
    pairs = []
    for number, (one, arrival) in enumerate(zip(key(found).tolist(), found["arrival"].tolist(), strict=True)):
        near = [n for n in by_key.get(one, ()) if abs(int(true["arrival"][n]) - arrival) <= SLACK_MS]
        if near:
            nearest = min(near, key=lambda n: abs(int(true["arrival"][n]) - arrival))
            by_key[one].remove(nearest)
            pairs.append((number, nearest))
    both = np.array(pairs, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def band(minutes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which band each is in."""
    return np.searchsorted(np.array(TRAVEL_LIMITS_MIN), minutes, side="right")


def main() -> None:
    """Print tables, over all towns together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--towns", type=int, default=3)
    parser.add_argument("--subscribers", type=int, default=4000)
    parser.add_argument("--zones", type=int, default=60, help="The more, the wider the town.")
    parser.add_argument("--radio", default="real")
    options = parser.parse_args()
    told: dict[str, list[NDArray[np.int64]]] = {}
    counts = np.zeros(4, np.int64)
    for seed in range(1, options.towns + 1):
        day = simulate(seed, options.subscribers, 24, options.radio, options.zones)
        found, true = found_trips(day), true_trips(day)
        mine, theirs = matched(found, true, day)
        whole = found["whole"][mine] == 1
        counts += [len(found["who"]), len(true["who"]), len(mine), len(mine) - whole.sum()]
        mine, theirs = mine[whole], theirs[whole]
        for name in DEPARTURES:
            minutes = found["arrival"][mine] // MINUTE_MS - found[name][mine] // MINUTE_MS
            told.setdefault(name, []).append(minutes)
        for name in ("zone", "door"):
            told.setdefault(name, []).append(true[name][theirs])
    print("trips found {}, true {}, of both {}, of these unknown {}".format(*counts))
    lengths = {name: np.concatenate(parts) for name, parts in told.items()}
    for name, minutes in lengths.items():
        shares = np.bincount(band(minutes), minlength=len(TRAVEL_LIMITS_MIN) + 1) / len(minutes)
        print(f"{name}: share by band {shares.round(3).tolist()}, median {np.median(minutes):.0f} min")
    names = [band.name for band in TRAVEL_TIMES[:UNKNOWN]]
    print("| true | departure | right | of true " + ", ".join(names) + " | of told the same | median difference, min |")
    print("|---|---|---|---|---|---|")
    for truth in ("zone", "door"):
        true_band = band(lengths[truth])
        most = np.bincount(true_band).argmax()
        print(f"| {truth} | none | {(true_band == most).mean():.1%} | | | |")
        for name in DEPARTURES:
            told_band = band(lengths[name])
            right = told_band == true_band
            found, truly = (
                ", ".join(f"{right[side == n].mean():.0%}" if (side == n).any() else "none" for n in range(len(names)))
                for side in (true_band, told_band)
            )
            apart = np.median(lengths[name] - lengths[truth])
            print(f"| {truth} | {name} | {right.mean():.1%} | {found} | {truly} | {apart:+.0f} |")


if __name__ == "__main__":
    main()
