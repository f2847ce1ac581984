"""The live feed: one listener with the bounded queue of what it has not been sent yet, and what was sent lately.

Each event has an id, by which a listener that comes back goes on (`Last-Event-ID`): the process that told it, its
number there, and its pane's end. Told by the same process, everything after that number is told again, once. Told by
another one, whose numbers mean nothing here, all records are whose panes end after two hours before that end: none
comes later behind others (`LATE_MS`), so none is missed, and some come twice. A process that begins numbers what it
finds by its panes' ends, so what it tells again is gone on from like all else.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import NamedTuple

from streams.api.shelf import LATE_MS, Item


class Sent(NamedTuple):
    """A record and the id of its event."""

    item: Item
    process: str
    number: int

    @property
    def id(self) -> bytes:
        """The id, as text."""
        return f"{self.process}-{self.number}-{self.item.end_ms}".encode()


class Lately:
    """What the feed has told in the last `history_ms` of event time, in this order; before it, what others had told.

    `process`: its random name.
    """

    def __init__(self, process: str, history_ms: int) -> None:
        self._process, self._history_ms = process, history_ms
        self._sent: deque[Sent] = deque()
        self._number = 0
        self._newest_ms = 0

    def add(self, item: Item) -> Sent:
        """Number a record that is told now."""
        self._number += 1
        self._newest_ms = max(self._newest_ms, item.end_ms)
        self._sent.append(sent := Sent(item, self._process, self._number))
        while self._sent and self._sent[0].item.end_ms <= self._newest_ms - self._history_ms:
            self._sent.popleft()
        return sent

    def after(self, last: str) -> list[Sent]:
        """What was told after the event of an id.

        Raises:
            ValueError: it is no id of a feed.
        """
        process, number, end_ms = last.split("-")
        if process == self._process:
            return list(takewhile(lambda sent: sent.number > int(number), reversed(self._sent)))[::-1]
        since = int(end_ms) - LATE_MS
        return [sent for sent in self._sent if sent.item.end_ms > since]


class Feed:
    """One listener: what it asked for, what it missed while it was away, and what waits for it."""

    def __init__(self, wanted: Callable[[Item], bool], most: int, missed: Iterable[Sent] = ()) -> None:
        self.wanted = wanted
        self.overrun = False
        self.news = asyncio.Event()
        self._missed = deque(sent for sent in missed if wanted(sent.item))
        self._waiting: deque[Sent] = deque()
        self._most = most
        if self._missed:
            self.news.set()

    def offer(self, sent: Sent) -> None:
        """Let it wait, unless too many do."""
        if self.overrun or not self.wanted(sent.item):
            return
        if len(self._waiting) >= self._most:
            self.overrun = True
            self._waiting.clear()
            self._missed.clear()
        else:
            self._waiting.append(sent)
        self.news.set()

    def take(self, most: int) -> list[Sent]:
        """The next ones to send, so many at most; there is news as long as more wait."""
        found: list[Sent] = []
        while len(found) < most and (queue := self._missed or self._waiting):
            found.append(queue.popleft())
        if self._missed or self._waiting:
            self.news.set()
        return found
