"""One listener of the live feed, and the bounded queue of what it has not been sent yet."""

import asyncio
from collections import deque
from collections.abc import Callable

from streams.api.shelf import Item


class Feed:
    """One listener: what it asked for, and what waits for it."""

    def __init__(self, wanted: Callable[[Item], bool], most: int) -> None:
        self.wanted = wanted
        self.waiting: deque[Item] = deque()
        self.overrun = False
        self.news = asyncio.Event()
        self._most = most

    def offer(self, item: Item) -> None:
        """Let it wait, unless too many do."""
        if self.overrun or not self.wanted(item):
            return
        if len(self.waiting) >= self._most:
            self.overrun = True
            self.waiting.clear()
        else:
            self.waiting.append(item)
        self.news.set()
