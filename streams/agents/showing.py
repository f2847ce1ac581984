"""What Redis shows of what is released: of each measure the newest pane, and the places. Topics never wait for it.

In: records as they are published, and the epoch that they are of. Out: Redis, through the publisher, behind all that
there is to release: with 10,000 zones an hour's end is 60,000 keys there, and of many panes only the last need be
shown. Kept: by measure the newest record, and whether Redis lacks it; which plan's places it has, and since when. What
has an end there is written again long before it.

What can fail: Redis away (what is owed is tried again, once a second; readiness says so), emptied, or a replica in its
place that lags: before a pane is shown the places are looked for, and where they are gone all is shown again.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from redis.exceptions import NoPermissionError

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from streams.agents.redis_watch import RedisWatch
from streams.core.release.render import Pages
from streams.stores.released import Publisher
from streams.stores.trouble import TROUBLE

log = logging.getLogger("throng.release")

PANES = "panes shown"
PLACES = "places shown"
AGAIN_S: Final = 86_400.0
RETRY_S: Final = 60.0


class Showing:
    """Of one worker. `withheld`: do the rules forbid to tell a record by now?"""

    def __init__(
        self, publisher: Publisher, pages: Pages, redis: RedisWatch, withheld: Callable[[LedgerRecord], bool]
    ) -> None:
        self._publisher = publisher
        self._pages = pages
        self._redis = redis
        self._withheld = withheld
        self._newest: dict[str, LedgerRecord] = {}
        self._owed: dict[str, LedgerRecord] = {}
        self._one_by_one = asyncio.Lock()
        self._plan = ""
        self._places_at = 0.0

    def pane(self, record: LedgerRecord) -> None:
        """A record was just published: `catch_up` shows it, unless there is a newer one by then."""
        self._newest[record.measure] = self._owed[record.measure] = record

    async def places(self, epoch: Epoch) -> None:
        """Show the places that released records of the epoch tell of: once a plan, and again every day."""
        now = time.monotonic()
        if epoch.plan == self._plan and now - self._places_at < AGAIN_S:
            return
        try:
            await self._publisher.places(self._pages.places(epoch))
        except TROUBLE as error:
            self._redis.failed(PLACES, error)
        else:
            self._plan, self._places_at = epoch.plan, now
            self._redis.done(PLACES)

    async def catch_up(self, epoch: Epoch | None) -> None:
        """Show what is owed, if the rules still let it be told. `epoch`: that of the last pane, if there was one."""
        async with self._one_by_one:
            if self._owed:
                await self._miss()
            if epoch is not None:
                await self.places(epoch)
            for name, record in list(self._owed.items()):
                if self._withheld(record):
                    del self._owed[name]
                else:
                    await self._show(record)
            if not self._owed:
                self._redis.done(PANES)

    async def _miss(self) -> None:
        """Find out whether what was shown is gone: no pane of an hour comes again within it, and no places in a day."""
        if not self._plan:
            return
        try:
            there = await self._publisher.shows(self._plan)
        except TROUBLE as error:
            log.debug("whether Redis has what was shown is asked again with the next pane: %s", error)
            return
        if not there:
            log.warning("Redis no longer has what was shown: it is shown again")
            self._plan, self._owed = "", dict(self._newest)

    async def keep_giving_ends(self) -> None:
        """Let what was written before keys had an end go in its time: look for it at a start, and daily, for ever."""
        while True:
            pause_s = AGAIN_S
            try:
                await self._publisher.give_ends()
            except NoPermissionError:
                log.info("keys that an older version wrote keep no end: this user may not list keys (SCAN)")
            except TROUBLE as error:
                log.debug("ends of old keys wait: %s", error)
                pause_s = RETRY_S
            await asyncio.sleep(pause_s)

    async def _show(self, record: LedgerRecord) -> None:
        try:
            await self._publisher.to_redis(record)
        except TROUBLE as error:
            self._redis.failed(PANES, error)
        else:
            if self._owed.get(record.measure) is record:
                del self._owed[record.measure]
