"""Screening: which events become sightings, as whom and where. Only here an IMSI and a key meet, and in the compiled
loop of it (`screening`).

In: a batch of one source's records and events, the running maximum of its record times before it, and the context
(policies, registry, cells, machines, epochs, key states of salts). Out: rows of pseudonyms grouped by target partition;
which events are refused, and why; how many are dropped by policy or consent, or as a machine's, by reason. Checks in
the order of docs/reference/semantics.md, the first that fails giving the reason.

Nothing can fail; where an epoch, its salt or its zone plan is missing, `needs_epoch` names an event time, and the
caller asks again once it has it. `gateway_reference.screen_reference` is the same, plainly: what this is tested
against.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.registry import PURPOSES
from schemas.rejects import Reason
from streams.core.epochs import EpochTable
from streams.core.events.decode import Events
from streams.core.events.machines import NO_MACHINES, MachineTable
from streams.core.events.records import Records
from streams.core.gateway.lateness import lateness_ms, watermark_ms
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.screening import GONE, MISSING, NEVER_MISSED, REFUSED, THERE, Batch, Tables, Told, screen_rows
from streams.core.gateway.standing import DROPS
from streams.core.gateway.zones import CellTable

# Before its first record a source has no running maximum; far enough below any time that subtraction is safe.
NEVER_MS = -(1 << 60)
DROPPED = ("suspended", *DROPS, "machine")


@dataclass(frozen=True)
class Context:
    """What decides, as of now. `salts`: key state of each epoch; `gone`: epochs whose salt has been destroyed;
    `lateness_ms`: as long as there is no epoch, which has its own."""

    epochs: EpochTable
    salts: Mapping[int, NDArray[np.uint64]]
    policies: PolicyTable
    registry: RegistryTable
    cells: CellTable
    partitions: int
    lateness_ms: int
    gone: Set[int] = frozenset()
    machines: MachineTable = NO_MACHINES

    def late_ms(self, reached_ms: int) -> int:
        """How late what comes of a source may be that has come so far, by record time."""
        return lateness_ms(self.epochs, reached_ms, self.lateness_ms)

    def watermark_ms(self, reached_ms: int) -> int:
        """Up to where nothing comes any more of a source that has come so far."""
        return watermark_ms(self.epochs, reached_ms, self.lateness_ms)

    def from_ms(self, reached_ms: int) -> int:
        """What is earlier is too late, whatever the record's time: it is behind a watermark, or of no epoch."""
        opens_ms = self.epochs.opens_ms
        return max(self.watermark_ms(reached_ms), NEVER_MS if opens_ms is None else opens_ms)


class Screened(NamedTuple):
    """Rows grouped by target partition, in the order of (offset, index) within each.

    Attributes:
        pseudonym..kind: u64, i64 (ms), i64, u32, u16, u8, u8, of n rows. starts: i64[P + 1], where each target's
        begin. rejected: rows in `Events` (i64) and their `Reason` (u8). dropped: by reason. running_max: largest
        record time up to the batch's end. needs_epoch: None, or see above (then nothing else holds).
    """

    pseudonym: NDArray[np.uint64]
    ts: NDArray[np.int64]
    offset: NDArray[np.int64]
    index: NDArray[np.uint32]  # type: ignore[assignment]  # hides tuple.index: the contract's word
    zone: NDArray[np.uint16]
    cohort: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    starts: NDArray[np.int64]
    rejected: tuple[NDArray[np.int64], NDArray[np.uint8]]
    dropped: dict[str, int]
    running_max: int
    needs_epoch: int | None


def screen(records: Records, events: Events, running_max: int, context: Context) -> Screened:
    """Screen one batch."""
    batch = Batch(
        *(records.offset, records.time, events.record, events.index),
        *(events.imsi, events.ts, events.cell, events.kind),
        events.tac,
    )
    tables = _tables(context, running_max)
    status = events.status.copy()
    missing = np.full(len(tables.starts) + 1, NEVER_MISSED)
    told = Told(np.zeros(REFUSED + 1, np.int64), missing, np.array([running_max, 0]))
    who, ts, offset, index, zone, cohort, kind, starts = screen_rows(
        batch, context.policies.rules, tables, status, told
    )
    tables.states.fill(0)  # a salt that is destroyed must not live on in a copy
    needed = _needed(missing.tolist())
    if needed is not None:
        return NOTHING._replace(needs_epoch=needed)
    counts = told.counts.tolist()
    rejected = NOTHING.rejected
    if counts[REFUSED]:
        refused = np.flatnonzero(status > Reason.BEAT)
        rejected = refused, status[refused]
    dropped = {name: number for name, number in zip(DROPPED, counts, strict=False) if number}
    columns = who, ts, offset, index, zone, cohort, kind, starts
    return Screened(*columns, rejected, dropped, int(told.mark[0]), None)


def _tables(context: Context, running_max: int) -> Tables:
    epochs = context.epochs
    salt = np.empty(len(epochs.epochs), np.uint8)
    states = np.zeros((len(epochs.epochs), 8), np.uint64)
    plan = np.zeros((len(epochs.epochs), 2), np.int64)
    for number, epoch in enumerate(epochs.epochs):
        state = context.salts.get(epoch.epoch)
        if state is not None:
            states[number] = state
        span = context.cells.span(epoch.plan)
        if span is not None:
            plan[number] = span
        # One that is gone stays so, whatever comes of its salt.
        lacking = state is None or span is None
        salt[number] = GONE if epoch.epoch in context.gone else MISSING if lacking else THERE
    return Tables(
        context.registry.lines,
        context.cells.lines,
        plan,
        context.machines.lines,
        epochs.starts,
        epochs.ends,
        epochs.years,
        asked_of(context),
        salt,
        states,
        context.from_ms(running_max),
        context.late_ms(running_max),
        context.partitions,
        context.machines.size > 0,
    )


def asked_of(context: Context) -> NDArray[np.bool_]:
    """Of each epoch, whether the policies ask for consent to what it is counted for, bool[epochs].

    A chunk is judged by the rules of the epoch that its source has come to. With the next one's purpose they know
    nothing of who has agreed to it.
    """
    purpose = PURPOSES[context.policies.rules.purpose]
    return np.array([epoch.purpose in ("", purpose) for epoch in context.epochs.epochs], np.bool_)


def _needed(missing: list[int]) -> int | None:
    """An event time that lacks its epoch, or else the salt or the plan of it."""
    for earliest in (missing[-1], *missing):
        if earliest != NEVER_MISSED:
            return earliest
    return None


NOTHING = Screened(
    np.empty(0, np.uint64),
    np.empty(0, np.int64),
    np.empty(0, np.int64),
    np.empty(0, np.uint32),
    np.empty(0, np.uint16),
    np.empty(0, np.uint8),
    np.empty(0, np.uint8),
    np.zeros(1, np.int64),
    (np.empty(0, np.int64), np.empty(0, np.uint8)),
    {},
    0,
    None,
)
