"""The models that the filter (`estimate.py`) follows a measure's keys by, and what was tuned of them.

In: a measure. Out: its models. All else is values.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.measures import Measure
from schemas.topics import HOUR_MS


class Model(NamedTuple):
    """How a level moves in a pane.

    Attributes:
        share: of keys that do not go on as they did, that go on by this.
        tide, flow, floor: the step's variance is (tide x level)^2 + flow x level + floor.
        keeps: share of its trend that a key keeps; 0: it has none.
        turn, turn_floor: the trend's own change has the variance (turn x level)^2 + turn_floor.
    """

    share: float
    tide: float
    flow: float
    floor: float
    keeps: float = 0.0
    turn: float = 0.0
    turn_floor: float = 0.0


class AsYesterday(NamedTuple):
    """How a level moves in a pane if it moves as it did yesterday, grown or shrunk as the level is.

    Attributes:
        share: of keys that do not go on as they did, that go on by this.
        keeps: share that it keeps, a pane, of how far it is from yesterday's level; 1: it knows yesterday's changes
            alone.
        apart: what it keeps not comes anew, by a variance of (apart x level)^2 and of what is known of yesterday's.
        flow, floor: the step's variance is flow x level + floor, as of `Model`.
    """

    share: float
    keeps: float
    apart: float
    flow: float
    floor: float


class Again(NamedTuple):
    """Models of keys of which yesterday is known, beside those of keys of which it isn't.

    Attributes:
        stays: as of `Models`, instead of it.
        at_first: the chance that a key's first pane is as yesterday.
    """

    models: tuple[AsYesterday, ...]
    stays: float
    at_first: float


class Models(NamedTuple):
    """Models of one measure.

    Attributes:
        stays: the chance that a key goes on as it did from one pane to the next; else its model is drawn by the
            models' shares, its own among them.
        again: of a measure of which yesterday is known.
    """

    models: tuple[Model, ...]
    stays: float
    again: Again | None = None

    @property
    def shares(self) -> NDArray[np.float64]:
        """f64[models], together 1."""
        shares: NDArray[np.float64] = np.array([model.share for model in self.models])
        together: float = shares.sum()
        return shares / together


# Tuned on simulated towns (of whole towns' interval scores and of coverage by size; Gneiting and Raftery 2007, section
# 6.2), for places of any size from a zone to a district. What a large one does is a steady trend for most of the time,
# so of people present one model has that alone, and one each knows what hardly moves, what fills up, and a break.
#
# Of events a key that stays at 50 looks like one that jumps up by hundreds until it does. Were each pane's step wide
# enough for that, intervals would be too wide at 50. So steps are narrow, by the level, and to break is rare; but what
# breaks may then be anywhere: a model with wide steps that most of those who change come over to.
# Of yesterday's models: much is believed of it, and left at once, so that a day that is another comes out no worse. Of
# hourly trips the second is what breaks from yesterday's level: changes by themselves tell nothing more of them.
# benchmarks/accuracy.py, areas.py, rollup.py and yesterday.py say what all of these give, on other towns than those.
PRESENT: Final = Models(
    (
        Model(0.2, 0.0062, 0.052, 0.117),
        Model(0.625, 0.0, 0.0, 0.012, 0.949, 0.0043, 0.062),
        Model(0.16, 0.00055, 0.022, 0.0, 0.982, 0.0005, 90.0),
        Model(0.0153, 0.34, 0.26, 0.32, 0.515, 0.09, 0.036),
    ),
    0.9944,
    Again(
        (
            AsYesterday(0.2, 0.985, 0.22, 0.015, 0.2),
            AsYesterday(0.2, 1.0, 0.0, 0.02, 0.1),
        ),
        0.991,
        0.7,
    ),
)
ARRIVALS: Final = Models(
    (
        Model(0.984, 0.16, 0.661, 1.05),
        Model(0.0095, 0.0232, 122, 114),
        Model(0.0036, 0.202, 13.8, 4_190),
        Model(0.0032, 0.42, 1.22, 80_600),
    ),
    0.975,
    Again(
        (
            AsYesterday(0.45, 0.806, 0.326, 0.0615, 0.463),
            AsYesterday(0.0124, 1.0, 0.0, 0.0326, 0.539),
        ),
        0.9965,
        0.546,
    ),
)
TRIPS: Final = Models(
    (
        Model(0.896, 0.122, 0.817, 30.0),
        Model(0.0652, 0.0248, 6.65, 780),
        Model(0.0364, 0.07, 117, 994),
        Model(0.0022, 0.971, 6.34, 15_700),
    ),
    0.979,
    Again(
        (
            AsYesterday(0.282, 0.845, 0.19, 0.825, 0.624),
            AsYesterday(0.0775, 1.0, 0.0, 5.41, 197.0),
        ),
        0.9993,
        0.546,
    ),
)
HOURLY: Final = Models(
    (
        Model(0.0069, 0.0231, 1.36, 0.0249),
        Model(0.309, 0.338, 1.5, 201),
        Model(0.306, 0.267, 69.8, 667),
        Model(0.378, 1.13, 0.662, 765_000),
    ),
    0.875,
    Again(
        (
            AsYesterday(0.339, 0.536, 0.211, 0.00114, 0.408),
            AsYesterday(0.085, 1.0, 0.0, 588.0, 2960.0),
        ),
        0.9935,
        0.548,
    ),
)
DWELL: Final = Models(
    (
        Model(0.0093, 16.1, 4.55, 0.0659),
        Model(0.0202, 0.042, 19.7, 6.4),
        Model(0.0002, 0.197, 3.1, 22_400),
        Model(0.97, 0.892, 9.78, 1_200_000),
    ),
    0.937,
    Again(
        (
            AsYesterday(0.45, 0.485, 0.182, 0.00224, 0.186),
            AsYesterday(0.0073, 1.0, 0.0, 0.00103, 0.904),
        ),
        0.9845,
        0.481,
    ),
)
VISITS: Final = Models(
    (
        Model(0.0354, 3.63, 4.44, 0.246),
        Model(0.248, 0.166, 15.2, 226),
        Model(0.0015, 0.655, 1.61, 5_100),
        Model(0.715, 1.5, 2.7, 1_200_000),
    ),
    0.947,
    Again(
        (
            AsYesterday(0.129, 0.562, 0.212, 0.0107, 0.0125),
            AsYesterday(0.005, 1.0, 0.0, 0.376, 6.41),
        ),
        0.9869,
        0.955,
    ),
)
COHORTS: Final = Models(
    (
        Model(0.962, 0.0065, 1.84, 0.254),
        Model(0.026, 0.185, 1.82, 1_220),
        Model(0.0125, 1.33, 8.41, 129_000),
    ),
    0.909,
    Again(
        (
            AsYesterday(0.45, 0.657, 0.241, 0.0542, 0.598),
            AsYesterday(0.163, 1.0, 0.0, 0.0322, 0.495),
        ),
        0.923,
        0.547,
    ),
)


def models_of(measure: Measure) -> Models:
    """What follows a measure's keys."""
    if measure.statistic == "present":
        return PRESENT
    if measure.statistic == "present_cohort":
        return COHORTS
    if measure.statistic in ("dwell", "visits"):
        return DWELL if measure.statistic == "dwell" else VISITS
    if measure.pane_ms >= HOUR_MS:
        return HOURLY
    return ARRIVALS if measure.statistic == "arrivals" else TRIPS
