"""The caps on ordinary days: they bind nobody, at no hour, or evenings would be told smaller than they are."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from schemas.measures import DEFAULT_MEASURES, Measure
from streams.simulate.town import make_town
from tests.support.towns import count_days

HOURS = 24
EVENTS = tuple(measure for measure in DEFAULT_MEASURES if measure.cap)
FREE = tuple(msgspec.structs.replace(measure, name=f"{measure.name}_free", cap=0) for measure in EVENTS)
# What 16 was before a stay had to be seen to last: trips were a quarter more.
BINDING = msgspec.structs.replace(EVENTS[1], name="trips_10", cap=10)


@pytest.fixture(scope="module")
def town() -> dict[str, NDArray[np.int64]]:
    """A weekday of 6,000 people from 04:00 to 04:00, with and without caps."""
    return count_days(make_town(3, 6000, 40), (*EVENTS, *FREE, BINDING), HOURS)


def lost_by_hour(town: dict[str, NDArray[np.int64]], name: str, free: str, measure: Measure) -> NDArray[np.float64]:
    """The share of counts that the cap took, by hour; of hours in which anything was to be counted."""
    capped, all_ = town[name].sum(axis=1), town[free].sum(axis=1)
    hours = np.arange(len(all_)) * measure.pane_ms // 3_600_000
    told, wanted = np.bincount(hours, capped), np.bincount(hours, all_)
    return 1 - told[wanted > 0] / wanted[wanted > 0]


@pytest.mark.parametrize("measure", EVENTS, ids=lambda measure: measure.name)
def test_no_hour_of_an_ordinary_day_loses_to_a_cap(town: dict[str, NDArray[np.int64]], measure: Measure) -> None:
    free = f"{measure.name}_free"
    assert town[free].sum() > 10_000
    lost = lost_by_hour(town, measure.name, free, measure)
    assert lost.max() < 0.02
    assert 1 - town[measure.name].sum() / town[free].sum() < 0.001


def test_a_cap_that_binds_at_night_would_be_seen(town: dict[str, NDArray[np.int64]]) -> None:
    lost = lost_by_hour(town, "trips_10", "trips_zone_free", BINDING)
    assert lost[:12].max() < 0.02 < 0.1 < lost.max()


@pytest.mark.parametrize("measure", DEFAULT_MEASURES, ids=lambda measure: measure.name)
def test_who_is_there_is_counted_without_a_counter(measure: Measure) -> None:
    """Presence has no cap to use up: an instant has each in one place."""
    assert (measure.cap == 0) == measure.of_presence
