"""Measures are data: what is counted, by which keys, how often, with which cap and which share of the budget.

Keys of a count vector are u32: the zone (present, arrivals), `zone * n + part` where a zone's count is in n parts
(present_cohort by cohort, dwell by length, visits by number, travel_times of trips that ended there by length; home and
work by parent, and last where it isn't known), or `origin * N + destination` (trips; passes, from the place passed to
the next) with N zones or parents. travel_times_by_pair has both: `(origin * N + destination) * n + part`.
"""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from schemas.cohorts import COHORTS
from schemas.lengths import BUCKETS, TRAVEL_TIMES, VISITS

MINUTE_MS: Final = 60_000
# More pairs than this, of places or of place and area, are not noised one by one: see `Measure.keys_from_data`.
MOST_PAIRS: Final = 100_000
# What the crowd has room for: a flag of a presence for each measure of arrivals, two bytes for a count against a cap.
MOST_ARRIVALS: Final = 3
HIGHEST_CAP: Final = 0xFFFF

Statistic = Literal[
    "present",
    "present_cohort",
    "arrivals",
    "trips",
    "dwell",
    "visits",
    "travel_times",
    "travel_times_by_pair",
    "passes",
    "home",
    "work",
]
Level = Literal["zone", "parent"]
# Into how many parts the count of a place, or of a pair, is split. Those of `AREAS` depend on the plan.
PARTS: Final[Mapping[Statistic, int]] = {
    "present_cohort": COHORTS,
    "dwell": len(BUCKETS),
    "visits": len(VISITS),
    "travel_times": len(TRAVEL_TIMES),
    "travel_times_by_pair": len(TRAVEL_TIMES),
}
# Counted by pairs of places.
PAIRED: Final[tuple[Statistic, ...]] = ("trips", "passes", "travel_times_by_pair")
# Counted by where visitors live or work, in parents.
AREAS: Final[tuple[Statistic, ...]] = ("home", "work")


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One released statistic.

    Attributes:
        pane_ms: length of its panes, a multiple of the epoch's base pane.
        cap: most counts that one subscriber adds in an epoch; 0: once a pane, by nature of the statistic.
        share: of the epoch's rho.
        gap_ms: arrivals only: how long one must have been away.
    """

    name: str
    statistic: Statistic
    level: Level
    pane_ms: int
    cap: int
    share: float
    gap_ms: int = 0

    @property
    def of_presence(self) -> bool:
        """Does it tell who is there at an instant, whatever happened before?"""
        return self.statistic in ("present", "present_cohort")

    def keys(self, zones: int, parents: int) -> int:
        """How many public keys the count vector has."""
        places = zones if self.level == "zone" else parents
        return (places**2 if self.statistic in PAIRED else places) * self.parts(parents)

    def parts(self, parents: int) -> int:
        """Into how many parts the count of a place, or pair, is split; an unknown area is one, the last."""
        return parents + 1 if self.statistic in AREAS else PARTS.get(self.statistic, 1)

    def keys_from_data(self, zones: int, parents: int) -> bool:
        """Are its keys too many to draw noise for? Then those that occur get it, and are told above a threshold."""
        return self.statistic in (*PAIRED, *AREAS) and self.keys(zones, parents) > MOST_PAIRS


DEFAULT_MEASURES: Final = (
    Measure("present", "present", "zone", 5 * MINUTE_MS, 0, 0.40),
    Measure("arrivals", "arrivals", "zone", 15 * MINUTE_MS, 72, 0.075, 15 * MINUTE_MS),
    Measure("trips_zone", "trips", "zone", 60 * MINUTE_MS, 24, 0.1375),
    Measure("trips_parent", "trips", "parent", 15 * MINUTE_MS, 24, 0.1375),
    Measure("present_cohort", "present_cohort", "zone", 60 * MINUTE_MS, 0, 0.13),
    Measure("dwell", "dwell", "zone", 60 * MINUTE_MS, 80, 0.075),
    Measure("visits", "visits", "zone", 60 * MINUTE_MS, 24, 0.045),
)
