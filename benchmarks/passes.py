"""When somebody has left who was seen in passing, and how many pass unseen: dwell by each answer against the truth.

Towns of the shapes of `make validate`, of other seeds, are counted, and their sightings joined to presences by the
rules of docs/reference/semantics.md, which must be those that the crowd has counted. Then lengths are worked out anew:
of the time between a presence's last sighting and the first elsewhere (`after`), and between the last elsewhere and its
first (`before`), a share each belongs to it. Told are the median errors of dwell where truly about 500 people were, and
the errors of the sums.

    python -m benchmarks.passes [--towns 5]

Corrections, learnt from truth and used where it was not: each length's share of people seen, in the other towns; by
zone too, on another day of the same town; and by zone the unseen as Chao (1987) estimates them, from those heard once
and twice. And what is left of the error of flows once each pair's ratio, over the day, is taken off.
"""

import argparse
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.attach import DETACH
from schemas.epochs import Epoch
from schemas.lengths import BUCKETS, CUT, LIMITS_MS, LONGEST
from schemas.measures import Measure
from validation import errors, happened, medians
from validation.medians import Lengths
from validation.released import Estimates
from validation.towns import TOWNS, Day, Shape, live

SEEDS: Final = 30  # after those of the towns that are judged
OTHER_DAY: Final = {"compact": ((2026, 3, 4), (2026, 3, 7)), "easy radio": ((2026, 3, 5),)}
STAYS: Final = [n for n, bucket in enumerate(BUCKETS) if n != CUT and bucket.from_min >= 10]
PASSES: Final = [n for n, bucket in enumerate(BUCKETS) if n != CUT and bucket.from_min < 10]
# Shares of the time before and of the time after.
OF_PASSES: Final = ((0, 1), (1 / 2, 1), (1 / 2, 1 / 2), (0, 1 / 2), (0, 1 / 3), (0, 1 / 4), (1 / 8, 1 / 8), (0, 0))
OF_STAYS: Final = ((0, 1), (1 / 2, 1 / 2), (0, 1 / 2), (0, 0))
AS_COUNTED: Final = (0, 1 / 4)

Counts = NDArray[np.float64]


class Found(NamedTuple):
    """Presences, i64[n] each, times in ms from the epoch's start: `before` is the last sighting elsewhere or -1, `end`
    the first elsewhere where it `moved` on; `known` when it counts, `heard` how often the phone was."""

    who: NDArray[np.int64]
    zone: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    before: NDArray[np.int64]
    end: NDArray[np.int64]
    moved: NDArray[np.int64]
    stay: NDArray[np.int64]
    cut: NDArray[np.int64]
    known: NDArray[np.int64]
    heard: NDArray[np.int64]


class Town(NamedTuple):
    """A day: what was found and counted, and the truth of it. `true` i64[panes, zones * buckets]; `flows`: trips as
    counted and as they were, i64[panes, pairs] each."""

    name: str
    epoch: Epoch
    measure: Measure
    found: Found
    counted: NDArray[np.int64]
    true: NDArray[np.int64]
    stays: happened.Medians
    flows: list[tuple[NDArray[np.int64], NDArray[np.int64]]]


@njit(cache=True)
def _told(out, number, here, end, moved, cut, known):  # type: ignore[no-untyped-def]
    """Note a presence: who, zone, first, last, before, stay, cut, heard."""
    who, zone, first, last, before, stay, begun, heard = here
    row = out[number]
    row[0], row[1], row[2], row[3], row[4], row[5], row[6] = who, zone, first, last, before, end, moved
    row[7], row[8], row[9], row[10] = stay, begun or cut, known, heard
    return number + 1


@njit(cache=True)
def _walk(who, ts, zone, kind, opened, silence, stay, seen, ping_pong, until, out):  # type: ignore[no-untyped-def]
    """Sightings by subscriber and time to presences; returns how many. `opened`: who comes from nowhere before then may
    have been there before the epoch."""
    number, left_at = 0, 0
    nobody = (-1, -1, 0, 0, 0, 0, 0, 0)
    here, left = nobody, nobody
    for i in range(len(who) + 1):
        w, z, first, last, before, stays, begun, heard = here
        over = i == len(who) or who[i] != w
        now = until if over else ts[i]
        silent = last + silence
        if z >= 0:
            by_silence = silent < until if over else now >= silent
            detached = not over and not by_silence and kind[i] == DETACH
            if min(now, silent) - first >= stay and last - first >= seen:
                stays = 1
            here = (w, z, first, last, before, stays, begun, heard)
            moves_on = not over and zone[i] != z and zone[i] != left[1]
            if left[1] >= 0 and (over or by_silence or detached or moves_on or now > left_at + ping_pong):
                known = min(until - 1 if over else now, left_at + ping_pong)
                number = _told(out, number, left, left_at, 1, 0, known)
                left = nobody
            if by_silence:
                number = _told(out, number, here, last + silence // 2, 0, 0, silent)
            elif over:
                number = _told(out, number, here, until, 0, 1, until - 1)
            elif detached:
                number = _told(out, number, here, now, 0, 0, now)
            if over or by_silence or detached:
                z, left = -1, nobody
        if i == len(who):
            break
        now = ts[i]
        if kind[i] == DETACH:
            here = (who[i], -1, 0, 0, 0, 0, 0, 0)
        elif over or z < 0:
            here, left = (who[i], zone[i], now, now, -1, 0, int(now < opened), 1), nobody
        elif zone[i] == z:
            stays = int(stays or (now - first >= stay and now - first >= seen))
            here = (w, z, first, now, before, stays, begun, heard + 1)
        elif left[1] == zone[i]:
            w, z, first, last, before, stays, begun, heard = left
            stays = int(stays or (now - first >= stay and now - first >= seen))
            here, left = (w, z, first, now, before, stays, begun, heard + 1), nobody
        else:
            left, left_at = here, now
            here = (w, zone[i], now, now, last, 0, 0, 1)
    return number


def town(shape: Shape) -> Town:
    """Simulate a town's day, count it, and find its presences."""
    day = live(shape, lambda _: None, keep_rows=True)
    measure = next(m for m in day.epoch.measures if m.statistic == "dwell")
    there = happened.presences(day.stretches, day.excluded, day.epoch)
    true, stays = happened.dwell(there, day.epoch, measure), happened.median_stay(there, day.epoch, measure)
    stopped = happened.stays(there, day.epoch)
    flows = [
        (day.counts[m.name], happened.trips(stopped, day.epoch, m, day.parents))
        for m in day.epoch.measures
        if m.statistic == "trips"
    ]
    return Town(shape.name, day.epoch, measure, found(day), day.counts[measure.name], true, stays, flows)


def found(day: Day) -> Found:
    """Its presences, by the crowd's rules but for caps."""
    rows, epoch = day.rows, day.epoch
    assert rows is not None
    who = np.unique(rows.pseudonym, return_inverse=True)[1].astype(np.int64)
    columns = (who, rows.ts - epoch.start_ms, rows.zone.astype(np.int64), rows.kind.astype(np.int64))
    lengths = (epoch.silence_ms, epoch.stay_ms, epoch.seen_ms, epoch.ping_pong_ms, epoch.end_ms - epoch.start_ms)
    out = np.zeros((2 * len(who), len(Found._fields)), np.int64)
    number = _walk(*columns, epoch.opens_ms - epoch.start_ms + epoch.silence_ms, *lengths, out)
    return Found(*out[:number].T.copy())


def dwell(of: Town, passes: tuple[float, float], stays: tuple[float, float] = (0, 1)) -> NDArray[np.int64]:
    """What would be counted, i64[panes, zones * buckets], with these shares of the times before and after."""
    f, epoch = of.found, of.epoch
    is_stay = f.stay > 0
    before, after = (np.where(is_stay, stays[side], passes[side]) for side in (0, 1))
    length = np.where(f.moved, f.last, f.end) - f.first
    length += (np.where(f.moved, f.end - f.last, 0) * after).astype(np.int64)
    length += (np.where(f.before >= 0, f.first - f.before, 0) * before).astype(np.int64)
    length = np.where(is_stay, np.maximum(length, epoch.stay_ms), np.minimum(length, epoch.stay_ms - 1))
    bucket = np.searchsorted(np.array(LIMITS_MS), length, side="right")
    bucket = np.where((f.cut > 0) & (bucket < LONGEST), CUT, bucket)
    panes = epoch.panes(of.measure.pane_ms)
    pane = np.minimum(f.known // of.measure.pane_ms, panes - 1)
    return happened.once(f.who, pane, f.zone * len(BUCKETS) + bucket, panes, epoch.zones * len(BUCKETS))


def by_length(counts: NDArray[np.generic]) -> Counts:
    """From the second hour on, f64[hours, zones, buckets]."""
    return counts[len(counts) // 24 :].astype(np.float64).reshape(-1, counts.shape[1] // len(BUCKETS), len(BUCKETS))


def line(told: list[Counts], true: list[Counts], lengths: list[int]) -> str:
    """The median error at 500, and that of the sum of all."""
    pairs = [errors.pairs(a[:, :, lengths], b[:, :, lengths]) for a, b in zip(told, true, strict=True)]
    error = errors.error(errors.joined(pairs), 500)
    return "too few" if error is None else f"{error.median:.1%}"


def ends(towns: list[Town]) -> None:
    """The tables of passes' and of stays' lengths."""
    true = [by_length(of.true) for of in towns]
    for shares in OF_PASSES:
        told = [by_length(dwell(of, shares)) for of in towns]
        sums = [sum(a[:, :, n].sum() for a in told) / sum(b[:, :, n].sum() for b in true) - 1 for n in PASSES]
        parts = (PASSES + STAYS, PASSES)
        print(
            f"passes {shares[0]:.3f} before, {shares[1]:.3f} after:",
            *(line(told, true, part) for part in parts),
            end="",
        )
        print(" sums", *(f"{off:+.0%}" for off in sums))
    for shares in OF_STAYS:
        counts = [dwell(of, AS_COUNTED, shares) for of in towns]
        middle = medians.error(medians.joined([middles(of, each) for of, each in zip(towns, counts, strict=True)]), 500)
        told = [by_length(each) for each in counts]
        print(f"stays {shares[0]:.3f} before, {shares[1]:.3f} after: {line(told, true, STAYS)}", end="")
        print("" if middle is None else f" median {middle.before:.1%}")


def middles(of: Town, counts: NDArray[np.int64]) -> Lengths:
    """Stays' medians by these counts."""
    exact = Estimates(counts.astype(np.float64), np.zeros(counts.shape))
    return medians.lengths(counts, exact, of.stays, of.epoch, len(counts) // 24)


def corrections(towns: list[Town]) -> None:
    """What knowledge of other towns, of another day and of those heard twice makes of what is told."""
    told, true = [by_length(of.counted) for of in towns], [by_length(of.true) for of in towns]

    def say(name: str, correct: Callable[[int], Counts]) -> None:
        mended = [correct(number) for number in range(len(towns))]
        print(name, line(mended, true, PASSES + STAYS), "passes", line(mended, true, PASSES))

    def others(number: int) -> Counts:
        rest = [other for other in range(len(towns)) if other != number]
        share = sum(true[n].sum(axis=(0, 1)) for n in rest) / sum(told[n].sum(axis=(0, 1)) for n in rest)
        return told[number] * share

    def unseen(number: int) -> Counts:
        share = np.ones(told[number].shape[1:])
        share[:, PASSES] = chao(towns[number])[:, None]
        return told[number] * share

    say("as told", lambda number: told[number])
    say("each length's share in the other towns", others)
    say("by zone, as Chao", unseen)
    for number, of in enumerate(towns):
        for date in OTHER_DAY.get(of.name, ()):
            shape = TOWNS[[each.name for each in TOWNS].index(of.name)]
            day = town(shape._replace(seed=shape.seed + SEEDS, date=date))
            then, truly = by_length(day.counted), by_length(day.true)
            mended = then * (true[number].sum(axis=0) + 20) / (told[number].sum(axis=0) + 20)
            for name, counts in (("told", then), ("by zone, as on the first day", mended)):
                parts = (PASSES + STAYS, PASSES)
                print(of.name, *date, name, *(line([counts], [truly], part) for part in parts))


def chao(of: Town) -> Counts:
    """By zone: all passes, the unseen with them, to those seen; f64[zones]."""
    f = of.found
    passed = (f.stay == 0) & (f.cut == 0) & (f.moved > 0)
    seen, once, twice = (
        np.bincount(f.zone[passed & which], minlength=of.epoch.zones).astype(np.float64)
        for which in (f.heard > 0, f.heard == 1, f.heard == 2)
    )
    return np.asarray((seen + once**2 / (2 * np.maximum(twice, 1))) / np.maximum(seen, 1))


def flows(towns: list[Town]) -> None:
    """Flows as counted, and with each pair's ratio of the day taken off."""
    later = [(a[len(a) // 24 :], b[len(b) // 24 :]) for of in towns for a, b in of.flows]
    told = errors.joined([errors.pairs(a, b) for a, b in later])
    evened = errors.joined([errors.pairs(a * (b.sum(axis=0) / np.maximum(a.sum(axis=0), 1)), b) for a, b in later])
    for name, pairs in (("flows", told), ("with each pair's ratio taken off", evened)):
        error = errors.error(pairs, 500)
        print(name, "too few" if error is None else f"{error.median:.1%}, their sum {error.bias:+.1%}")


def main() -> None:
    """Simulate, work out, print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.passes", description=__doc__)
    options.add_argument("--towns", type=int, default=len(TOWNS))
    towns = [town(shape._replace(seed=shape.seed + SEEDS)) for shape in TOWNS[: options.parse_args().towns]]
    for of in towns:
        apart = int(np.abs(dwell(of, AS_COUNTED) - of.counted).sum())
        print(f"{of.name}: {len(of.found.who):,} presences, {of.counted.sum():,} counts, {apart} apart (caps)")
    ends(towns)
    flows(towns)
    corrections(towns)


if __name__ == "__main__":
    main()
