"""How far forecasts are off, against saying "as many as now" and "as last week". CPU: 3 minutes, 10 s with --days.

    python benchmarks/outlook.py [--seed 7] [--subscribers 8000] [--zones 20] [--weeks 4] [--days FILE] [--weather 0.1]

A town is simulated and counted by the core for some weeks (`--days`: kept in that file, and read from it if it is
there). Noise of the default budget is added, the filter goes over it day by day, what is not surely at least 20 people
is withheld, and the rest goes through `streams/core/derived/usual.py`, districts left out. In simulated towns weekdays
differ by chance alone, which flatters "as last week": with `--weather` each day's crowds are that much (standard
deviation) more or fewer, in half of the zones the other way. Of the last two weeks, by minutes ahead: mean absolute
errors against what was truly counted, and the share of 95 % intervals in which lay what was later released, and what
was truly counted. The last line is JSON.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.measures import DEFAULT_MEASURES
from streams.core.derived import usual
from streams.core.estimates import estimate
from streams.core.estimates.models import PRESENT
from streams.simulate.town import make_town
from tests.support.towns import count_days

SIGMA, SURE, K = 78.6, 1.645, 20
A_DAY, PANE_MS = 288, 300_000
MONDAY_4_00 = 1_772_420_400_000


def counted(asked: argparse.Namespace) -> NDArray[np.int64]:
    """People present, i64[panes, zones]."""
    if asked.days and asked.days.exists():
        return np.load(asked.days)["present"].astype(np.int64)
    town = make_town(asked.seed, asked.subscribers, asked.zones)
    counts = count_days(town, DEFAULT_MEASURES[:1], 24 * 7 * asked.weeks)["present"]
    if asked.days:
        np.savez_compressed(asked.days, present=counts.astype(np.int32))
    return counts


def weathered(counts: NDArray[np.int64], spread: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """Crowds of days that differ."""
    days = -(-len(counts) // A_DAY)
    factors = np.exp(rng.normal(0, spread, days)).repeat(A_DAY)[: len(counts), None]
    other_way = np.arange(counts.shape[1]) % 2 == 1
    return np.rint(counts * np.where(other_way, 1 / factors, factors)).astype(np.int64)


def released(counts: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimates and standard errors, NaN where they are withheld."""
    noisy = np.rint(counts + rng.normal(0, SIGMA, counts.shape)).astype(np.int64)
    means, errors = np.empty((2, *counts.shape))
    for number, pane in enumerate(noisy):
        belief = (
            estimate.begin(pane, SIGMA, PRESENT)
            if number % A_DAY == 0
            else estimate.update(belief, pane, SIGMA, PRESENT)  # noqa: F821
        )
        means[number], errors[number] = belief.level.mean, np.sqrt(belief.level.variance)
    told = means - SURE * errors >= K
    return np.where(told, means, np.nan), np.where(told, errors, np.nan)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--subscribers", type=int, default=8000)
    arguments.add_argument("--zones", type=int, default=20)
    arguments.add_argument("--weeks", type=int, default=4)
    arguments.add_argument("--days", type=Path, help="keep what was counted, or read it")
    arguments.add_argument("--weather", type=float, default=0.0, help="how much days differ")
    asked = arguments.parse_args()
    rng = np.random.default_rng(asked.seed)
    truth = weathered(counted(asked), asked.weather, rng)
    means, errors = released(truth, rng)
    # Ends of quarters of an hour: every third pane. Index n is the quarter that ends at 4:15 + n quarters.
    truth, means, errors = truth[2::3], means[2::3], errors[2::3]
    kept = usual.nothing(truth.shape[1])
    off: dict[int, dict[str, list[NDArray[np.float64]]]] = defaultdict(lambda: defaultdict(list))
    busy = []
    for number in range(len(truth)):
        quarters = tuple((17 + number + ahead) % usual.A_WEEK for ahead in range(usual.AHEAD + 1))
        clock = usual.Clock(MONDAY_4_00 + (number + 1) * usual.QUARTER_MS, quarters)
        compared, foretold = usual.take(kept, clock, means[number], errors[number])
        if number < len(truth) - 2 * usual.A_WEEK:
            continue
        known = ~np.isnan(means[number] - compared.usual)
        busy.append((compared.congestion[known] != 2).mean())
        for step in range(usual.AHEAD):
            then = number + step + 1
            if then >= len(truth):
                continue
            ahead, error = foretold.estimate[step], foretold.se[step]
            week = means[then - usual.A_WEEK]
            real = ~np.isnan(ahead + week + means[then])
            at = off[15 * (step + 1)]
            at["people"].append(truth[then][real])
            at["forecast"].append(np.abs(ahead - truth[then])[real])
            at["as_now"].append(np.abs(means[number] - truth[then])[real])
            at["as_last_week"].append(np.abs(week - truth[then])[real])
            at["covers_released"].append((np.abs(ahead - means[then]) <= 1.96 * error)[real])
            at["covers_truth"].append((np.abs(ahead - truth[then]) <= 1.96 * error)[real])
    lines = {
        str(minutes): {name: round(float(np.concatenate(values).mean()), 3) for name, values in at.items()}
        for minutes, at in off.items()
    }
    for minutes, line in lines.items():
        print(f"{minutes:>4} minutes ahead:", line)
    print(f"not as usual: {100 * np.mean(busy):.2f} % of places and quarters")
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
