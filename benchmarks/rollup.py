"""How near districts come to the truth: by their zones' sum, and as they are released. CPU: about 10 seconds.

    python benchmarks/rollup.py [--repeats 4]

The days of `tests/golden/days.npz` (exact counts of people present, of simulated weekdays), with seeded noise of the
default budget, in districts of 4, 10 and 20 zones; from an hour after the day's first pane on. Columns: root mean
square and median relative error of the sum and of what is released, the 95 % intervals' coverage of both, and how far
the errors of the sum and of the district's own filter go together (correlation). The last line is JSON.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streams.core.estimates import estimate
from streams.core.estimates.estimate import Level
from streams.core.estimates.models import PRESENT
from streams.core.estimates.rollup import Tree, added, blended

DAYS = Path(__file__).parents[1] / "tests" / "golden" / "days.npz"
SIGMA = 78.6
AN_HOUR = 12


def filtered(panes: NDArray[np.int64], sigma: float) -> list[Level]:
    """The filter's estimates of i64[panes, keys]."""
    belief = estimate.begin(panes[0], sigma, PRESENT)
    levels = [belief.level]
    for noisy in panes[1:]:
        belief = estimate.update(belief, noisy, sigma, PRESENT)
        levels.append(belief.level)
    return levels


def found(days: NDArray[np.int64], each: int, repeats: int) -> dict[str, float]:
    """What districts of `each` zones give."""
    errors, inside, relative = defaultdict(list), defaultdict(list), defaultdict(list)
    for number, day in enumerate(days):
        count = day.shape[1] // each
        truth, district_of = day[:, : count * each], np.repeat(np.arange(count), each)
        for repeat in range(repeats):
            rng = np.random.default_rng(10 * number + repeat)
            noisy = np.rint(truth + rng.normal(0, SIGMA, truth.shape)).astype(np.int64)
            sums = noisy.reshape(len(noisy), count, each).sum(axis=2)
            pairs = zip(filtered(noisy, SIGMA), filtered(sums, SIGMA * each**0.5), strict=True)
            for pane, (zones, own) in enumerate(pairs):
                if pane < AN_HOUR:
                    continue
                whole = added(truth[pane], district_of, count)
                together = Level(added(zones.mean, district_of, count), added(zones.variance, district_of, count))
                told = blended(Tree(zones, own), district_of).districts
                for name, level in (("sum", together), ("own", own), ("released", told)):
                    errors[name].append(level.mean - whole)
                    relative[name].append(np.abs(level.mean - whole) / np.maximum(whole, 1))
                    inside[name].append(np.abs(level.mean - whole) <= 1.96 * np.sqrt(level.variance))
    flat = {name: np.concatenate(values) for name, values in errors.items()}
    line = {"people": float(days.mean() * each), "together": float(np.corrcoef(flat["sum"], flat["own"])[0, 1])}
    for name in ("sum", "released"):
        line[f"rms_{name}"] = float(np.sqrt((flat[name] ** 2).mean()))
        line[f"median_{name}"] = 100 * float(np.median(np.concatenate(relative[name])))
        line[f"covered_{name}"] = 100 * float(np.concatenate(inside[name]).mean())
    return line


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--repeats", type=int, default=4, help="draws of noise for each day")
    asked = arguments.parse_args()
    lines = {}
    for people, days in np.load(DAYS).items():
        for each in (4, 10, 20):
            line = found(days.astype(np.int64), each, asked.repeats)
            lines[f"{people}_by_{each}"] = {name: round(value, 2) for name, value in line.items()}
            print(f"{each:3} zones of towns of {people:>4}:", lines[f"{people}_by_{each}"])
    print(json.dumps(lines))


if __name__ == "__main__":
    main()
