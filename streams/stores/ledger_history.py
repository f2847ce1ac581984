"""What the ledger said before the place at which a release begins to read it: weeks, for what follows from releases.

Looked for by the records' own times, which are those of their writing, so after the panes' ends. A place that is found
must lie before what is asked for; if it doesn't, since a clock was wrong or a replay wrote them, all is read that is
there.
"""

from collections.abc import AsyncIterator
from typing import Final

from schemas.ledger import LedgerRecord
from streams.core.release.ledger import Account
from streams.stores.ledger import own_records
from streams.stores.log import TailReader

# Writers' clocks may differ, and a pane may have been drawn late.
EARLIER_MS: Final = 2 * 86_400_000


class History:
    """Reads the ledger's past, with a reader of its own."""

    def __init__(self, reader: TailReader) -> None:
        self._reader = reader
        self._own = own_records()

    async def between(self, since_ms: int, offset: int) -> AsyncIterator[list[LedgerRecord]]:
        """The valid records before `offset`, those of panes that end at `since_ms` or later at least, in chunks."""
        start, _ = await self._reader.bounds()
        if start >= offset:
            return
        found = await self._reader.find(since_ms - EARLIER_MS)
        first = min(max(start, start if found is None else found), offset)
        if not await self._lies_before(first, since_ms):
            first = start
        self._reader.seek(first)
        account = Account()
        async for records in self._reader.read_to_end(offset):
            entries = [(each.offset, self._own.read(each, counted=False)) for each in records]
            yield [entry for at, entry in entries if entry and at < offset and account.take(entry, at)]

    async def _lies_before(self, offset: int, since_ms: int) -> bool:
        self._reader.seek(offset)
        records = [record async for some in self._reader.read_to_end(offset + 1) for record in some[:1]]
        found = self._own.read(records[0], counted=False) if records else None
        return found is not None and found.end_ms < since_ms
