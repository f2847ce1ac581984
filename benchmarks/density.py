"""What a density grid is worth to weights: people present and footfall, before noise, against the truth.

Towns of the shapes of `make validate`, of other seeds, are counted once, and their counts weighted by plans that know
more or less of where people are: nothing (half a step from an even spread), or a census (`validation.census`) of these
cells, kinds and errors; with the zones' own outlines, and with such that fill all land between the places.

    python -m benchmarks.density [--towns 5]
"""

import argparse
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import shapely
from numpy.typing import NDArray

from streams.places.coverage import Shapes, as_objects, regions
from streams.places.density import People
from streams.simulate.town import Town
from validation import errors, happened
from validation.census import census
from validation.judge import paired, weighted, with_footfall
from validation.towns import TOWNS, Day, discs, live, town_of, with_outlines

SEEDS: Final = (30, 40)  # after those of the towns that are judged
AROUND_M: Final = 200.0
KINDS: Final = (("present", 50), ("present", 500), ("present", 5000), ("footfall", 500), ("footfall", 5000))

Grid = Callable[[Town], People | None]
GRIDS: Final[dict[str, Grid]] = {
    "spread evenly, half a step": lambda town: None,
    "census of 100 m": census,
    "census of 100 m, residents alone": lambda town: census(town, kinds=("home",)),
    "census of 100 m, twice the errors": lambda town: census(town, error=0.3),
    "census of 200 m": lambda town: census(town, 200),
    "census of 500 m": lambda town: census(town, 500),
}


class Lived(NamedTuple):
    """A town's day, and the truth of it."""

    town: Town
    day: Day
    truth: dict[str, NDArray[np.int64]]


def lived(seeds: int, number: int) -> Lived:
    """Simulate and count a town."""
    shape = TOWNS[number]._replace(seed=TOWNS[number].seed + seeds)
    day = live(shape, lambda _: None)
    there = happened.presences(day.stretches, day.excluded, day.epoch)
    truth = happened.everything(there, day.epoch, day.parents)
    return Lived(town_of(shape), day._replace(stretches=day.stretches[:0]), truth)


def filled(town: Town) -> Shapes:
    """Outlines that share out all land in and around the town: what is nearest to each zone's middle."""
    land = shapely.convex_hull(shapely.union_all(discs(town))).buffer(AROUND_M)
    x, y = town.discs[:, :2].astype(np.float64).T
    return as_objects([shapely.intersection(region, land) for region in regions(x, y)])


def line(towns: list[Lived], grid: Grid, outlines: Callable[[Town], Shapes] | None) -> str:
    """Median errors by kind and size, and how many zones the grid was believed of."""
    found, believed = [], []
    for each in towns:
        plan = with_outlines(each.town, grid(each.town), outlines(each.town) if outlines else None)
        believed += [zone.step is not None for zone in plan.zones]
        found.append(paired(with_footfall(weighted(each.day._replace(plan=plan))), each.truth))
    told = [errors.error(errors.joined([pairs[kind] for pairs in found]), size) for kind, size in KINDS]
    medians = " | ".join("too few" if error is None else f"{error.median:.1%}" for error in told)
    return f"{medians} | {np.mean(believed):.0%}"


def main() -> None:
    """Simulate, weight, print."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.density", description=__doc__)
    options.add_argument("--towns", type=int, default=len(TOWNS))
    chosen = options.parse_args()
    towns = [lived(seeds, number) for seeds in SEEDS for number in range(chosen.towns)]
    print("| | " + " | ".join(f"{kind} {size:,}" for kind, size in KINDS) + " | zones by the grid |")
    for name, grid in GRIDS.items():
        print(f"| {name} | {line(towns, grid, None)} |", flush=True)
    for name in ("spread evenly, half a step", "census of 100 m"):
        print(f"| outlines that fill all land, {name} | {line(towns, GRIDS[name], filled)} |", flush=True)


if __name__ == "__main__":
    main()
