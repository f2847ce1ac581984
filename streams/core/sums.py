"""Adding up the partitions: a pane is whole once every partition has sent it, and it is taken up once.

In: panes as they come on the one partition of `panes`, with their offsets. Out: whole panes in the order of time, as
dense vectors by measure. Kept: what is not whole or not dropped yet, and the digests of what was. The first record of
a (partition, pane) counts; a repeat must be the same. What can fail: a repeat that differs (`PaneDiffers`): two
workers computed different results from one log, which is a defect, and nothing more may be released until it is
understood.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.panes import Pane, pairs

# Digests of panes that are whole, kept to recognise repeats: a day of 5 minutes.
REMEMBERED = 300

Key = tuple[int, int]


class PaneDiffers(ValueError):  # noqa: N818 - reads as what it is
    """A repeat of a pane is not what the first was."""


class Whole(NamedTuple):
    """A pane that every partition has sent. `counts`: i64[keys] by measure."""

    epoch: Epoch
    number: int
    end_ms: int
    counts: dict[str, NDArray[np.int64]]


class _Part(NamedTuple):
    epoch: Epoch
    first_offset: int
    end_ms: int
    counts: dict[str, NDArray[np.int64]]


class Sums:
    """Panes that are not whole yet, or not yet released."""

    def __init__(self) -> None:
        self._parts: dict[Key, _Part] = {}
        self._digests: dict[Key, dict[int, bytes]] = {}
        self._next_offset = 0

    @property
    def needed_offset(self) -> int:
        """The oldest offset of `panes` that a restart must read again."""
        return min((part.first_offset for part in self._parts.values()), default=self._next_offset)

    def knows(self, pane: Pane) -> bool:
        """Has any partition's part of the pane been added and not been forgotten?"""
        return (pane.epoch, pane.number) in self._digests

    def add(self, pane: Pane, offset: int, epoch: Epoch) -> bool:
        """Take a pane; False if it is a repeat.

        Raises:
            PaneDiffers: it repeats another without being equal.
        """
        self._next_offset = offset + 1
        key = (pane.epoch, pane.number)
        seen = self._digests.setdefault(key, {})
        if pane.partition in seen:
            if seen[pane.partition] != pane.digest:
                raise PaneDiffers(
                    f"epoch {pane.epoch}, pane {pane.number}, partition {pane.partition}: "
                    f"the repeat at offset {offset} differs"
                )
            return False
        seen[pane.partition] = pane.digest
        part = self._parts.setdefault(key, _Part(epoch, offset, pane.end_ms, {}))
        for name, counts in pane.counts.items():
            measure = next(m for m in epoch.measures if m.name == name)
            size = measure.keys(epoch.zones, epoch.parents)
            vector = part.counts.setdefault(name, np.zeros(size, np.int64))
            keys, values = pairs(counts)
            vector[keys] += values
        return True

    def first_whole(self) -> Whole | None:
        """The oldest pane, if every partition has sent it. It stays until it is dropped."""
        if not self._parts:
            return None
        key = min(self._parts, key=lambda k: self._parts[k].end_ms)
        part = self._parts[key]
        if len(self._digests[key]) < part.epoch.partitions:
            return None
        return Whole(part.epoch, key[1], part.end_ms, part.counts)

    def drop(self, whole: Whole) -> None:
        """Forget a pane of which nothing is to be drawn any more: a restart needs it no longer."""
        del self._parts[whole.epoch.epoch, whole.number]
        for key in list(self._digests)[:-REMEMBERED]:
            if key not in self._parts:
                del self._digests[key]
