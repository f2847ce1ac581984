"""The watermark of a partition: the least over the live sources, never going back.

In: each source's watermark as its sections bring it, and control records that name the live sources. Out: the event
time up to which all is complete, or None while a source has not been heard of yet. A source that joins later holds the
watermark where it is until its first section.
"""

from collections.abc import Sequence


class Watermarks:
    """What each source has said, and who is live."""

    def __init__(self) -> None:
        self.version = 0
        self.live: tuple[int, ...] = ()
        self.seen: dict[int, int] = {}
        self.least: int | None = None

    def set_live(self, version: int, sources: Sequence[int]) -> None:
        """Take a control record; an older or equal version is ignored."""
        if version > self.version:
            self.version = version
            self.live = tuple(sources)

    def advance(self, source: int, watermark_ms: int) -> None:
        """Take a source's watermark."""
        self.seen[source] = max(watermark_ms, self.seen.get(source, watermark_ms))

    def current(self) -> int | None:
        """The partition's watermark."""
        if self.live and all(source in self.seen for source in self.live):
            least = min(self.seen[source] for source in self.live)
            self.least = least if self.least is None else max(self.least, least)
        return self.least
