"""Screening: which events become sightings, as whom and where. The only core module that sees an IMSI and a key
together.

In: a batch of one source's records and events, the running maximum of its record times before it, and the context
(policies, registry, cells, epochs, key states of salts). Out: rows of pseudonyms grouped by target partition; which
events are refused, and why; how many are dropped by policy or consent, by reason. Checks in the order of
docs/reference/semantics.md, the first that fails giving the reason.

Nothing can fail; where an epoch or its salt is missing, `needs_epoch` names an event time, and the caller asks again
once it has it.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.attach import AHEAD_MS, DETACH
from schemas.cohorts import GENDERS, age_band
from schemas.plan import NO_ZONE
from schemas.rejects import Reason
from streams.core.decode import Events
from streams.core.epochs import EpochTable
from streams.core.policy import ALLOWED, OPT_OUT_BASIS, ROAMERS, SUSPENDED, PolicyTable
from streams.core.pseudonyms import pseudonyms, targets
from streams.core.records import Records
from streams.core.registry import (
    CONSENT_SHIFT,
    FIRST_YEAR,
    GENDER_SHIFT,
    GRANTED,
    OPTED_OUT,
    RECORD,
    REFUSED,
    RegistryTable,
)
from streams.core.zones import EXCLUDED, CellTable

# Before its first record a source has no running maximum; far enough below any time that subtraction is safe.
NEVER_MS = -(1 << 60)
BANDS_BY_AGE = np.array([age_band(age) for age in range(256)], np.uint8)
# In the order of the checks.
DROPS = ("roamer", "no_record", "opted_out", "under_age", "no_consent")


@dataclass(frozen=True)
class Context:
    """What decides, as of now. `salts`: key state of each epoch; `gone`: epochs whose salt has been destroyed."""

    epochs: EpochTable
    salts: Mapping[int, NDArray[np.uint64]]
    policies: PolicyTable
    registry: RegistryTable
    cells: CellTable
    partitions: int
    lateness_ms: int
    gone: Set[int] = frozenset()


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
    highest = np.maximum.accumulate(np.maximum(records.time, running_max))
    after = int(highest[-1]) if len(highest) else running_max
    status = events.status.copy()
    live = np.flatnonzero(status == Reason.OK)
    suspended = (context.policies.rules[context.policies.mccs(events.imsi[live])] & SUSPENDED) != 0
    dropped = {"suspended": int(np.count_nonzero(suspended))}
    live = live[~suspended]
    reasons = _reasons(records, events, live, highest, context)
    status[live] = reasons
    live = live[reasons == Reason.OK]
    missing = _missing(events, live, context.epochs.find_index(events.ts[live]), context)
    if missing is not None:
        return NOTHING._replace(needs_epoch=missing)
    bits = context.registry.get(events.imsi[live])
    drop = refusals(events.imsi[live], bits, _ages(bits, events.ts[live], context), context.policies)
    dropped |= {name: int(np.count_nonzero(drop == n + 1)) for n, name in enumerate(DROPS)}
    live, bits = live[drop == 0], bits[drop == 0]
    epochs = context.epochs.find_index(events.ts[live])
    gone = np.array([epoch.epoch in context.gone for epoch in context.epochs.epochs] + [False], np.bool_)[epochs]
    status[live[gone]] = Reason.salt_gone
    live, bits, epochs = live[~gone], bits[~gone], epochs[~gone]
    refused = np.flatnonzero(status > Reason.BEAT)
    rows = _rows(records, events, live, bits, epochs, context)
    counts = {name: number for name, number in dropped.items() if number}
    return rows._replace(rejected=(refused, status[refused]), dropped=counts, running_max=after)


def _reasons(
    records: Records, events: Events, live: NDArray[np.int64], highest: NDArray[np.int64], context: Context
) -> NDArray[np.uint8]:
    """Why each live event is refused, or OK."""
    record, ts = events.record[live], events.ts[live]
    opens_ms = context.epochs.opens_ms
    late = ts < highest[record] - context.lateness_ms
    if opens_ms is not None:
        late |= ts < opens_ms
    unknown = context.cells.zones(events.cell[live]) == NO_ZONE
    return np.select(
        [ts > records.time[record] + AHEAD_MS, late, unknown],
        [np.uint8(Reason.clock_error), np.uint8(Reason.too_late), np.uint8(Reason.unknown_cell)],
        np.uint8(Reason.OK),
    )


def refusals(
    imsi: NDArray[np.uint64], bits: NDArray[np.uint32], ages: NDArray[np.int64], policies: PolicyTable
) -> NDArray[np.uint8]:
    """Why subscribers may not be used, by their bits in the registry: one more than the place in DROPS, 0 if they may.

    Args:
        ages: in whole years, 0 if unknown.
    """
    mccs = policies.mccs(imsi)
    rules = policies.rules[mccs]
    foreign = ((rules & ALLOWED) == 0) | (((rules & ROAMERS) == 0) & ~policies.at_home(imsi))
    consent = (bits >> np.uint32(CONSENT_SHIFT + 2 * policies.purpose)) & np.uint32(3)
    granted = np.where((rules & OPT_OUT_BASIS) != 0, consent != REFUSED, consent == GRANTED)
    minimum = policies.minimum_age[mccs]
    young = (minimum > 0) & (ages < minimum)
    return np.select(
        [foreign, (bits & np.uint32(RECORD)) == 0, (bits & np.uint32(OPTED_OUT)) != 0, young, ~granted],
        [np.uint8(n + 1) for n in range(len(DROPS))],
        np.uint8(0),
    )


def _ages(bits: NDArray[np.uint32], ts: NDArray[np.int64], context: Context) -> NDArray[np.int64]:
    """Whole years by the year of birth, in the year in which the event's epoch begins; 0 if unknown."""
    years = np.array([epoch.epoch // 10_000 for epoch in context.epochs.epochs] + [0], np.int64)
    return ages_in(bits, years[context.epochs.find_index(ts)])


def ages_in(bits: NDArray[np.uint32], year: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Whole years that subscribers reach in a year, by their bits in the registry; 0 if unknown."""
    born = (bits & np.uint32(0xFF)).astype(np.int64)
    return np.where(born > 0, np.clip(year - (born + FIRST_YEAR - 1), 0, 255), 0)


def _missing(events: Events, live: NDArray[np.int64], epochs: NDArray[np.int64], context: Context) -> int | None:
    """An event time whose epoch or salt isn't there."""
    if (epochs < 0).any():
        return int(events.ts[live][epochs < 0].min())
    for number in np.unique(epochs).tolist():
        epoch = context.epochs.epochs[number]
        if epoch.epoch not in context.salts and epoch.epoch not in context.gone:
            return int(events.ts[live][epochs == number].min())
    return None


def _rows(
    records: Records,
    events: Events,
    live: NDArray[np.int64],
    bits: NDArray[np.uint32],
    epochs: NDArray[np.int64],
    context: Context,
) -> Screened:
    who = np.empty(len(live), np.uint64)
    for number in np.unique(epochs).tolist():
        inside = epochs == number
        named = np.empty(int(np.count_nonzero(inside)), np.uint64)
        pseudonyms(events.imsi[live[inside]], context.salts[context.epochs.epochs[number].epoch], named)
        who[inside] = named
    target = targets(who, context.partitions)
    order = np.argsort(target, kind="stable")
    live, bits = live[order], bits[order]
    starts = np.searchsorted(target[order], np.arange(context.partitions + 1))
    zone = context.cells.zones(events.cell[live])
    # Where nobody may be counted a phone is as if switched off: its presence elsewhere ends.
    kind = np.where(zone == EXCLUDED, np.uint8(DETACH), events.kind[live])
    ts = events.ts[live]
    gender = ((bits >> np.uint32(GENDER_SHIFT)) & np.uint32(3)).astype(np.uint8)
    cohort = BANDS_BY_AGE[_ages(bits, ts, context)] * np.uint8(len(GENDERS)) + gender
    zone = np.where(zone == EXCLUDED, np.uint16(0), zone)
    return NOTHING._replace(
        pseudonym=who[order],
        ts=ts,
        offset=records.offset[events.record[live]],
        index=events.index[live],
        zone=zone,
        cohort=cohort,
        kind=kind,
        starts=starts,
    )


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
