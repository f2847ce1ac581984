"""How far the live estimates are from what was counted, and whether their stated error is true. CPU: some minutes.

    python benchmarks/accuracy.py [--towns 7 8] [--repeats 5] [--save tests/golden]

Towns of other seeds than the filter was tuned on are simulated for a weekday and counted by the core; noise of the
default budget (epsilon 2) is drawn from OpenDP, and the filter goes through the panes as the release does. Places are
looked at while they have about 50, 500 or 5,000 people, from an hour after the day's first pane on. `told`: the same
intervals' coverage of numbers of any size that are surely at least k, from the first pane on. A town of 600,000 has
the events of 5,000. The day after is looked at too, when yesterday is known. The last line is JSON.
"""

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from itertools import product, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.topics import DAY_MS
from streams.core.estimates.models import models_of
from streams.core.estimates.yesterday import Profile, followed, smoothed
from streams.core.release.budget import rho_of, sensitivity, sigma
from streams.simulate.town import Town, make_town
from streams.stores.noise import draw
from tests.support.towns import count_days
from tests.support.world import epochs_at

EPOCH = epochs_at(1_772_420_400_000)[0]
# Subscribers and zones of the towns in which each size of place is looked at.
TOWNS = {50: (3000, 60), 500: (40_000, 60), 5000: (40_000, 20)}
# The same for events, of which a place has far fewer than people.
LARGE = (600_000, 20)
AROUND = (0.7, 1.4)
TOLD_QUANTILE, K = 1.645, 20
HOUR_MS = 3_600_000
LEAST_PANES = 200


class Days(NamedTuple):
    """Counts of a day and of the one after it, by measure: i64[panes, keys]."""

    day: dict[str, NDArray[np.int64]]
    after: dict[str, NDArray[np.int64]]


def found(
    measure: Measure,
    days: Iterable[NDArray[np.int64]],
    people: int,
    repeats: int,
    yesterdays: Sequence[NDArray[np.int64]] = (),
) -> dict[str, float]:
    """The median relative errors of noisy numbers and of estimates, %, and the 95 % intervals' coverage, %.

    Args:
        yesterdays: of each day the one before it, if the filter is to know it.
    """
    models = models_of(measure)
    scale = sigma(measure, EPOCH)
    spent = (sensitivity(measure, EPOCH), scale, rho_of(measure, EPOCH))
    raw, errors, inside, told = [], [], [], []
    for which, day in enumerate(days):
        truths = np.tile(day, (1, repeats))
        known: Profile | None = None
        if yesterdays:
            drawn = np.array([draw(truth, *spent) for truth in np.tile(yesterdays[which], (1, repeats))])
            known = smoothed(drawn, np.ones(len(drawn), np.bool_), scale, models)
        seen = [draw(truth, *spent) for truth in truths]
        beliefs = followed(seen, repeat(scale), models, known)
        for number, (truth, noisy, belief) in enumerate(zip(truths, seen, beliefs, strict=True)):
            level = belief.level
            holds = np.abs(level.mean - truth) <= 1.96 * np.sqrt(level.variance)
            told.append(holds[level.mean - TOLD_QUANTILE * np.sqrt(level.variance) >= K])
            at = (truth >= AROUND[0] * people) & (truth < AROUND[1] * people)
            if (number + 1) * measure.pane_ms <= HOUR_MS or not at.any():
                continue
            raw.append(np.abs(noisy - truth)[at] / truth[at])
            errors.append(np.abs(np.maximum(level.mean, 0) - truth)[at] / truth[at])
            inside.append(holds[at])
    if not errors:
        return {"panes": 0, "raw": math.nan, "estimate": math.nan, "covered": math.nan, "told": math.nan}
    return {
        "panes": sum(map(len, errors)),
        "raw": 100 * float(np.median(np.concatenate(raw))),
        "estimate": 100 * float(np.median(np.concatenate(errors))),
        "covered": 100 * float(np.concatenate(inside).mean()),
        "told": 100 * float(np.concatenate(told).mean()),
    }


def keep(folder: Path, days: dict[int, list[dict[str, NDArray[np.int64]]]], suffix: str = "") -> None:
    """Keep exact counts for the tests: of people present by size of town, [towns, panes, zones], and of events by
    measure and size, the keys of both towns side by side."""
    present, events = {}, {}
    for people, of in days.items():
        present[str(people)] = np.stack([day["present"] for day in of]).astype(np.int32)
        for measure in DEFAULT_MEASURES[1:]:
            events[f"{measure.name}_{people}"] = np.concatenate([day[measure.name] for day in of], axis=1)
    np.savez_compressed(folder / f"days{suffix}.npz", **present)
    kept = {name: counts.astype(np.uint16) for name, counts in events.items()}
    np.savez_compressed(folder / f"events{suffix}.npz", **kept)


def two_days(town: Town) -> Days:
    """Count a town's Monday and Tuesday."""
    counts = count_days(town, DEFAULT_MEASURES, 48)
    a_day = {measure.name: DAY_MS // measure.pane_ms for measure in DEFAULT_MEASURES}
    return Days(
        {name: of[: a_day[name]] for name, of in counts.items()},
        {name: of[a_day[name] :] for name, of in counts.items()},
    )


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--towns", type=int, nargs="+", default=[7, 8], help="seeds")
    arguments.add_argument("--repeats", type=int, default=5, help="draws of noise for each day")
    arguments.add_argument("--save", type=Path, help="a folder to keep what was counted in")
    asked = arguments.parse_args()
    days: dict[int, list[Days]] = {
        people: [two_days(make_town(seed, *size)) for seed in asked.towns] for people, size in TOWNS.items()
    }
    large = [two_days(make_town(seed, *LARGE)) for seed in asked.towns]
    if asked.save:
        keep(asked.save, {people: [each.day for each in of] for people, of in days.items()})
        keep(asked.save, {people: [each.after for each in of] for people, of in days.items()}, "_after")
    lines = {}
    print(f"{'measure':20}{'people':>8}{'panes':>9}{'noisy %':>9}{'estimate %':>12}{'covered %':>11}{'told %':>8}")

    def tell(name: str, people: int, line: dict[str, float]) -> None:
        if line["panes"] < LEAST_PANES:
            return
        lines[f"{name}_{people}"] = {figure: round(value, 2) for figure, value in line.items()}
        print(
            f"{name:20}{people:>8}{line['panes']:>9}{line['raw']:>9.2f}"
            f"{line['estimate']:>12.2f}{line['covered']:>11.1f}{line['told']:>8.1f}"
        )

    for measure, people in product(DEFAULT_MEASURES, TOWNS):
        every = [each for of in days.values() for each in of]
        if people == max(TOWNS) and measure.statistic != "present":
            every = large
        first, second = ([each[n][measure.name] for each in every] for n in (0, 1))
        tell(measure.name, people, found(measure, first, people, asked.repeats))
        tell(f"{measure.name}, later", people, found(measure, second, people, asked.repeats, first))
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
