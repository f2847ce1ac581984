"""What time it is for certain: what all clocks that a worker can see have reached.

In: the worker's own clock, its monotonic one, what brokers stamped on what they appended for it, and the record times
that sources have committed. Out: the time that every one of these clocks has reached, and how far the worker's own is
from the broker's that differs most. Kept: the most that committed record times have shown of Kafka's time.

No clock that is ahead makes anything of this early as long as one other is right; one that is behind makes it late by
as much. A stamp is carried on by the monotonic clock, so that silence stops no time. Nothing can fail.
"""

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

# Of a broker that has acknowledged nothing for so long while others have, the clock counts no more: it may be gone.
RECENT_MS: Final = 600_000
# Clocks that are farther apart are told of: so far ahead of its own record no event may be (`core.gateway`).
APART_MS: Final = 60_000


class Stamp(NamedTuple):
    """What a broker's clock said (ms), and the worker's monotonic clock when it was heard (ms)."""

    kafka_ms: int
    heard_ms: int


class Clocks(NamedTuple):
    """The worker's own clock and monotonic clock, ms, and the last stamp of each broker."""

    own_ms: int
    monotonic_ms: int
    stamps: Collection[Stamp] = ()

    def brokers_ms(self) -> list[int]:
        """What each broker's clock says now."""
        newest = max((stamp.heard_ms for stamp in self.stamps), default=0)
        recent = [stamp for stamp in self.stamps if newest - stamp.heard_ms <= RECENT_MS]
        return [stamp.kafka_ms + self.monotonic_ms - stamp.heard_ms for stamp in recent]

    def apart_ms(self) -> int | None:
        """How far the own clock is ahead of the broker's that differs most, negative: behind. None: none was heard."""
        return max((self.own_ms - broker for broker in self.brokers_ms()), key=abs, default=None)


def said_apart(ahead_ms: int) -> str | None:
    """That this machine's clock is so far ahead of Kafka's, negative: behind. None: not so far that it is told."""
    if abs(ahead_ms) <= APART_MS:
        return None
    return f"this machine's clock is {abs(ahead_ms) / 1000:.0f} s {'ahead of' if ahead_ms > 0 else 'behind'} Kafka's"


class KafkaTime:
    """Kafka's time as far as it is known for certain."""

    def __init__(self) -> None:
        # What Kafka's time is ahead of the monotonic clock at least.
        self._ahead_ms: int | None = None

    def heard(self, record_times: Mapping[int, int], monotonic_ms: int) -> None:
        """Take record times (ms) that are in the log by now: Kafka's time is as late as the latest, at least."""
        if record_times:
            ahead_ms = max(record_times.values()) - monotonic_ms
            self._ahead_ms = ahead_ms if self._ahead_ms is None else max(ahead_ms, self._ahead_ms)

    def reached_ms(self, clocks: Clocks) -> int | None:
        """The time that all clocks have reached; None if nothing of Kafka's is known."""
        kafka = clocks.brokers_ms()
        if not kafka and self._ahead_ms is not None:
            kafka = [clocks.monotonic_ms + self._ahead_ms]
        return min([clocks.own_ms, *kafka]) if kafka else None
