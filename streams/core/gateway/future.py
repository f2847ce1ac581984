"""Record times that no other clock has come to: a broker's was days ahead for a moment.

In: a record's time, the own clock, and how far other sources are by theirs. Out: whether it is ahead of all, and
what to tell of it. No clock alone decides: without another source there is no saying whose is wrong.
"""

from collections.abc import Collection
from typing import Final

from streams.core.times import rfc3339
from streams.errors import ThrongError

# A source that is ahead by less is left out for as long, and no longer: its events are late until time has caught up.
MOST_AHEAD_MS: Final = 86_400_000


def alone_ahead(time_ms: int, own_ms: int, others_ms: Collection[int], most_ms: int) -> bool:
    """Is a time by more ahead of the own clock and of all others, of which there must be one?"""
    return bool(others_ms) and time_ms > max(own_ms, *others_ms) + most_ms


def future(record: str, time_ms: int) -> ThrongError:
    """What to tell of such a record. `record`: where it is."""
    return ThrongError(
        "future",
        f"{record}: the record is of {rfc3339(time_ms)}, by the clock of its broker, and neither this machine nor "
        "another partition is that far; see docs/how-to/outages.md#a-clock-that-ran-ahead",
    )
