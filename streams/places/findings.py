"""What was found on the way that somebody should know: how often, and the first few by name."""

from collections.abc import Iterator
from typing import Final

FIRST: Final = 5


class Findings:
    """Counts findings by kind, in the order in which the kinds were first met."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.firsts: dict[str, list[str]] = {}

    def add(self, kind: str, which: str) -> None:
        """One more of a kind."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        firsts = self.firsts.setdefault(kind, [])
        if len(firsts) < FIRST:
            firsts.append(which)

    def lines(self) -> Iterator[str]:
        """A line a kind."""
        for kind, count in self.counts.items():
            more = ", ..." if count > FIRST else ""
            yield f"{count:,} {kind}: {', '.join(self.firsts[kind])}{more}"
