"""How much the filter takes of the noise's error by knowing yesterday. CPU: 3 minutes, 1 with --days.

    python benchmarks/yesterday.py [--towns 7 8] [--repeats 4] [--days FOLDER]

Towns are simulated from a Sunday to a Tuesday and counted by the core (`--days`: kept in that folder, and read from it
if they are there). Simulated weekdays differ by chance alone, real ones by more, so a Tuesday after a Monday is looked
at with crowds that are fuller or emptier by some share (standard deviation), half of the zones the other way: all day,
or by the hour (each zone by itself, forgotten over three hours). And a Monday after a Sunday. With seeded noise of the
default budget, without and with yesterday: the median relative error and the 95 % intervals' coverage of zones while
they have about 50, 500 or 5,000 people, from an hour after the day's first pane on; of those of at least 20 in that
hour; of districts of ten zones with 50 people and more, as released (`streams/core/rollup.py`). The last line is JSON.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import A_DAY, AROUND, TOWNS
from benchmarks.rollup import AN_HOUR, SIGMA
from schemas.measures import DEFAULT_MEASURES
from streams.core import estimate
from streams.core.estimate import Level
from streams.core.models import PRESENT
from streams.core.rollup import Tree, added, blended
from streams.core.yesterday import Profile, smoothed
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
KEEPS_A_PANE = float(np.exp(-5 / 180))


def counted(town: tuple[int, int, int], folder: Path | None) -> NDArray[np.int64]:
    """People present of a town (seed, subscribers, zones), i64[days, panes, zones] without each day's last pane."""
    file = folder / "{}_{}_{}.npz".format(*town) if folder else None
    if file and file.exists():
        counts = np.load(file)["present"].astype(np.int64)
    else:
        sunday = MONDAY_4_00 - 24 * HOUR
        counts = count_days(make_town(*town), DEFAULT_MEASURES[:1], 72, start_ms=sunday)["present"]
        if file:
            np.savez_compressed(file, present=counts.astype(np.int32))
    return np.stack([counts[day * A_DAY : (day + 1) * A_DAY - 1] for day in range(3)])


def weathered(day: NDArray[np.int64], spread: float, hourly: bool, rng: np.random.Generator) -> NDArray[np.int64]:
    """A day with more people, or fewer."""
    zones = day.shape[1]
    if not hourly:
        other_way = np.arange(zones) % 2
        return np.rint(day * np.exp(rng.normal(0, spread) * (1 - 2 * other_way))).astype(np.int64)
    moods = [rng.normal(0, spread, zones)]
    for _ in day[1:]:
        moods.append(KEEPS_A_PANE * moods[-1] + rng.normal(0, spread * (1 - KEEPS_A_PANE**2) ** 0.5, zones))
    return np.rint(day * np.exp(moods)).astype(np.int64)


def followed(noisy: NDArray[np.int64], sigma: float, known: Profile | None) -> Iterator[Level]:
    """The filter's estimates of i64[panes, keys]."""
    belief = None
    for number, pane in enumerate(noisy):
        then = known.at(number + 1) if known else None
        if belief is None:
            belief = estimate.begin(pane, sigma, PRESENT, then)
        else:
            belief = estimate.update(belief, pane, sigma, PRESENT, then)
        yield belief.level


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
        levels.append(followed(seen, scale, profile))
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
    lines = {}
    for which, (name, (yesterday, today, spread, hourly)) in enumerate(DAYS.items()):
        of = {known: defaultdict(lambda: ([], [])) for known in (False, True)}
        for number, town in enumerate(towns):
            for repeat in range(asked.repeats):
                rng = np.random.default_rng((which, number, repeat))
                before, truth = (weathered(town[day], spread, hourly, rng) for day in (yesterday, today))
                seen, past = (
                    np.rint(each + rng.normal(0, SIGMA, each.shape)).astype(np.int64) for each in (truth, before)
                )
                for known, places in of.items():
                    for place, errors, inside in found(truth, released(seen, past if known else None)):
                        places[place][0].append(errors)
                        places[place][1].append(inside)
        for place in of[True]:
            line = []
            for known in (False, True):
                errors, inside = (np.concatenate(each) for each in of[known][place])
                line += [100 * float(np.median(errors)), 100 * float(inside.mean())]
            lines[f"{name}, {place}"] = [round(each, 2) for each in line]
            error, covered = f"{line[0]:6.2f} -> {line[2]:6.2f} %", f"{line[1]:.1f} -> {line[3]:.1f} %"
            print(f"{name:24}{place:>12}  error {error}   covered {covered}")
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
