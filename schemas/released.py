"""The released topics `footfall`, `flows`, `dwell`, `visits`, `areas`: what consumers read. Times are RFC 3339 in UTC.

Every number here is noisy: `noisy` is the count plus noise, as drawn (of footfall and departures: of the arrivals in
them, with the estimates of people present); `estimate` is what a filter makes of it and the panes before, with its
standard error `se` and a 95 % interval from `low` to `high`: of those counted. Where it is `weighted`, those whom a
neighbour's cells count were given back to the place first, by the plan's shares: `noisy` and it are then of different
things, and the estimate is nearer to those there. Where it is `calibrated`, counts on site, there or (of dwell) in
other places, have shown how many people are there to each one counted (`throng calibrate`), and the estimate, with its
errors, was multiplied by that; of a place's sums, by what any of its parts was. How far these are from those truly
there is `view_se`, a standard error of the network's view, where it is known: `se` and it are independent, so that an
interval of those there is the estimate and 1.96 sqrt(se^2 + view_se^2) to each side. What is not surely at least `k`
people is not told: `suppressed` is true, there is no number, and `speaks_through` names the district that includes it,
if that is told. Where state was lost, a pane that can't be counted whole is not told at all: its records are suppressed
with `state_lost` (present by cohort one a zone, flows a summary alone), as is a window's footfall if who was present at
its start was not told. What the rules forbid to tell has no record at all.
"""

from typing import Final, Literal

import msgspec

FOOTFALL_SCHEMA: Final = "footfall/1"
FLOWS_SCHEMA: Final = "flows/1"
DWELL_SCHEMA: Final = "dwell/1"
VISITS_SCHEMA: Final = "visits/1"
AREAS_SCHEMA: Final = "areas/1"


class Released(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every released record says of itself.

    Attributes:
        start, end: of the pane. window_s: its length.
        epsilon: of a subscriber's whole day over all measures. rho: this measure's part, as zCDP.
        covered: share of the network's raw partitions of which nothing was lost in the time that the count is from, the
            mean over those who count: the pane, of people present the 65 minutes before its end. 1: all of it is there.
            What is made of several panes (footfall, departures) has the smallest of theirs.
        complete: false until everyone has been heard once since pseudonyms changed.
        plan, policy: version of the zone plan, and the countries that are counted.
        purpose: what the number may be used for; those counted allow it for this alone.
        state_lost: nothing can be told of this pane, whatever the numbers are, because state was lost.
    """

    start: str
    end: str
    window_s: int
    epsilon: float
    rho: float
    k: int
    covered: float
    complete: bool
    plan: str
    policy: str
    purpose: str = ""
    state_lost: bool = False


class Footfall(Released, frozen=True, kw_only=True, omit_defaults=True):
    """People in a place.

    Attributes:
        measure: present (at the pane's end), arrivals (in the pane), footfall (distinct people at any time in the
            window: present at its start and arrivals in it), departures (in the pane: present at its start and arrivals
            in it, less present at its end), present_cohort (present, by age band and gender).
        level: zone, or parent (a district).
    """

    schema: Literal["footfall/1"]
    measure: str
    level: Literal["zone", "parent"]
    zone: str
    suppressed: bool
    noisy: int | None = None
    estimate: float | None = None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    view_se: float | None = None
    weighted: bool = False
    calibrated: bool = False
    age_band: str | None = None
    gender: str | None = None
    speaks_through: str | None = None


class Flow(Released, frozen=True, kw_only=True, omit_defaults=True):
    """People who went from one place to another.

    Attributes:
        measure: of trips: from stay to stay; what of them became known within the pane. Of passes: from a place where
            somebody was for less than a stay (origin) to the one where they were next.
        band, from_min, to_min: of trips by pair and time: how long they took, as in `TravelTimes`. None: any time.
    """

    schema: Literal["flows/1"]
    measure: str
    level: Literal["zone", "parent"]
    origin: str
    destination: str
    noisy: int
    estimate: float
    se: float
    low: float
    high: float
    view_se: float | None = None
    weighted: bool = False
    calibrated: bool = False
    band: str | None = None
    from_min: int | None = None
    to_min: int | None = None


class FlowSummary(Released, frozen=True, kw_only=True, omit_defaults=True):
    """How many pairs (of a measure by pair and time: pairs and bands) of a pane were told, how many were too small."""

    schema: Literal["flows/1"]
    measure: str
    level: Literal["zone", "parent"]
    published_pairs: int
    suppressed_pairs: int


class Parted(Released, frozen=True, kw_only=True, omit_defaults=True):
    """A place's count of a pane in parts: one record of all of it, and one for each part that can be told.

    Attributes:
        level: zone, or parent (a district: the sum of its zones, each person in each zone for themselves).
        suppressed: of the record of all parts alone.
    """

    measure: str
    level: Literal["zone", "parent"]
    zone: str
    suppressed: bool
    noisy: int | None = None
    estimate: float | None = None
    se: float | None = None
    low: float | None = None
    high: float | None = None
    view_se: float | None = None
    weighted: bool = False
    calibrated: bool = False
    speaks_through: str | None = None


class TravelTimes(Parted, frozen=True, kw_only=True, omit_defaults=True):
    """Trips that ended in the place, by the time from leaving the zone of the last stay to reaching that of this one.

    Attributes:
        band: under_10, 10_20, 20_40, 40_60, over_60 (minutes), or unknown: the phone was off or silent on the way.
            None: all.
        from_min, to_min: minutes in it, from the first to less than the second; no end: any longer.
    """

    schema: Literal["flows/1"]
    band: str | None = None
    from_min: int | None = None
    to_min: int | None = None


class Dwell(Parted, frozen=True, kw_only=True, omit_defaults=True):
    """Presences that were completed within the pane, by their length.

    Attributes:
        bucket: under_5, 5_10, 11_20, 21_60, 61_120, 121_240, over_240 (minutes), or cut: the epoch's start or end cut
            the presence while less than 240 minutes of it were seen, so that its length is not known. None: all.
        from_min, to_min: lengths in it, from the first to less than the second; no end: any longer.
        stays, passes: of all that were not cut, those at least as long as a stay, and the shorter ones; with their
            standard errors.
        median_min: of the stays; half of them are shorter. median_low, median_high: its 95 % interval; without an end
            if it may be anything over 240.
    """

    schema: Literal["dwell/1"]
    bucket: str | None = None
    from_min: int | None = None
    to_min: int | None = None
    stays: float | None = None
    stays_se: float | None = None
    passes: float | None = None
    passes_se: float | None = None
    median_min: float | None = None
    median_low: float | None = None
    median_high: float | None = None


class Visits(Parted, frozen=True, kw_only=True, omit_defaults=True):
    """Visits of which the pane came to know, by whether the person had been there in the epoch.

    Attributes:
        visit: first, second, or third_or_more. None: all.
    """

    schema: Literal["visits/1"]
    visit: str | None = None


class Areas(Parted, frozen=True, kw_only=True, omit_defaults=True):
    """People who came for a stay for the first time of the day, by the district where they live or work.

    Attributes:
        kind: home, or work.
        area: a district. None: all of them together, or, where `unknown` is true, those of whom it isn't known.
    """

    schema: Literal["areas/1"]
    kind: Literal["home", "work"]
    area: str | None = None
    unknown: bool = False


class AreasSummary(Released, frozen=True, kw_only=True, omit_defaults=True):
    """How many pairs of place and area were told, where there are too many to draw noise for each; no place as a whole
    is told then."""

    schema: Literal["areas/1"]
    measure: str
    level: Literal["zone", "parent"]
    kind: Literal["home", "work"]
    published_pairs: int
    suppressed_pairs: int
