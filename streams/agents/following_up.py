"""What follows from releases, published behind them: no release waits for that, nor shares its time with it.

In: records as they are published. Out: the topic `outlook`, and in the metrics how good forecasts were and how far
behind they are. Kept: the records of which nothing was told yet. What follows is worked out by `core.following`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from schemas.ledger import LedgerRecord
from streams.core.derived.following import AT_HAND, Following
from streams.core.derived.usual import MINUTES_AHEAD, UNKNOWN, Skill
from streams.metrics import ReleaseMetrics
from streams.stores.released import Publisher

# A thread can't be cancelled: with 10,000 places this is a second of it.
FOLLOWED_AT_ONCE: Final = 50


class FollowingUp:
    """Of one worker. `withheld`: do the rules forbid to tell a record by now? `at_rest` is set while no pane is
    released.

    Attributes:
        waiting: published, and what follows from it isn't yet; None as in `follow`.
    """

    def __init__(
        self,
        following: Following | None,
        learn: Callable[[], Awaitable[None]] | None,
        publisher: Publisher,
        metrics: ReleaseMetrics,
        withheld: Callable[[LedgerRecord], bool],
        at_rest: asyncio.Event,
    ) -> None:
        self._following = following
        self._learn = learn
        self._publisher = publisher
        self._metrics = metrics
        self._withheld = withheld
        self._at_rest = at_rest
        self.waiting = asyncio.Queue[LedgerRecord | None]()
        self._tell_skill(UNKNOWN)

    def begin(self) -> None:
        """A worker has begun: what followed from the last records is to be published once more."""
        if self._following is not None:
            self.waiting.put_nowait(None)

    def take(self, record: LedgerRecord) -> None:
        """A record was just published."""
        if self._following is not None:
            self._tell_behind(self._following)
            self.waiting.put_nowait(record)

    async def keep_following(self) -> None:
        """Publish what follows from what was published, for ever."""
        while True:
            record = await self.waiting.get()
            await self._at_rest.wait()
            if self._learn is not None:
                await self._learn()
                self._learn = None
            await self.follow(record)

    async def follow(self, record: LedgerRecord | None) -> None:
        """Publish what follows from a record. None, of a start: what followed from the last ones, once more."""
        assert self._following is not None
        waiting = self._following.waiting(record)
        for first in range(0, len(waiting), FOLLOWED_AT_ONCE):
            part = waiting[first : first + FOLLOWED_AT_ONCE]
            await asyncio.to_thread(self._following.work_out, part, waiting[-AT_HAND:])
        for each in [record] if record else self._following.recent():
            if not self._withheld(each):
                outlooks = await asyncio.to_thread(self._following.of, each)
                self._metrics.sent(await self._publisher.send(outlooks, each.end_ms))
                self._tell_skill(self._following.skill(each))
        self._tell_behind(self._following)

    def _tell_behind(self, following: Following) -> None:
        self._metrics.outlook_behind.set(following.behind_ms() / 1000)

    def _tell_skill(self, skill: Skill | None) -> None:
        if skill is None:
            return
        for minutes, error, covered in zip(MINUTES_AHEAD, skill.error, skill.covered, strict=True):
            self._metrics.outlook_error.labels(str(minutes)).set(error)
            self._metrics.outlook_covered.labels(str(minutes)).set(covered)
