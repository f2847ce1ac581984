"""What follows from earlier releases: how a place compares with its usual self, and where it is likely to go.

Made of released records alone, so it tells nothing that they did not.
"""

from typing import Final, Literal

import msgspec

OUTLOOK_SCHEMA: Final = "outlook/1"

Congestion = Literal["much_quieter", "quieter", "usual", "busier", "much_busier"]


class Ahead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A forecast of people present.

    Attributes:
        at: for when. minutes: ahead.
        se: what forecasts so far ahead were off by lately at that hour (root mean square), from what was released then.
        low, high: 95 % of it.
        scored: how many earlier ones so far ahead have been scored, of late (older ones count less, so it is no whole
            number). mean_error: their mean absolute error; covered: the share within `low` and `high`;
            mean_error_of_now: what saying "as many as now" was off by.
    """

    at: str
    minutes: int
    estimate: float
    se: float
    low: float
    high: float
    scored: float
    mean_error: float | None = None
    covered: float | None = None
    mean_error_of_now: float | None = None


class Outlook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A place at the end of a quarter of an hour, that was told then and in an earlier week.

    Attributes:
        end, level, zone, estimate, se, plan, purpose: as in the record of people present.
        usual: people present at this weekday and time in earlier weeks, the last ones counting most.
        usual_se: what the place was off from its usual self lately at this hour (root mean square), noise included.
        weeks: how many weeks that is from, older ones counting less.
        ratio: of now to usual. deviation: of now from usual, in `usual_se`.
        congestion: much_busier (at least twice the usual), busier (at least 5/4), quieter (at most 4/5), much_quieter
            (at most half), each only if the deviation is at least 2; else usual.
    """

    schema: Literal["outlook/1"]
    end: str
    level: Literal["zone", "parent"]
    zone: str
    estimate: float
    se: float
    usual: float
    usual_se: float
    weeks: float
    ratio: float
    deviation: float
    congestion: Congestion
    forecasts: tuple[Ahead, ...]
    plan: str
    purpose: str = ""
