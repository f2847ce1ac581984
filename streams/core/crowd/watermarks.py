"""The watermark of a partition: the least over the live sources, never going back.

In: each source's watermark as its sections bring it, and control records that name the live sources. Out: the event
time up to which all is complete, or None until every source has been heard. A source that joins later holds the
watermark where it is until its first section; one that leaves no longer does.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple


class Watermarks(NamedTuple):
    """What each source has said (`heard`, ms), who is live by which control record, and the watermark."""

    heard: Mapping[int, int]
    version: int
    live: frozenset[int]
    least_ms: int | None

    def after(self, said: Mapping[int, int]) -> "Watermarks":
        """With newer watermarks of some sources."""
        heard = {**self.heard, **{source: max(ms, self.heard.get(source, ms)) for source, ms in said.items()}}
        return self._replace(heard=heard)._advanced()

    def governed(self, version: int, sources: Sequence[int]) -> "Watermarks":
        """With the live sources of a control record, unless one as new is known."""
        if version <= self.version:
            return self
        return self._replace(version=version, live=frozenset(sources))._advanced()

    def joined(self, sources: Collection[int]) -> "Watermarks":
        """With these sources live besides, as long as no control record is known."""
        if self.version or self.live >= set(sources):
            return self
        return self._replace(live=self.live | set(sources))._advanced()

    def _advanced(self) -> "Watermarks":
        if not self.live or not self.live <= self.heard.keys():
            return self
        least = min(self.heard[source] for source in self.live)
        return self._replace(least_ms=least if self.least_ms is None else max(least, self.least_ms))


UNHEARD = Watermarks({}, 0, frozenset(), None)
