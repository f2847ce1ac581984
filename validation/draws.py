"""Several draws of noise: what would be released of the same days, had their noise fallen otherwise.

What is counted and what is so stays the same; noise is drawn anew for each draw, by threads while the one before it is
judged (OpenDP releases the interpreter), and the filter looks at each by itself.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from schemas.measures import Measure
from validation import released
from validation.judge import weights_of_day
from validation.released import Estimates, Noise
from validation.towns import Day

DRAWS: Final = {"quick": 1, "full": 5}

Noisy = dict[str, NDArray[np.int64]]  # by measure, i64[panes, keys]


def several(wanted: Sequence[tuple[Day, Sequence[Measure]]], noise: Noise, times: int) -> Iterator[list[Noisy]]:
    """So many draws of the days' measures, those of a draw in the order of the days."""
    with ThreadPoolExecutor(os.cpu_count()) as threads:

        def begin() -> list[dict[str, Future[NDArray[np.int64]]]]:
            return [
                {
                    each.name: threads.submit(released.noisy, day.counts[each.name], each, day.epoch, noise)
                    for each in measures
                }
                for day, measures in wanted
            ]

        ahead = begin()
        for left in reversed(range(times)):
            drawn, ahead = ahead, begin() if left else []
            yield [{name: each.result() for name, each in of_day.items()} for of_day in drawn]


def counted_measures(day: Day) -> list[Measure]:
    """All that the day has counts of."""
    return [measure for measure in day.epoch.measures if measure.name in day.counts]


def estimates(day: Day, noisy: Noisy) -> dict[str, Estimates]:
    """What is released of a draw, by measure, with the weights of the day's plan."""
    weights = weights_of_day(day)
    return {
        measure.name: released.estimated(noisy[measure.name], measure, day.epoch, weights)
        for measure in day.epoch.measures
        if measure.name in noisy
    }
