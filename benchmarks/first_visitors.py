"""Where the error of first visitors by home comes from, of about 500 people: town by town, step by step.

    python -m benchmarks.first_visitors

Takes the hours, zones and districts of which truly 350 to 700 first visitors came (what the validation takes for 500),
in its own towns, before noise. From those who live in the district to those whose longest stay in the hours that tell
of it was there; from these to those whom the network counts. Beside it all true stays in these zones and hours that
began a visit, and those that are counted.
"""

import numpy as np
from numpy.typing import NDArray

from schemas.measures import Measure
from streams.progress import Progress
from validation.happened import areas, presences, stays, visits
from validation.towns import TOWNS, Day, live

NAMES = ("counts", "zones", "live there", "stayed there longest", "counted", "visits", "visits counted")


def steps(day: Day) -> NDArray[np.int64]:
    """What NAMES say, of a town's day."""
    epoch, (home, visited) = day.epoch, (_measure(day, statistic) for statistic in ("home", "visits"))
    shape = -1, epoch.zones, epoch.parents + 1
    stayed = stays(presences(day.stretches, day.excluded, epoch), epoch)
    lived = areas(stayed, epoch, home, day.parents, day.lives[:, 0]).reshape(shape)
    longest = areas(stayed, epoch, home, day.parents).reshape(shape)
    chosen = (lived > 350) & (lived < 700)
    there = chosen.any(axis=2)
    came, counted = (
        counts.reshape(-1, epoch.zones, 3).sum(axis=2)
        for counts in (visits(stayed, epoch, visited), day.counts[visited.name])
    )
    told = day.counts[home.name].reshape(shape)
    sums = [each[chosen].sum() for each in (lived, longest, told)] + [each[there].sum() for each in (came, counted)]
    return np.array([chosen.sum(), there.any(axis=0).sum(), *sums])


def _measure(day: Day, statistic: str) -> Measure:
    return next(measure for measure in day.epoch.measures if measure.statistic == statistic)


def main() -> None:
    """Print a line for each town, and one for all."""
    told = Progress()
    found = []
    for shape in TOWNS:
        found.append(steps(live(shape, told)))
        print(shape.name, _line(found[-1]), sep=": ", flush=True)
    print("all", _line(sum(found[1:], found[0])), sep=": ")


def _line(numbers: NDArray[np.int64]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in zip(NAMES, numbers.tolist(), strict=True))


if __name__ == "__main__":
    main()
