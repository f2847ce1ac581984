"""Opt-outs and opt-ins as rows of `sightings`: what a registry record says of the pseudonyms of its subscriber.

In: consecutive records of one partition of `registry`, the running maximum of their times before them, the gateway's
context. Out: for every record of a subscriber, and for each epoch that is known and not over at the record's time, a
row under the pseudonym of that epoch: OPT_OUT if the subscriber may not be used by that record, OPT_IN if so. It
counts from the record's time, or from the epoch's beginning where that comes later. Whether it changes anything the
crowd knows: a repeat changes nothing. So rows depend on the record alone, not on what was there before it, but for
opt-ins of whom no row has taken out of the epoch: these change nothing, and may be left out (`Barred`).

Two rows of one record tell that two epochs' pseudonyms are one person's: a registry that is loaded in the last hour of
an epoch would tell it of everybody. So where all gateways know of a record before any event of the next epoch can come,
that epoch gets no row of it (`JUST_BEFORE_MS`), and of a later one only an opt-out has both: an opt-in leaves out the
epoch that ends, where whoever was out stays out for its last minutes. Elsewhere (replays) gateways know of all records
from the first event on, and the rows alone tell what held when.

A registry that is loaded anew each night, in one order, would tell it too, as the n-th row of a night is the n-th of
the next. So nobody has a row who was never out.

Records of before the deployment's first epoch opened need no row; their offsets are covered all the same, as are beats
and those that compaction took. Nothing can fail; `needs_epoch` is as in `core.gateway.screen`. A row whose salt has
been destroyed is left out: nothing can be counted under its pseudonym any more.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.registry import BEAT_KEY
from schemas.sightings import OPT_IN, OPT_OUT
from streams.core.compiled.lookup import Lookup
from streams.core.gateway.gateway import NOTHING, Context, Screened
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import pseudonyms, targets
from streams.core.gateway.registry import read
from streams.core.gateway.standing import refusals

# Of an event a gateway knows a minute ahead of its time at the earliest, and of a registry record for 5 s by then. The
# rest is for brokers' clocks.
JUST_BEFORE_MS: Final = 300_000
# Epochs at a time: one that runs, its neighbours, and a part of it that an incident has cut off.
KEPT: Final = 4


class RegistryRecord(NamedTuple):
    """One record of `registry`; `time_ms` is its record time."""

    offset: int
    time_ms: int
    key: bytes | None
    value: bytes | None


class _Said(NamedTuple):
    """What the records say, in columns: i64, i64 (ms), u64 packed IMSIs, u32 bits of the registry."""

    offset: NDArray[np.int64]
    time: NDArray[np.int64]
    imsi: NDArray[np.uint64]
    bits: NDArray[np.uint32]


class Barred:
    """Whom rows have taken out of epochs, as far as one reader of the registry has sent all of an epoch's rows itself.

    Args:
        since_ms: what it reads has later times, or is of after its predecessors' last.
    """

    def __init__(self, since_ms: int) -> None:
        self._since_ms = since_ms
        self._of: dict[int, Lookup] = {}

    def add(self, epoch: Epoch, imsis: NDArray[np.uint64]) -> None:
        """Rows take these out of the epoch."""
        if self._whole(epoch):
            self._table(epoch).put(imsis, np.ones(len(imsis), np.uint32))

    def may_be(self, epoch: Epoch, imsis: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Who of these may be out of the epoch."""
        return self._table(epoch).get(imsis) != 0 if self._whole(epoch) else np.ones(len(imsis), np.bool_)

    def _whole(self, epoch: Epoch) -> bool:
        return epoch.start_ms - JUST_BEFORE_MS > self._since_ms

    def _table(self, epoch: Epoch) -> Lookup:
        for old in list(self._of)[:-KEPT]:
            del self._of[old]
        return self._of.setdefault(epoch.epoch, Lookup(0))


def announce(
    records: Sequence[RegistryRecord],
    running_max: int,
    context: Context,
    policies: Callable[[Epoch], PolicyTable] | None = None,
    live: bool = False,
    barred: Barred | None = None,
) -> Screened:
    """The rows of a batch, grouped by target partition; they name no place and no cohort.

    Args:
        policies: of each epoch; without it the context's hold for all. live: brokers stamp registry and raw log, so
            that gateways know of a record within seconds of its time. barred: by the rows of the records before.
    """
    epochs = context.epochs.epochs
    opens_ms = context.epochs.opens_ms
    said = _said([r for r in records if opens_ms is not None and r.time_ms >= opens_ms and r.key != BEAT_KEY])
    after = max([running_max, *(record.time_ms for record in records)])
    needed = np.array([_needed(said, epoch, live) for epoch in epochs]).reshape(len(epochs), len(said.time))
    due = [(index, epoch) for index, epoch in enumerate(epochs) if needed[index].any()]
    for _, epoch in due:
        if epoch.epoch not in context.salts and epoch.epoch not in context.gone:
            return NOTHING._replace(needs_epoch=epoch.start_ms)
    parts = []
    for index, epoch in due:
        if epoch.epoch in context.salts:
            kinds = _kinds(said, epoch, context.policies if policies is None else policies(epoch))
            of_next_too = needed[index + 1 :].any(axis=0) & live
            out = needed[index] & (kinds == OPT_OUT)
            wanted = needed[index] & ~of_next_too
            if barred is not None:
                barred.add(epoch, said.imsi[out])
                wanted &= barred.may_be(epoch, said.imsi)
            parts.append(_rows(said, kinds, out | wanted, index, epoch, context.salts[epoch.epoch]))
    return _grouped(parts, context.partitions)._replace(running_max=after)


def _said(records: Sequence[RegistryRecord]) -> _Said:
    found = [(record, *read(record.key, record.value)) for record in records]
    there = [(record, imsi, bits or 0) for record, imsi, bits in found if imsi is not None]
    return _Said(
        np.array([record.offset for record, _, _ in there], np.int64),
        np.array([record.time_ms for record, _, _ in there], np.int64),
        np.array([imsi for _, imsi, _ in there], np.uint64),
        np.array([bits for _, _, bits in there], np.uint32),
    )


def _needed(said: _Said, epoch: Epoch, live: bool) -> NDArray[np.bool_]:
    """Which records the epoch has to know of."""
    needed = said.time < epoch.end_ms
    return needed & (said.time >= epoch.start_ms - JUST_BEFORE_MS) if live else needed


def _kinds(said: _Said, epoch: Epoch, policies: PolicyTable) -> NDArray[np.uint8]:
    """OPT_OUT or OPT_IN of each record, as the epoch's people are judged."""
    refused = refusals(said.imsi, said.bits, epoch.epoch // 10_000, policies) != 0
    return np.where(refused, np.uint8(OPT_OUT), np.uint8(OPT_IN))


def _rows(
    said: _Said, kinds: NDArray[np.uint8], wanted: NDArray[np.bool_], index: int, epoch: Epoch, salt: NDArray[np.uint64]
) -> Screened:
    """The rows of the wanted records under one epoch's pseudonyms, in the order of the log."""
    imsis = said.imsi[wanted]
    who = np.empty(len(imsis), np.uint64)
    pseudonyms(imsis, salt, who)
    return NOTHING._replace(
        pseudonym=who,
        ts=np.maximum(said.time[wanted], epoch.opens_ms),
        offset=said.offset[wanted],
        index=np.full(len(who), index, np.uint32),
        zone=np.zeros(len(who), np.uint16),
        cohort=np.zeros(len(who), np.uint8),
        kind=kinds[wanted],
    )


def _grouped(parts: Sequence[Screened], partitions: int) -> Screened:
    """All rows by target, in the order of (offset, index) within each."""
    if not parts:
        return NOTHING._replace(starts=np.zeros(partitions + 1, np.int64))
    who = np.concatenate([part.pseudonym for part in parts])
    offset = np.concatenate([part.offset for part in parts])
    index = np.concatenate([part.index for part in parts])
    target = targets(who, partitions)
    order = np.lexsort((index, offset, target))
    return NOTHING._replace(
        pseudonym=who[order],
        ts=np.concatenate([part.ts for part in parts])[order],
        offset=offset[order],
        index=index[order],
        zone=np.zeros(len(who), np.uint16),
        cohort=np.zeros(len(who), np.uint8),
        kind=np.concatenate([part.kind for part in parts])[order],
        starts=np.searchsorted(target[order], np.arange(partitions + 1)),
    )
