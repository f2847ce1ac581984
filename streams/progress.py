"""What long work tells of itself on the terminal: the newest word, at most every few seconds."""

import time
from collections.abc import Callable
from typing import Final

import click

EVERY_S: Final = 3.0


class Progress:
    """Called with what is done; `now_s`: a clock that never goes back, s."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._said_s = float("-inf")

    def __call__(self, what: str) -> None:
        now_s = self._now_s()
        if now_s - self._said_s >= EVERY_S:
            self._said_s = now_s
            click.echo(f"   {what}")
