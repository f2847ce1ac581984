"""How far the network's view is from who is there, by measure: what `streams.core.view.SIMULATED_WEIGHTED` holds, and
`SIMULATED`, of plans without weights.

    python -m validation.view [--as-counted | --calibrated]

Towns of other seeds than validation judges are counted and held against their truth. To the counts normal noise is
added of just the errors that are told where they are released, on any day but the first: so it is no fault of the
filter's that is fitted. Of all `share` and `apart` those are taken whose 95 % intervals, with these errors, have the
best interval score (Gneiting and Raftery 2007, section 6.2): as narrow as can be, at 20 half-widths for what lies
outside. Each size of crowd has the same weight. The last lines are TOML, as `release.view` reads it. `--calibrated`: of
numbers that have factors by counts on site of the days before, what is left beside the factors' own errors.
"""

import argparse
from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.plan import Plan
from streams.core.view import View
from streams.stores.noise import draw
from validation import calibrated, draws, errors, released
from validation.calibrated import DAYS, corrected, days_before, on_site
from validation.draws import Noisy
from validation.errors import FEWEST, Z_95, Pairs
from validation.judge import HOURS, paired, truth_of, weighted, with_footfall, with_footfall_se
from validation.released import Estimates
from validation.towns import TOWNS, Day, live

SEEDS: Final = 10  # after those of the towns that are judged
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


class Released(NamedTuple):
    """A town's day, what is released of it, and the days before, with their noise; the last one first."""

    day: Day
    estimates: dict[str, Estimates]
    before: list[Day]
    noisy: list[Noisy]


def fitted(of: Pairs) -> View:
    """The view whose intervals score best."""
    sizes = [(of.true >= low) & (of.true < high) for low, high in pairwise(EDGES)]
    crowds = [Pairs(of.told[at], of.true[at], of.se[at]) for at in sizes if at.sum() >= FEWEST]
    return min((View(share, apart) for share, apart in product(SHARES, APART)), key=lambda view: _score(view, crowds))


def _score(view: View, crowds: list[Pairs]) -> float:
    total = 0.0
    for told, true, se in crowds:
        off, half = np.abs(told - true), Z_95 * np.hypot(view.se(told), se)
        total += float(((2 * half + 40 * np.maximum(off - half, 0)) / true).mean() / (off / true).mean())
    return total


def _of_towns(days_needed: int, plain: bool) -> Iterator[Released]:
    """The towns' days, each with what a draw of noise makes of it when the day before is known, and so many days."""
    for shape in TOWNS:
        shape = shape._replace(seed=shape.seed + SEEDS)
        lived = [live(each, lambda _: None) for each in (shape, *days_before(shape)[:days_needed])]
        if plain:
            lived = [each._replace(plan=_without_weights(each.plan)) for each in lived]
        wanted = [(each, draws.counted_measures(each)) for each in lived]
        ((noisy, *before),) = draws.several(wanted, draw, 1)
        yield Released(lived[0], draws.estimates(lived[0], noisy, before[0]), lived[1:], before)
        print(f"{shape.name}: {lived[0].events:,} events")


def _without_weights(plan: Plan) -> Plan:
    zones = tuple(msgspec.structs.replace(zone, counted=(), step=None) for zone in plan.zones)
    return msgspec.structs.replace(plan, zones=zones)


def _calibrated() -> None:
    found: dict[str, list[Pairs]] = {}
    for day, estimates, before, noisy in _of_towns(DAYS, plain=False):
        days = [on_site(each, calibrated.truth_of(each), of) for each, of in zip(before, noisy, strict=True)]
        se = {name: of.se for name, of in estimates.items()}
        of_factors = errors.larger(corrected(day, days, se, np.random.default_rng(day.shape.seed)))
        for name, pairs in of_factors.items():
            found.setdefault(name, []).append(pairs)
    for name, parts in found.items():
        view = fitted(errors.joined(parts))
        print(f"[{name}]\ncalibrated_share = {view.share:.3f}\ncalibrated_apart = {view.apart:.2f}")


def _noisy(of: Pairs) -> Pairs:
    """Counts with noise of their standard errors, of crowds that something is told of."""
    drawn = np.random.default_rng(len(of.told)).normal(0, of.se)
    large = of.true >= errors.SMALLEST
    return Pairs(*(column[large] for column in (np.maximum(of.told + drawn, 0), of.true, of.se)))


def _moved(of: Mapping[str, Estimates]) -> dict[str, NDArray[np.float64]]:
    """Standard errors of who arrives and who leaves, as the release has them."""
    arrived, present = (of[name].se ** 2 for name in ("arrivals", "present"))
    at_start, at_end = (each.astype(np.float64) for each in released.there_at_bounds(present, len(arrived)))
    return {"arrivals": np.sqrt(arrived), "departures": np.sqrt(arrived + at_start + at_end)}


def main() -> None:
    """Simulate, measure, print."""
    options = argparse.ArgumentParser(prog="python -m validation.view", description=__doc__)
    options.add_argument("--as-counted", action="store_true", help="without the plans' weights")
    options.add_argument("--calibrated", action="store_true", help="of numbers that have factors")
    chosen = options.parse_args()
    if chosen.calibrated:
        _calibrated()
        return
    found: dict[str, list[Pairs]] = {name: [] for name in (*KINDS, *MOVEMENTS)}
    for day, estimates, _, _ in _of_towns(1, chosen.as_counted):
        truth, told = truth_of(day).counts, with_footfall(weighted(day))
        pairs = paired(told, truth, with_footfall_se({name: of.se for name, of in estimates.items()}))
        for name, kind in KINDS.items():
            found[name].append(_noisy(pairs[kind]))
        moved, truly = (released.movements(side["footfall"], side["present"]) for side in (told, truth))
        for name, se in _moved(estimates).items():
            later = slice(len(se) // HOURS, None)
            found[name].append(_noisy(errors.pairs(moved[name][later], truly[name][later], se[later])))
    for name, parts in found.items():
        view = fitted(errors.joined(parts))
        print(f"[{name}]\nshare = {view.share:.3f}\napart = {view.apart:.2f}")


if __name__ == "__main__":
    main()
