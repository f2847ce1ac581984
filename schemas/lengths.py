"""How long presences lasted, how often people came and how long they travelled: the parts that these are counted in."""

from typing import Final, NamedTuple

MINUTE_MS: Final = 60_000


class Bucket(NamedTuple):
    """Lengths of `from_min` to less than `to_min` minutes; None: any."""

    name: str
    from_min: int
    to_min: int | None


# The 11th to the 20th minute is 10 to less than 20 minutes. The last is of presences that the epoch cut: they are at
# least so long as was seen, and nobody knows how much longer.
BUCKETS: Final = (
    Bucket("under_5", 0, 5),
    Bucket("5_10", 5, 10),
    Bucket("11_20", 10, 20),
    Bucket("21_60", 20, 60),
    Bucket("61_120", 60, 120),
    Bucket("121_240", 120, 240),
    Bucket("over_240", 240, None),
    Bucket("cut", 0, None),
)
LIMITS_MS: Final = tuple(bucket.from_min * MINUTE_MS for bucket in BUCKETS[1:-1])
CUT: Final = len(BUCKETS) - 1
LONGEST: Final = CUT - 1

VISITS: Final = ("first", "second", "third_or_more")

# On the way from stay to stay. Each limit is one of the American Community Survey's for the way to work (US Census
# Bureau, table B08303), whose classes so add up to these. The last is of trips on which the phone was off or silent.
TRAVEL_TIMES: Final = (
    Bucket("under_10", 0, 10),
    Bucket("10_20", 10, 20),
    Bucket("20_40", 20, 40),
    Bucket("40_60", 40, 60),
    Bucket("over_60", 60, None),
    Bucket("unknown", 0, None),
)
TRAVEL_LIMITS_MIN: Final = tuple(band.from_min for band in TRAVEL_TIMES[1:-1])
UNKNOWN: Final = len(TRAVEL_TIMES) - 1
