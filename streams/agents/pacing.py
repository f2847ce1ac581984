"""What keeps the sources of all gateways together: beats for silent ones, and a halt for those that are ahead.

A source that says nothing holds the watermark of everybody. Where the broker stamps records the gateway that owns a
silent partition (raw, or of the registry) appends a *beat* to it, and the log itself then says how late it is;
elsewhere the producer must send beats.

A source that is read far ahead of another fills the crowd's reorder buffers with what nobody can handle yet. Every
second each gateway reads the group's commits, in which the running maximum of each source's record times stands,
and holds those of its own that are too far ahead of the slowest; while it does, it looks again and again at what it
has read itself. While there is a source that nobody has committed yet, nobody knows where it is: until then a gateway
goes no further from where it began than it may be ahead.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping

import orjson
from aiokafka import AIOKafkaProducer

from streams.agents.transport import Committed
from streams.metrics import GatewayMetrics

ALIGN_EVERY_S = 1.0
# While some are held: what this gateway has read itself it knows at once, and one second of a halt is many of a replay.
HELD_EVERY_S = 0.05


def too_far_ahead(marks: Mapping[int, int], own: Collection[int], most_ms: int) -> set[int]:
    """Of `own` sources those whose record time is more than `most_ms` ahead of the slowest of all in `marks`."""
    slowest = min(marks.values(), default=0)
    return {source for source in own if source in marks and marks[source] - slowest > most_ms}


class Begun:
    """Where this gateway's sources began while others are unheard of: stands in for those in `marks`."""

    def __init__(self) -> None:
        self._at: dict[int, int] = {}

    def with_unheard(
        self, marks: Mapping[int, int], own: Mapping[int, int], sources: Collection[int]
    ) -> Mapping[int, int]:
        """`marks`, and for sources that aren't in it the earliest record time at which one of `own` was first seen."""
        unheard = set(sources) - marks.keys()
        if not unheard:
            self._at.clear()
            return marks
        for source, at in own.items():
            self._at.setdefault(source, at)
        return {**marks, **dict.fromkeys(unheard, min(self._at.values()))} if self._at else marks


async def keep_beating(
    producer: AIOKafkaProducer,
    topic: str,
    silent_since: Callable[[], Mapping[int, float]],
    every_s: float,
    key: bytes | None = None,
) -> None:
    """Append a beat to each owned partition that has been silent for `every_s`, for ever.

    Args:
        silent_since: for each owned partition the monotonic time of its last record, s.
        key: of the beats; on a compacted topic the last one stays.
    """
    while True:
        now = time.monotonic()
        known = await producer.partitions_for(topic)  # one added lately may not be: it gets its beat a little later
        for source, since in list(silent_since().items()):  # which a rebalance may change meanwhile
            if source in known and now - since >= every_s:
                beat = {"kind": "beat", "source": f"gateway-{source}", "ts": time.time_ns() // 1_000_000}
                await producer.send_and_wait(topic, orjson.dumps(beat), key=key, partition=source)
        await asyncio.sleep(every_s)


class Alignment:
    """Holds the owned sources that are too far ahead.

    Args:
        own: the running maximum of record times of each owned source, ms, as read so far. sources: all there are.
    """

    def __init__(
        self,
        read_commits: Callable[[], Awaitable[Mapping[int, Committed]]],
        own: Callable[[], Mapping[int, int]],
        sources: Callable[[], Collection[int]],
        hold: Callable[[Collection[int]], None],
        most_ms: int,
        metrics: GatewayMetrics,
    ) -> None:
        self._read_commits = read_commits
        self._own = own
        self._sources = sources
        self._hold = hold
        self._most_ms = most_ms
        self._metrics = metrics
        self._begun = Begun()
        self._held: set[int] = set()
        self._committed: dict[int, int] = {}
        self._read_at = -math.inf

    async def look(self) -> None:
        """Hold whom the group's commits show to be too far ahead. To be called before a source is read, too: else each
        rebalance, and a gateway that ends again and again makes many, would let it go on for a while."""
        if not self._own():
            self._held = set()
            return
        self._committed = {source: mark.record_time_ms() for source, mark in (await self._read_commits()).items()}
        self._read_at = asyncio.get_running_loop().time()
        self._compare()

    async def keep_looking(self) -> None:
        """Look every second, and while some are held again and again at what this gateway has read, for ever."""
        while True:
            await asyncio.sleep(min(HELD_EVERY_S, ALIGN_EVERY_S) if self._held else ALIGN_EVERY_S)
            if not self._own() or asyncio.get_running_loop().time() - self._read_at >= ALIGN_EVERY_S:
                await self.look()
            else:
                self._compare()

    def _compare(self) -> None:
        reached = self._own()  # may have become empty while commits were read
        marks = self._begun.with_unheard(self._committed | dict(reached), reached, self._sources())
        self._held = too_far_ahead(marks, reached.keys(), self._most_ms)
        self._hold(self._held)
        self._metrics.paused.set(len(self._held))
