"""The chain: each source's offsets are taken once, in order, without a hole, whoever sends them.

In: the range `[from, to)` that a section covers. Out: from which offset on its rows are taken, or that it is ignored.
Kept: for each source the next offset. A section that ends before it is a repeat; one that begins beyond it leaves a gap,
which the source's owner will send, so it is ignored whole, watermark included.
"""

from enum import Enum


class Link(Enum):
    """What became of a section."""

    TAKEN = "taken"
    REPEAT = "repeat"
    GAP = "gap"


class Chain:
    """The next offset of each source. A source starts at 0, or where a genesis section says."""

    def __init__(self, positions: dict[int, int] | None = None) -> None:
        self.positions = dict(positions or {})
        self.gaps = 0
        self.repeats = 0

    def take(self, source: int, from_: int, to: int, genesis: bool = False) -> tuple[Link, int]:
        """Decide on a section. Returns the link and, if taken, the first offset whose rows count."""
        known = self.positions.get(source)
        if known is None:
            known = from_ if genesis else 0
        if to <= known:
            self.repeats += 1
            return Link.REPEAT, known
        if from_ > known:
            self.gaps += 1
            return Link.GAP, known
        self.positions[source] = to
        return Link.TAKEN, known
