"""Screening, plainly: one check after the other over whole columns. What `gateway.screen` is tested against.

It shares the tables and the hash with the fast form (which are tested against a dict and hashlib) and none of its
decisions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.attach import AHEAD_MS, DETACH, LONG_IMSI
from schemas.cohorts import GENDERS, age_band
from schemas.plan import NO_ZONE
from schemas.rejects import Reason
from streams.core.events.decode import Events
from streams.core.events.records import Records
from streams.core.gateway.gateway import NOTHING, Context, Screened, asked_of
from streams.core.gateway.policy import ALLOWED, OPT_OUT_BASIS, ROAMERS, SUSPENDED, PolicyTable
from streams.core.gateway.pseudonyms import pseudonyms, targets
from streams.core.gateway.registry import (
    CONSENT_SHIFT,
    FIRST_YEAR,
    GENDER_SHIFT,
    GRANTED,
    MACHINE,
    OPTED_OUT,
    RECORD,
    REFUSED,
)
from streams.core.gateway.standing import DROPS
from streams.core.gateway.zones import EXCLUDED

BANDS_BY_AGE = np.array([age_band(age) for age in range(256)], np.uint8)


def screen_reference(records: Records, events: Events, running_max: int, context: Context) -> Screened:
    """What `gateway.screen` gives."""
    highest = np.maximum.accumulate(np.maximum(records.time, running_max))
    after = int(highest[-1]) if len(highest) else running_max
    status = events.status.copy()
    live = np.flatnonzero(status == Reason.OK)
    suspended = (context.policies.rules.by_mcc[mccs(events.imsi[live])] & SUSPENDED) != 0
    dropped = {"suspended": int(np.count_nonzero(suspended))}
    live = live[~suspended]
    reasons = _reasons(records, events, live, highest, running_max, context)
    status[live] = reasons
    live = live[reasons == Reason.OK]
    missing = _missing(events, live, context.epochs.find_index(events.ts[live]), context)
    if missing is not None:
        return NOTHING._replace(needs_epoch=missing)
    known = _zones(events, live, context) != NO_ZONE
    status[live[~known]] = Reason.unknown_cell
    live = live[known]
    bits = context.registry.get(events.imsi[live])
    drop = refusals(events.imsi[live], bits, _ages(bits, events.ts[live], context), context.policies)
    asked = asked_of(context)[context.epochs.find_index(events.ts[live])]
    drop = np.where((drop == 0) & ~asked, np.uint8(1 + DROPS.index("no_consent")), drop)
    dropped |= {name: int(np.count_nonzero(drop == n + 1)) for n, name in enumerate(DROPS)}
    machine = (drop == 0) & context.machines.has(events.tac[live])
    dropped["machine"] = int(np.count_nonzero(machine))
    live, bits = live[(drop == 0) & ~machine], bits[(drop == 0) & ~machine]
    epochs = context.epochs.find_index(events.ts[live])
    gone = np.array([epoch.epoch in context.gone for epoch in context.epochs.epochs] + [False], np.bool_)[epochs]
    status[live[gone]] = Reason.salt_gone
    live, bits, epochs = live[~gone], bits[~gone], epochs[~gone]
    refused = np.flatnonzero(status > Reason.BEAT)
    rows = _rows(records, events, live, bits, epochs, context)
    counts = {name: number for name, number in dropped.items() if number}
    return rows._replace(rejected=(refused, status[refused]), dropped=counts, running_max=after)


def _reasons(
    records: Records,
    events: Events,
    live: NDArray[np.int64],
    highest: NDArray[np.int64],
    before: int,
    context: Context,
) -> NDArray[np.uint8]:
    """Why each live event is refused by its time, or OK."""
    record, ts = events.record[live], events.ts[live]
    late = (ts < highest[record] - context.late_ms(before)) | (ts < context.from_ms(before))
    return np.select(
        [ts > records.time[record] + AHEAD_MS, late],
        [np.uint8(Reason.clock_error), np.uint8(Reason.too_late)],
        np.uint8(Reason.OK),
    )


def _zones(events: Events, live: NDArray[np.int64], context: Context) -> NDArray[np.uint16]:
    """The zone of each live event, by the plan of its epoch."""
    epochs = context.epochs.find_index(events.ts[live])
    zones = np.empty(len(live), np.uint16)
    for number in np.unique(epochs).tolist():
        inside = epochs == number
        zones[inside] = context.cells.zones(events.cell[live[inside]], context.epochs.epochs[number].plan)
    return zones


def refusals(
    imsi: NDArray[np.uint64], bits: NDArray[np.uint32], ages: NDArray[np.int64], policies: PolicyTable
) -> NDArray[np.uint8]:
    """What `standing.refusals` gives, for ages in whole years, 0 if unknown."""
    rules = policies.rules.by_mcc[mccs(imsi)]
    foreign = ((rules & ALLOWED) == 0) | (((rules & ROAMERS) == 0) & ~_at_home(imsi, policies.home))
    consent = (bits >> np.uint32(CONSENT_SHIFT + 2 * policies.rules.purpose)) & np.uint32(3)
    granted = np.where((rules & OPT_OUT_BASIS) != 0, consent != REFUSED, consent == GRANTED)
    minimum = policies.rules.minimum_age[mccs(imsi)]
    young = (minimum > 0) & (ages < minimum)
    return np.select(
        [
            *(foreign, (bits & np.uint32(RECORD)) == 0, (bits & np.uint32(OPTED_OUT)) != 0, young, ~granted),
            (bits & np.uint32(MACHINE)) != 0,
        ],
        [np.uint8(n + 1) for n in range(len(DROPS))],
        np.uint8(0),
    )


def mccs(imsis: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The country code of each packed IMSI."""
    long = (imsis & np.uint64(LONG_IMSI)) != 0
    digits = (imsis & np.uint64(LONG_IMSI - 1)).astype(np.int64)
    return np.asarray(np.where(long, digits // 10**12, digits // 10**11), np.int64)


def _at_home(imsis: NDArray[np.uint64], home: Sequence[str]) -> NDArray[np.bool_]:
    long = (imsis & np.uint64(LONG_IMSI)) != 0
    digits = (imsis & np.uint64(LONG_IMSI - 1)).astype(np.int64)
    found = np.zeros(len(imsis), np.bool_)
    for prefix in home:
        more = 15 - len(prefix)
        found |= np.where(long, digits // 10**more, digits // 10 ** (more - 1)) == int(prefix)
    return found


def _ages(bits: NDArray[np.uint32], ts: NDArray[np.int64], context: Context) -> NDArray[np.int64]:
    """Whole years by the year of birth, in the year in which the event's epoch begins; 0 if unknown."""
    years = np.array([epoch.epoch // 10_000 for epoch in context.epochs.epochs] + [0], np.int64)
    return ages_in(bits, years[context.epochs.find_index(ts)])


def ages_in(bits: NDArray[np.uint32], year: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Whole years that subscribers reach in a year, by their bits in the registry; 0 if unknown."""
    born = (bits & np.uint32(0xFF)).astype(np.int64)
    return np.where(born > 0, np.clip(year - (born + FIRST_YEAR - 1), 0, 255), 0)


def _missing(events: Events, live: NDArray[np.int64], epochs: NDArray[np.int64], context: Context) -> int | None:
    """An event time whose epoch, salt or plan isn't there."""
    if (epochs < 0).any():
        return int(events.ts[live][epochs < 0].min())
    for number in np.unique(epochs).tolist():
        epoch = context.epochs.epochs[number]
        lacking = epoch.epoch not in context.salts or context.cells.span(epoch.plan) is None
        if lacking and epoch.epoch not in context.gone:
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
    zone = _zones(events, live, context)
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
