"""How far the network's view is from who is there, by measure: what `SIMULATED_WEIGHTED` of
`streams.core.estimates.view` holds, and `SIMULATED`, of plans without weights.

    python -m validation.view [--as-counted | --calibrated] [--seeds 10 ...]

Towns of other seeds than validation judges are counted and held against their truth, without noise. Of all `share` and
`apart` those are taken whose 95 % intervals have the best interval score (Gneiting and Raftery 2007, section 6.2): as
narrow as can be, at 20 half-widths for what lies outside. Each size of crowd has the same weight. The last lines are
TOML, as `release.view` reads it. `--calibrated`: of numbers that have factors by counts on site of the days before,
what is left beside the factors' own errors. `--seeds`: how far the towns' seeds are beyond those that are judged;
several: all of their towns together.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise, product
from typing import Final

import numpy as np

from streams.core.estimates.view import View
from streams.stores.noise import draw
from validation import errors, happened
from validation.calibrated import DAYS, corrected, counted
from validation.errors import FEWEST, Z_95, Pairs
from validation.judge import HOURS, paired, weighted, with_footfall
from validation.released import movements
from validation.towns import TOWNS, Shape, live, live_days

SEEDS: Final = 10  # beyond those of the towns that are judged
# By measure the kind that it is judged as. Who arrives and leaves is judged as part of footfall alone.
KINDS: Final = {
    "present": "present",
    "present_cohort": "present by cohort",
    "footfall": "footfall",
    "trips_zone": "flows by zone",
    "trips_parent": "flows by district",
    "dwell": "dwell",
    "visits": "visits",
}
MOVEMENTS: Final = ("arrivals", "departures")
EDGES: Final = np.geomspace(25, 8000, 11)
SHARES: Final = (0.0, *np.geomspace(0.01, 0.8, 28).tolist())
APART: Final = (0.0, *np.geomspace(0.1, 60, 30).tolist())


def fitted(of: Pairs) -> View:
    """The view whose intervals score best."""
    sizes = [(of.told >= low) & (of.told < high) for low, high in pairwise(EDGES)]
    crowds = [Pairs(of.told[at], of.true[at], of.se[at]) for at in sizes if at.sum() >= FEWEST]
    return min((View(share, apart) for share, apart in product(SHARES, APART)), key=lambda view: _score(view, crowds))


def _score(view: View, crowds: list[Pairs]) -> float:
    total = 0.0
    for told, true, se in crowds:
        off, half = np.abs(told - true), Z_95 * np.hypot(view.se(told), se)
        total += float(((2 * half + 40 * np.maximum(off - half, 0)) / told).mean() / (off / told).mean())
    return total


def _calibrated(shapes: Sequence[Shape]) -> None:
    found: dict[str, list[Pairs]] = {}
    for shape in shapes:
        day, *before = live_days(shape, DAYS + 1, lambda _: None)
        days = [counted(each, draw) for each in before]
        for name, pairs in corrected(day, days).items():
            found.setdefault(name, []).append(pairs)
        print(f"{shape.name}, seed {shape.seed}: {day.events:,} events")
    for name, parts in found.items():
        view = fitted(errors.joined(parts))
        print(f"[{name}]\ncalibrated_share = {view.share:.3f}\ncalibrated_apart = {view.apart:.2f}")


def main() -> None:
    """Simulate, measure, print."""
    options = argparse.ArgumentParser(prog="python -m validation.view", description=__doc__)
    options.add_argument("--as-counted", action="store_true", help="without the plans' weights")
    options.add_argument("--calibrated", action="store_true", help="of numbers that have factors")
    options.add_argument(
        "--seeds", type=int, nargs="+", default=[SEEDS], help="how far seeds are beyond those of the towns judged"
    )
    chosen = options.parse_args()
    shapes = [shape._replace(seed=shape.seed + beyond) for beyond in chosen.seeds for shape in TOWNS]
    if chosen.calibrated:
        _calibrated(shapes)
        return
    found: dict[str, list[Pairs]] = {name: [] for name in (*KINDS, *MOVEMENTS)}
    for shape in shapes:
        day = live(shape, lambda _: None)
        there = happened.presences(day.stretches, day.excluded, day.epoch)
        truth = happened.everything(there, day.epoch, day.parents, cohorts=day.cohorts)
        told = with_footfall(day.counts if chosen.as_counted else weighted(day))
        pairs = paired(told, truth)
        for name, kind in KINDS.items():
            found[name].append(pairs[kind])
        moved, truly = (movements(side["footfall"], side["present"]) for side in (told, truth))
        for name in MOVEMENTS:
            later = slice(len(moved[name]) // HOURS, None)
            found[name].append(errors.pairs(moved[name][later], truly[name][later]))
        print(f"{shape.name}, seed {shape.seed}: {day.events:,} events")
    for name, parts in found.items():
        view = fitted(errors.joined(parts))
        print(f"[{name}]\nshare = {view.share:.3f}\napart = {view.apart:.2f}")


if __name__ == "__main__":
    main()
