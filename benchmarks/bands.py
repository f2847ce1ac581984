"""Flows by distance against what truly happened: do errors of the network's view add up over pairs, or do variances?

    python -m benchmarks.bands [--seeds 30]

In towns of other seeds than validation judges trips are counted without noise, and a day's are added up by band of
distance and by the place that they went to, where three pairs or more are of about the size that is told. Printed is
how many intervals by the views' errors alone hold what truly happened. CPU: a minute.
"""

import argparse
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from streams.core.derived.bands import ENDS_KM, great_circle_km
from validation.errors import Z_95
from validation.judge import HOURS, VIEWS, truth_of, weighted
from validation.towns import TOWNS, Day, live

TOLD: Final = 30  # trips of a pair in a pane; by far most smaller ones are withheld
FEWEST: Final = 3
MEASURES: Final = ("trips_zone", "trips_parent")


class Sums(NamedTuple):
    """A band's trips: how far off they are, and the view's error by variances and by sums of pairs' errors."""

    off: float
    variances: float
    errors: float


def middles(day: Day, level: str) -> np.ndarray:
    """Latitude and longitude of the places, f64[n, 2]."""
    at = np.array([(zone.lat, zone.lon) for zone in day.plan.zones], np.float64)
    if level == "zone":
        return at
    return np.array([at[day.parents == number].mean(axis=0) for number in range(int(day.parents.max()) + 1)])


def bands(day: Day) -> Iterator[tuple[str, Sums]]:
    """Of each measure, band and destination."""
    truth, counts = truth_of(day).counts, weighted(day)
    for measure in day.epoch.measures:
        if measure.name not in MEASURES:
            continue
        told, true = (side[measure.name][len(side[measure.name]) // HOURS :] for side in (counts, truth))
        at, large = middles(day, measure.level), told >= TOLD
        places = round(told.shape[1] ** 0.5)
        km = np.array([[great_circle_km(a, b) for b in at.tolist()] for a in at.tolist()])
        number = np.searchsorted(ENDS_KM, km, side="right")
        by_pair = [
            np.where(large, side, 0.0).sum(axis=0).reshape(places, places)[: len(at), : len(at)]
            for side in (told, true, VIEWS[measure.name].se(told.astype(np.float64)))
        ]
        for band in range(len(ENDS_KM) + 1):
            for place in range(len(at)):
                some = (number[:, place] == band) & (by_pair[0][:, place] > 0)
                if some.sum() >= FEWEST:
                    estimate, truly, view = (side[some, place] for side in by_pair)
                    off = float(estimate.sum() - truly.sum())
                    yield measure.name, Sums(off, float(np.sqrt((view**2).sum())), float(view.sum()))


def main() -> None:
    """Simulate, add up, print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--seeds", type=int, default=30, help="beyond those of validation's towns")
    asked = arguments.parse_args()
    found: list[tuple[str, Sums]] = []
    for shape in TOWNS:
        found += bands(live(shape._replace(seed=shape.seed + asked.seeds), lambda _: None))
    for name in MEASURES:
        off, variances, errors = np.array([sums for of, sums in found if of == name]).T
        held = [100 * float((np.abs(off) <= Z_95 * se).mean()) for se in (variances, errors)]
        print(f"{name}: {len(off)} bands; held by variances {held[0]:.1f} %, by errors added up {held[1]:.1f} %")


if __name__ == "__main__":
    main()
