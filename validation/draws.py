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
from streams.core.estimates.yesterday import Drawn, Profile
from streams.core.release import release
from streams.core.release.budget import sigma
from streams.core.release.render import Page
from streams.settings import Settings
from validation import released
from validation.judge import excluded_kinds, weights_of_day
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


def estimates(day: Day, noisy: Noisy, yesterday: Noisy | None = None) -> dict[str, Estimates]:
    """What is released of a draw, by measure, with the weights of the day's plan; of a first day without `yesterday`,
    what was drawn of the town the day before."""
    weights, known = weights_of_day(day), {} if yesterday is None else profiles_of(day, yesterday)
    return {
        measure.name: released.estimated(noisy[measure.name], measure, day.epoch, weights, known.get(measure.name))
        for measure in day.epoch.measures
        if measure.name in noisy
    }


def profiles_of(day: Day, yesterday: Noisy) -> dict[str, Profile]:
    """What the release makes of the day before, by measure."""
    page, found = Page(day.plan, Settings().release.confidence, excluded=excluded_kinds(day)), {}
    for measure in day.epoch.measures:
        if measure.name not in yesterday or measure.keys_from_data(day.epoch.zones, day.epoch.parents):
            continue
        every = measure.pane_ms // day.epoch.pane_ms
        panes = {number * every: pane for number, pane in enumerate(yesterday[measure.name].astype(np.int32), 1)}
        *_, last = release.profiles(Drawn(panes, sigma(measure, day.epoch)), day.epoch, measure, page)
        assert last is not None
        found[measure.name] = last.keys
    return found
