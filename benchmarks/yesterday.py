"""How much the filter takes of the noise's error by knowing yesterday. CPU: 6 minutes, 4 with --days.

    python benchmarks/yesterday.py [--towns 7 8] [--repeats 4] [--days FOLDER]

Towns are simulated from a Sunday to a Tuesday and counted by the core (`--days`: kept in that folder, and read from it
if they are there). Simulated weekdays differ by chance alone, real ones by more, so a Tuesday after a Monday is looked
at with crowds that are fuller or emptier by some share (standard deviation), half of the zones the other way: all day,
or by the hour (each zone by itself, forgotten over three hours). And a Monday after a Sunday. With seeded noise of the
default budget, without and with yesterday: the median relative error and the 95 % intervals' coverage of zones while
they have about 50, 500 or 5,000 people, from an hour after the day's first pane on; of those of at least 20 in that
hour; of districts of ten zones with 50 people and more, as released (`streams/core/estimates/rollup.py`). Then the same
of the other default measures' keys at about 50 and 500. The last line is JSON.
"""

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product, repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import AROUND, EPOCH, TOWNS
from benchmarks.rollup import AN_HOUR, SIGMA
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.topics import DAY_MS
from streams.core.estimates.models import PRESENT, models_of
from streams.core.estimates.rollup import Tree, added, blended
from streams.core.estimates.yesterday import followed, smoothed
from streams.core.release.budget import sigma
from streams.simulate.town import make_town
from tests.support.towns import HOUR, MONDAY_4_00, count_days

EACH = 10
# The day before, the day, how much days differ, and whether by the hour.
DAYS = {
    "chance": (1, 2, 0.0, False),
    "10 %": (1, 2, 0.1, False),
    "20 %": (1, 2, 0.2, False),
    "10 % by the hour": (1, 2, 0.1, True),
    "20 % by the hour": (1, 2, 0.2, True),
    "a Monday after a Sunday": (0, 1, 0.0, False),
}
# Of events fewer are looked at than of people present: a key that is small hides behind the noise.
OF_EVENTS = (50, 500)
Counts = dict[str, NDArray[np.int64]]
# Of a place: relative errors, and whether the intervals held, by town and draw.
Found = tuple[list[NDArray[np.float64]], list[NDArray[np.bool_]]]


def counted(town: tuple[int, int, int], folder: Path | None) -> Counts:
    """A town (seed, subscribers, zones) by measure, i64[days, panes, keys] without each day's last pane."""
    file = folder / "{}_{}_{}.npz".format(*town) if folder else None
    if file and file.exists():
        counts = dict(np.load(file))
    else:
        sunday = MONDAY_4_00 - 24 * HOUR
        counts = count_days(make_town(*town), DEFAULT_MEASURES, 72, start_ms=sunday)
        if file:
            np.savez_compressed(file, **{name: of.astype(np.int32) for name, of in counts.items()})
    found = {}
    for measure in DEFAULT_MEASURES:
        panes, of = DAY_MS // measure.pane_ms, counts[measure.name].astype(np.int64)
        found[measure.name] = np.stack([of[day * panes : (day + 1) * panes - 1] for day in range(3)])
    return found


def weathered(day: NDArray[np.int64], spread: float, hourly: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """A day with more people, or fewer."""
    zones = day.shape[1]
    if not hourly:
        other_way = np.arange(zones) % 2
        return np.rint(day * np.exp(rng.normal(0, spread) * (1 - 2 * other_way))).astype(np.int64)
    moods, keeps = [rng.normal(0, spread, zones)], float(np.exp(-8 / (len(day) + 1)))
    for _ in day[1:]:
        moods.append(keeps * moods[-1] + rng.normal(0, spread * (1 - keeps**2) ** 0.5, zones))
    return np.rint(day * np.exp(moods)).astype(np.int64)


def released(panes: NDArray[np.int64], before: NDArray[np.int64] | None) -> Iterator[Tree]:
    """Estimates of zones and districts of noisy panes, and of those of yesterday if they are known."""
    count = panes.shape[1] // EACH
    district_of = np.repeat(np.arange(count), EACH)
    levels = []
    for size, scale in ((1, SIGMA), (EACH, SIGMA * EACH**0.5)):
        seen, known = (
            each.reshape(len(each), -1, size).sum(axis=2) if each is not None else None for each in (panes, before)
        )
        profile = smoothed(known, np.ones(len(known), np.bool_), scale, PRESENT) if known is not None else None
        levels.append(belief.level for belief in followed(seen, repeat(scale), PRESENT, profile))
    for zones, own in zip(*levels, strict=True):
        yield blended(Tree(zones, own), district_of)


def found(truth: NDArray[np.int64], trees: Iterator[Tree]) -> Iterator[tuple[str, NDArray, NDArray]]:
    """By place: relative errors, and whether the interval held."""
    count = truth.shape[1] // EACH
    district_of = np.repeat(np.arange(count), EACH)
    for number, tree in enumerate(trees):
        zones, whole = truth[number], added(truth[number], district_of, count)
        places = {"districts": (tree.districts, whole, (whole >= 50) & (number >= AN_HOUR))}
        for people in TOWNS:
            around = (zones >= AROUND[0] * people) & (zones < AROUND[1] * people)
            places[str(people)] = (tree.zones, zones, around & (number >= AN_HOUR))
        places["first hour"] = (tree.zones, zones, (zones >= 20) & (number < AN_HOUR))
        for name, (level, true, at) in places.items():
            error = np.abs(level.mean - true)
            relative = np.abs(np.maximum(level.mean, 0) - true)[at] / true[at]
            yield name, relative, (error <= 1.96 * np.sqrt(level.variance))[at]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--towns", type=int, nargs="+", default=[7, 8], help="seeds")
    arguments.add_argument("--repeats", type=int, default=4, help="draws of noise and of weather for each day")
    arguments.add_argument("--days", type=Path, help="a folder to keep what was counted in, or to read it from")
    asked = arguments.parse_args()
    towns = [counted((seed, *size), asked.days) for seed in asked.towns for size in TOWNS.values()]
    lines: dict[str, list[float]] = {}
    for which, (name, (yesterday, today, spread, hourly)) in enumerate(DAYS.items()):
        of = {known: defaultdict(lambda: ([], [])) for known in (False, True)}
        for number, town in enumerate(towns):
            for nth in range(asked.repeats):
                rng = np.random.default_rng((which, number, nth))
                before, truth = (weathered(town["present"][day], spread, hourly, rng) for day in (yesterday, today))
                seen, past = (
                    np.rint(each + rng.normal(0, SIGMA, each.shape)).astype(np.int64) for each in (truth, before)
                )
                for known, places in of.items():
                    for place, errors, inside in found(truth, released(seen, past if known else None)):
                        places[place][0].append(errors)
                        places[place][1].append(inside)
        told(lines, name, of)
    for which, (name, (yesterday, today, spread, hourly)) in enumerate(DAYS.items()):
        of = {known: defaultdict(lambda: ([], [])) for known in (False, True)}
        for (number, town), measure in product(enumerate(towns), DEFAULT_MEASURES[1:]):
            rng = np.random.default_rng((which, number, 100))
            before, truth = (weathered(town[measure.name][day], spread, hourly, rng) for day in (yesterday, today))
            for known, place, errors, inside in of_events(measure, truth, before, rng):
                of[known][place][0].append(errors)
                of[known][place][1].append(inside)
        told(lines, name, of)
    print(json.dumps(lines))


def of_events(
    measure: Measure, truth: NDArray[np.int64], before: NDArray[np.int64], rng: np.random.Generator
) -> Iterator[tuple[bool, str, NDArray, NDArray]]:
    """Without and with yesterday, by size of key: relative errors, and whether the interval held."""
    scale, models = sigma(measure, EPOCH), models_of(measure)
    seen, past = (np.rint(each + rng.normal(0, scale, each.shape)).astype(np.int64) for each in (truth, before))
    later = np.arange(len(truth))[:, None] >= max(1, HOUR // measure.pane_ms)
    for known in (False, True):
        profile = smoothed(past, np.ones(len(past), np.bool_), scale, models) if known else None
        levels = [belief.level for belief in followed(seen, repeat(scale), models, profile)]
        mean, variance = (np.array(column) for column in zip(*levels, strict=True))
        for people in OF_EVENTS:
            at = (truth >= AROUND[0] * people) & (truth < AROUND[1] * people) & later
            relative = np.abs(np.maximum(mean, 0) - truth)[at] / truth[at]
            yield known, f"{measure.name} {people}", relative, (np.abs(mean - truth) <= 1.96 * np.sqrt(variance))[at]


def told(lines: dict[str, list[float]], name: str, of: Mapping[bool, Mapping[str, Found]]) -> None:
    """Print a kind of days' errors and coverage without and with yesterday, and keep them."""
    for place in of[True]:
        line = []
        for known in (False, True):
            errors, inside = (np.concatenate(each) for each in of[known][place])
            line += [100 * float(np.median(errors)), 100 * float(inside.mean())] if len(errors) else [math.nan] * 2
        lines[f"{name}, {place}"] = [round(each, 2) for each in line]
        error, covered = f"{line[0]:6.2f} -> {line[2]:6.2f} %", f"{line[1]:.1f} -> {line[3]:.1f} %"
        print(f"{name:24}{place:>20}  error {error}   covered {covered}", flush=True)


if __name__ == "__main__":
    main()
