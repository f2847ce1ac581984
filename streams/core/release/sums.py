"""Adding up the partitions: a pane is whole once every partition has sent it, and it is taken up once.

In: panes as they come on the one partition of `panes`, with their offsets, and the ledger's account. Out: whole panes
in the order of time, as dense vectors by measure, and panes that are lost. Kept: what is not whole or not dropped yet,
and the digests of what was. The first record of a (partition, pane) counts; a repeat must be the same, unless one of
the two is of a state that was resumed after a loss: the other may be of a worker that still had all of it.

A partition's panes count without a hole: one that comes before its predecessor (Kafka lost a send and took the next)
is held until that has come or is closed in the ledger. So no pane is ever closed over one that is still to come. What
is held keeps `needed_offset` down, so a restart reads it again.

Where retention took panes before they were read (`begin_anywhere`), the next pane of each partition is its beginning,
and what lies before the latest of these beginnings and isn't closed is lost: it can't become whole any more.

What can fail: a repeat that differs (`PaneDiffers`): two workers computed different results from one log, which is a
defect, and nothing more may be released until it is understood.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.measures import Measure
from schemas.panes import Pane, pairs
from streams.core.release.ledger import Account

# Digests of panes that are whole, kept to recognise repeats: a day of 5 minutes.
REMEMBERED = 300
KEY_BYTES = 4

Key = tuple[int, int]


class PaneDiffers(ValueError):  # noqa: N818 - reads as what it is
    """A repeat of a pane is not what the first was."""


class Keyed(NamedTuple):
    """Counts of a measure whose keys come from data: those that occur, u32[n], rising, and their counts, i64[n]."""

    keys: NDArray[np.uint32]
    counts: NDArray[np.int64]


Counted = NDArray[np.int64] | Keyed


NONE_YET = Keyed(np.empty(0, np.uint32), np.empty(0, np.int64))


def occurring(counted: Counted) -> Keyed:
    """The keys above zero of either kind of counts."""
    if isinstance(counted, Keyed):
        return counted
    keys = np.flatnonzero(counted).astype(np.uint32)
    return Keyed(keys, counted[keys])


def fits(pane: Pane, epoch: Epoch) -> bool:
    """Could one of the epoch's partitions have counted it? One of none that there is would stand for one that lacks."""
    measures = {measure.name: measure for measure in epoch.measures}
    keys = {name: measure.keys(epoch.zones, epoch.parents) for name, measure in measures.items()}
    return (
        0 <= pane.partition < epoch.partitions
        and measures.keys() >= {*pane.counts, *pane.shut, *pane.lacking}
        and all(0 <= sources <= pane.sources and pane.sources > 0 for sources in pane.lacking.values())
        and all(
            len(counts.keys) == len(counts.values)
            and len(counts.keys) % KEY_BYTES == 0
            and int(pairs(counts)[0].max(initial=0)) < keys[name]
            for name, counts in pane.counts.items()
        )
    )


class Whole(NamedTuple):
    """A pane that every partition has sent, by measure.

    `shut`: measures that some can't count. `covered`: what share of the network the others are from, where not all.
    """

    epoch: Epoch
    number: int
    end_ms: int
    counts: dict[str, Counted]
    shut: frozenset[str]
    covered: dict[str, float]

    def in_order(self) -> list[Measure]:
        """The measures that it ends, as they are to be released: those of few keys first, so that the fewest records
        wait. But footfall and departures of a pane build on who is present at its end; and for keys from data there may
        not be noise enough at hand, and nothing else waits for that.
        """
        epoch = self.epoch
        return sorted(
            epoch.due(self.number),
            key=lambda each: (each.statistic != "present", each in epoch.keyed, each.keys(epoch.zones, epoch.parents)),
        )


class _Sent(NamedTuple):
    """One partition's pane, at its offset."""

    pane: Pane
    offset: int
    epoch: Epoch


class _Part:
    """A pane of the partitions that have counted so far."""

    def __init__(self, sent: _Sent) -> None:
        self.epoch = sent.epoch
        self.end_ms = sent.pane.end_ms
        self.first_offset = sent.offset
        self.partitions: set[int] = set()
        self.counts: dict[str, Counted] = {}
        self.shut: frozenset[str] = frozenset()
        # By measure the sum of the partitions' missing shares: exact, so the same in any order.
        self._lacking = defaultdict[str, Fraction](Fraction)

    def covered(self) -> dict[str, float]:
        """The mean over the partitions of the share of raw partitions of which nothing is missing, of which a partition
        that can't count a measure has none. Cut to a millionth, so that it is 1 only where nothing is missing."""
        found = ((name, 1 - lacking / self.epoch.partitions) for name, lacking in self._lacking.items())
        return {name: math.floor(share * 1_000_000) / 1_000_000 for name, share in found}

    def add(self, sent: _Sent) -> None:
        self.first_offset = min(self.first_offset, sent.offset)
        self.partitions.add(sent.pane.partition)
        self.shut |= set(sent.pane.shut)
        for name in sent.pane.shut:
            self._lacking[name] += Fraction(1)
        for name, sources in sent.pane.lacking.items():
            self._lacking[name] += Fraction(sources, sent.pane.sources)
        for name, counts in sent.pane.counts.items():
            measure = next(m for m in self.epoch.measures if m.name == name)
            self.counts[name] = self._added(measure, *pairs(counts))

    def _added(self, measure: Measure, keys: NDArray[np.uint32], values: NDArray[np.uint32]) -> Counted:
        before = self.counts.get(measure.name)
        if measure in self.epoch.keyed:
            old = before if isinstance(before, Keyed) else NONE_YET
            found, place = np.unique(np.concatenate([old.keys, keys]), return_inverse=True)
            sums = np.zeros(len(found), np.int64)
            np.add.at(sums, place, np.concatenate([old.counts, values.astype(np.int64)]))
            return Keyed(found, sums)
        size = measure.keys(self.epoch.zones, self.epoch.parents)
        vector = before if isinstance(before, np.ndarray) else np.zeros(size, np.int64)
        vector[keys] += values
        return vector


class Sums:
    """Panes that are not whole yet, or not yet released.

    Args:
        account: what is closed already. epochs: those of the deployment, in any order; it may grow.
    """

    def __init__(self, account: Account | None = None, epochs: Iterable[Epoch] = ()) -> None:
        self._account = Account() if account is None else account
        self._epochs = epochs
        self._begun: dict[int, Epoch] = {}
        self._parts: dict[Key, _Part] = {}
        self._held: dict[int, list[_Sent]] = {}
        # By partition: the first record's digest, and whether its state was a resumed one.
        self._digests: dict[Key, dict[int, tuple[bytes, bool]]] = {}
        # The start of the epoch and the number of the last pane that each partition has counted.
        self._reached: dict[int, Key] = {}
        self._may_begin = False
        self._begins: set[int] = set()
        self._lost_before_ms = self._lost_told_ms = 0
        self._next_offset = 0

    @property
    def needed_offset(self) -> int:
        """The oldest offset of `panes` that a restart must read again."""
        waiting = [part.first_offset for part in self._parts.values()]
        waiting += [sent.offset for held in self._held.values() for sent in held]
        return min(waiting, default=self._next_offset)

    def begin_anywhere(self) -> None:
        """Retention took panes that weren't read: the next one of each partition is its beginning."""
        self._may_begin = True
        self._begins = set()

    def add(self, pane: Pane, offset: int, epoch: Epoch) -> bool:
        """Take a pane; False if it is a repeat, or closed already.

        Raises:
            PaneDiffers: it repeats another without being equal.
        """
        self._next_offset = offset + 1
        key = (pane.epoch, pane.number)
        # A crowd that fell back behind what this worker began at repeats panes that are closed; the other partitions'
        # are not repeated, so they would never be whole, and hold all later ones.
        if key not in self._digests and self._over(epoch, pane.number):
            return False
        seen = self._digests.setdefault(key, {})
        if pane.partition in seen:
            first, resumed = seen[pane.partition]
            if first != pane.digest and not (resumed or pane.resumed):
                raise PaneDiffers(
                    f"epoch {pane.epoch}, pane {pane.number}, partition {pane.partition}: "
                    f"the repeat at offset {offset} differs"
                )
            return False
        seen[pane.partition] = (pane.digest, pane.resumed)
        held = self._held.setdefault(pane.partition, [])
        held.append(_Sent(pane, offset, epoch))
        held.sort(key=lambda sent: sent.pane.end_ms)
        self._take_held(pane.partition)
        return True

    def first_whole(self) -> Whole | None:
        """The oldest pane, if every partition has sent it. It stays until it is dropped."""
        for partition in list(self._held):
            self._take_held(partition)
        if not self._parts:
            return None
        key = min(self._parts, key=lambda k: self._parts[k].end_ms)
        part = self._parts[key]
        if len(part.partitions) < part.epoch.partitions:
            return None
        return Whole(part.epoch, key[1], part.end_ms, part.counts, part.shut, part.covered())

    def drop(self, whole: Whole) -> None:
        """Forget a pane of which nothing is to be drawn any more: a restart needs it no longer."""
        self._forget((whole.epoch.epoch, whole.number))

    def lost(self) -> Iterator[tuple[Epoch, int]]:
        """Panes that can't become whole any more and aren't closed, in the order of time; close them.

        Epochs before the newest that the ledger knows are over. If it knows none, only the epoch in which the
        partitions begin is looked at: nobody has waited for more.
        """
        if self._lost_before_ms == self._lost_told_ms:
            return
        for key in [key for key, part in self._parts.items() if part.end_ms < self._lost_before_ms]:
            self._forget(key)
        epochs = sorted((e for e in self._epochs if e.start_ms < self._lost_before_ms), key=lambda e: e.start_ms)
        known = [number for number, epoch in enumerate(epochs) if self._account.begun(epoch.epoch)]
        for epoch in epochs[max(known, default=len(epochs) - 1) :] if epochs else ():
            for number in range(epoch.first_pane, epoch.last_pane + 1):
                if self._is_lost(epoch, number) and not self._account.closed(epoch, number):
                    yield epoch, number
        self._lost_told_ms = self._lost_before_ms

    def _forget(self, key: Key) -> None:
        del self._parts[key]
        held = {(sent.pane.epoch, sent.pane.number) for held in self._held.values() for sent in held}
        for old in list(self._digests)[:-REMEMBERED]:
            if old not in self._parts and old not in held:
                del self._digests[old]

    def _take_held(self, partition: int) -> None:
        """Count what follows on what has counted."""
        held = self._held[partition]
        while held and self._may_count(held[0]):
            sent = held.pop(0)
            key = (sent.pane.epoch, sent.pane.number)
            if self._is_lost(sent.epoch, sent.pane.number):
                continue
            self._parts.setdefault(key, _Part(sent)).add(sent)
            self._begun[sent.epoch.epoch] = sent.epoch
            reached = (sent.epoch.start_ms, sent.pane.number)
            self._reached[partition] = max(reached, self._reached.get(partition, reached))
        if not held:
            del self._held[partition]

    def _may_count(self, sent: _Sent) -> bool:
        partition, epoch, number = sent.pane.partition, sent.epoch, sent.pane.number
        follows = self._follows(partition, epoch, number)
        if self._may_begin and partition not in self._begins:
            self._begins.add(partition)
            if not follows:
                self._lost_before_ms = max(self._lost_before_ms, sent.pane.end_ms)
            return True
        return follows

    def _follows(self, partition: int, epoch: Epoch, number: int) -> bool:
        """Has all that comes before the pane counted, or is it closed?"""
        if number > epoch.first_pane:
            return self._has(partition, epoch, number - 1)
        before = self._epoch_before(epoch)
        return before is None or partition >= before.partitions or self._has(partition, before, before.last_pane)

    def _has(self, partition: int, epoch: Epoch, number: int) -> bool:
        counted = self._reached.get(partition, (0, 0)) >= (epoch.start_ms, number)
        return counted or self._over(epoch, number)

    def _over(self, epoch: Epoch, number: int) -> bool:
        return self._is_lost(epoch, number) or self._account.closed(epoch, number)

    def _is_lost(self, epoch: Epoch, number: int) -> bool:
        return epoch.start_ms + number * epoch.pane_ms < self._lost_before_ms

    def _epoch_before(self, epoch: Epoch) -> Epoch | None:
        """The last epoch before this one of which any partition has sent or the ledger has drawn a pane."""
        known = {e.epoch: e for e in self._epochs if self._account.begun(e.epoch)} | self._begun
        known |= {sent.epoch.epoch: sent.epoch for held in self._held.values() for sent in held}
        return max((e for e in known.values() if e.end_ms <= epoch.start_ms), key=lambda e: e.start_ms, default=None)
