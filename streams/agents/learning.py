"""Feeds what follows from releases: the ledger's past first, then what the release reads of it, in the log's order.

No release waits for the weeks that are gone through: meanwhile what is read is held.
"""

import asyncio
from collections.abc import Callable

from schemas.ledger import LedgerRecord
from streams.core.derived.following import AT_HAND, PRESENT, Following, since_ms
from streams.stores.ledger_history import History


class Learning:
    """`began_at`: the offset at which the release began to read the ledger; asked when it has."""

    def __init__(self, following: Following, history: History, began_at: Callable[[], int]) -> None:
        self._following = following
        self._history = history
        self._began_at = began_at
        self._held: list[LedgerRecord] | None = []

    def take(self, record: LedgerRecord) -> None:
        """Take up the next valid record of the ledger."""
        if self._held is None:
            self._following.take(record)
        elif record.measure == PRESENT:
            self._held.append(record)

    async def learn(self) -> None:
        """Go through the past, once; what is held follows on it."""
        if self._held is None:
            return
        if self._held:
            last = self._held[-AT_HAND:]
            async for part in self._history.between(since_ms(last[0].end_ms), self._began_at()):
                for record in part:
                    self._following.take(record)
                await asyncio.to_thread(self._following.work_out, self._following.waiting(), last)
        held, self._held = self._held, None
        for record in held:
            self._following.take(record)
