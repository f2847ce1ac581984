"""The chain: each source's offsets are taken once, in order, without a hole, whoever sends them.

In: the range `[from, to)` of a source's offsets that a section covers. Out: from which offset on its rows are
taken, or that it is ignored. Kept: for each source the next offset. A section that ends before it is a repeat; one
that begins beyond it leaves a gap, which the source's owner will send, so it is ignored whole, watermark included.
"""

from collections.abc import Mapping
from enum import Enum


class Link(Enum):
    """What becomes of a section."""

    TAKEN = "taken"
    REPEAT = "repeat"
    GAP = "gap"


def link(following: Mapping[int, int], source: int, from_: int, to: int, genesis: bool) -> tuple[Link, int]:
    """Decide on a section, given the next offset of each source that has been heard (`following`).

    A source starts at 0, or where its first section begins if that is a genesis. Returns what becomes of the section
    and, if it is taken, the first offset whose rows count.
    """
    first = following.get(source, from_ if genesis else 0)
    if to <= first:
        return Link.REPEAT, first
    return (Link.GAP, first) if from_ > first else (Link.TAKEN, first)
