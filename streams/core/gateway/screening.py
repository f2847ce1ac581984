"""The compiled loop of `gateway.screen`: every check on every event, each event's columns read once.

In: a batch in columns, and what decides as arrays. Out: the rows to count, grouped by target partition; why others
are refused (written to `status`); how many were dropped, and which epochs or salts are missing. Nothing can fail.

It goes over the batch in blocks that fit the nearest cache. In each block one step follows the other, over those that
are still left: so a step that asks a table asks for many keys in a row, and the waits for memory overlap; and hashing
takes several subscribers at a time. What is left in the end waits, with its target, for the last step, which puts
it into order by counting.
"""

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from schemas.attach import AHEAD_MS, DETACH
from schemas.cohorts import GENDERS, age_band
from schemas.plan import NO_ZONE
from schemas.rejects import Reason
from streams.core.compiled.borrowed import borrowed
from streams.core.compiled.lookup import find, find_all
from streams.core.gateway.policy import SUSPENDED, Rules
from streams.core.gateway.pseudonyms import hash_text, target_of, write_text
from streams.core.gateway.registry import GENDER_SHIFT
from streams.core.gateway.standing import DROPS, OLDEST, age, country, refusal
from streams.core.gateway.zones import EXCLUDED

BLOCK: Final = 512
NEVER_MISSED: Final = 1 << 62
# Places in `Told.counts`: what was dropped, suspended first, then as in DROPS, then machines; and how many are refused.
NO_CONSENT: Final = 1 + DROPS.index("no_consent")
MACHINE: Final = 1 + len(DROPS)
REFUSED: Final = 1 + MACHINE
# Of an epoch's salt.
THERE, GONE, MISSING = 0, 1, 2

_OK, _BEAT = int(Reason.OK), int(Reason.BEAT)
_UNKNOWN_CELL, _TOO_LATE = int(Reason.unknown_cell), int(Reason.too_late)
_CLOCK_ERROR, _SALT_GONE = int(Reason.clock_error), int(Reason.salt_gone)
_COHORT_BY_AGE = np.array([age_band(age) * len(GENDERS) for age in range(OLDEST + 1)], np.uint8)


class Batch(NamedTuple):
    """Records, `offset` and `time` (ms) i64[n]; and their events, in the order of (record, index), as in
    `decode.Events`."""

    offset: NDArray[np.int64]
    time: NDArray[np.int64]
    record: NDArray[np.int32]
    index: NDArray[np.uint32]  # type: ignore[assignment]  # hides tuple.index: the contract's word
    imsi: NDArray[np.uint64]
    ts: NDArray[np.int64]
    cell: NDArray[np.uint64]
    kind: NDArray[np.uint8]
    tac: NDArray[np.uint32]


class Tables(NamedTuple):
    """What decides. `registry`, `machines`: a `Lookup`'s lines; `cells`: the same for one plan after the other. For
    each epoch, in the order of time: `plan` i64[epochs, 2], from where to where its plan's cells are; `starts`, `ends`
    i64 (ms), `year` i64, `asked` bool (whether the rules ask for consent to its purpose), `salt` u8 (THERE, GONE or
    MISSING), `states` u64[epochs, 8], where the salt is there."""

    registry: NDArray[np.uint64]
    cells: NDArray[np.uint64]
    plan: NDArray[np.int64]
    machines: NDArray[np.uint64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    year: NDArray[np.int64]
    asked: NDArray[np.bool_]
    salt: NDArray[np.uint8]
    states: NDArray[np.uint64]
    opens_ms: int
    lateness_ms: int
    partitions: int
    any_machines: bool


class Told(NamedTuple):
    """Written by the loop. `counts` i64[REFUSED + 1]. `missing` i64[epochs + 1] (ms): the earliest event of each epoch
    whose salt is missing, and last the earliest that is in no epoch, else NEVER_MISSED. `mark` i64[2]: the running
    maximum of record times up to the record `mark[1]`, exclusive."""

    counts: NDArray[np.int64]
    missing: NDArray[np.int64]
    mark: NDArray[np.int64]


class _Left(NamedTuple):
    """Those of a block that are still left: their rows, and what has been found out of them; and memory to work in."""

    row: NDArray[np.int64]
    zone: NDArray[np.uint16]
    epoch: NDArray[np.int64]
    bits: NDArray[np.uint32]
    imsi: NDArray[np.uint64]
    first: NDArray[np.uint64]
    second: NDArray[np.uint64]
    cohort: NDArray[np.uint8]
    elsewhere: NDArray[np.int64]


class _Kept(NamedTuple):
    """All that are to be counted, in the order of the batch."""

    row: NDArray[np.int64]
    who: NDArray[np.uint64]
    target: NDArray[np.uint16]
    zone: NDArray[np.uint16]
    cohort: NDArray[np.uint8]


@njit(cache=True, nogil=True)
def screen_rows(batch: Batch, rules: Rules, tables: Tables, status, told: Told):  # type: ignore[no-untyped-def]
    """Screen a batch; `status` u8[events] is changed. Returns the columns of `gateway.Screened` up to `starts`."""
    batch, rules, tables, told = borrowed(batch), borrowed(rules), borrowed(tables), borrowed(told)
    rows = len(status)
    kept = _Kept(
        np.empty(rows, np.int64),
        np.empty(rows, np.uint64),
        np.empty(rows, np.uint16),
        np.empty(rows, np.uint16),
        np.empty(rows, np.uint8),
    )
    left = _Left(
        np.empty(BLOCK, np.int64),
        np.empty(BLOCK, np.uint16),
        np.empty(BLOCK, np.int64),
        np.empty(BLOCK, np.uint32),
        np.empty(BLOCK, np.uint64),
        np.empty(BLOCK, np.uint64),
        np.empty(BLOCK, np.uint64),
        np.empty(BLOCK, np.uint8),
        np.empty(BLOCK, np.int64),
    )
    number = 0
    for begin in range(0, rows, BLOCK):
        remaining = _in_time(batch, begin, min(begin + BLOCK, rows), rules, tables, status, told, left)
        remaining = _dated(batch, remaining, tables, told, left)
        remaining = _placed(batch, remaining, tables, status, told, left)
        remaining = _allowed(batch, remaining, rules, tables, status, told, left)
        number = _named(remaining, number, tables, left, kept)
    _advance(batch, len(batch.time), told)
    return _grouped(batch, number, tables.partitions, kept)


@njit(cache=True, nogil=True, forceinline=True)
def _advance(batch, record, told):  # type: ignore[no-untyped-def]
    """Take the records before `record` into the running maximum of record times."""
    for at in range(told.mark[1], record):
        told.mark[0] = max(told.mark[0], batch.time[at])
    told.mark[1] = max(told.mark[1], record)


@njit(cache=True, nogil=True)
def _in_time(batch, begin, end, rules, tables, status, told, left):  # type: ignore[no-untyped-def]
    """Those of a country that isn't suspended, by a clock that isn't wrong, and not too late."""
    number = 0
    for row in range(begin, end):
        if status[row] != _OK:
            told.counts[REFUSED] += status[row] > _BEAT
            continue
        if rules.by_mcc[country(batch.imsi[row])] & SUSPENDED:
            told.counts[0] += 1
            continue
        record, ts = batch.record[row], batch.ts[row]
        _advance(batch, record + 1, told)
        if ts > batch.time[record] + AHEAD_MS:
            status[row] = _CLOCK_ERROR
        elif ts < told.mark[0] - tables.lateness_ms or ts < tables.opens_ms:
            status[row] = _TOO_LATE
        else:
            left.row[number] = row
            number += 1
            continue
        told.counts[REFUSED] += 1
    return number


@njit(cache=True, nogil=True)
def _placed(batch, remaining, tables, status, told, left):  # type: ignore[no-untyped-def]
    """Those in a cell that their epoch's plan knows, with its zone. Of an epoch that is gone the plan may be, too."""
    batch, tables, told, left = borrowed(batch), borrowed(tables), borrowed(told), borrowed(left)
    number, begin = 0, 0
    while begin < remaining:
        epoch = left.epoch[begin]
        cells = tables.cells[tables.plan[epoch, 0] : tables.plan[epoch, 1]]
        while begin < remaining and left.epoch[begin] == epoch:
            row = left.row[begin]
            zone = find(cells, batch.cell[row], NO_ZONE) if len(cells) else NO_ZONE
            if zone == NO_ZONE:
                status[row] = _UNKNOWN_CELL
                told.counts[REFUSED] += 1
            else:
                left.row[number] = row
                left.zone[number] = zone
                left.epoch[number] = epoch
                number += 1
            begin += 1
    return number


@njit(cache=True, nogil=True)
def _dated(batch, remaining, tables, told, left):  # type: ignore[no-untyped-def]
    """Those in an epoch whose salt isn't missing, with the epoch's place."""
    number = 0
    epoch = 0
    for i in range(remaining):
        ts = batch.ts[left.row[i]]
        if epoch >= len(tables.starts) or not tables.starts[epoch] <= ts < tables.ends[epoch]:
            epoch = 0
            while epoch < len(tables.starts) and not tables.starts[epoch] <= ts < tables.ends[epoch]:
                epoch += 1
        if epoch == len(tables.starts) or tables.salt[epoch] == MISSING:
            told.missing[epoch] = min(told.missing[epoch], ts)
            continue
        left.row[number] = left.row[i]
        left.epoch[number] = epoch
        number += 1
    return number


@njit(cache=True, nogil=True)
def _allowed(batch, remaining, rules, tables, status, told, left):  # type: ignore[no-untyped-def]
    """Those who may be used, under a salt that is there, with their cohort."""
    batch, rules, tables, left = borrowed(batch), borrowed(rules), borrowed(tables), borrowed(left)
    for i in range(remaining):
        left.imsi[i] = batch.imsi[left.row[i]]
    find_all(tables.registry, left.imsi[:remaining], 0, left.bits[:remaining], left.elsewhere)
    number = 0
    for i in range(remaining):
        bits, epoch = left.bits[i], left.epoch[i]
        years = age(bits, tables.year[epoch])
        refused = refusal(left.imsi[i], bits, years, rules)
        if refused == 0 and not tables.asked[epoch]:
            refused = NO_CONSENT
        if tables.any_machines and refused == 0:
            tac = np.uint64(batch.tac[left.row[i]])
            refused = MACHINE if tac != 0 and find(tables.machines, tac, 0) != 0 else 0
        gone = refused == 0 and tables.salt[epoch] == GONE
        if gone:
            status[left.row[i]] = _SALT_GONE
        told.counts[REFUSED] += gone
        told.counts[refused] += refused != 0
        left.row[number] = left.row[i]
        left.zone[number] = left.zone[i]
        left.epoch[number] = epoch
        left.imsi[number] = left.imsi[i]
        left.cohort[number] = _COHORT_BY_AGE[years] + np.uint8((bits >> np.uint32(GENDER_SHIFT)) & np.uint32(3))
        number += refused == 0 and not gone
    return number


@njit(cache=True, nogil=True)
def _named(remaining, number, tables, left, kept):  # type: ignore[no-untyped-def]
    """Adds them to what is kept, under their epoch's pseudonyms. Returns how many there are by now."""
    tables, left, kept = borrowed(tables), borrowed(left), borrowed(kept)
    write_text(left.imsi[:remaining], left.first, left.second)
    begin = 0
    while begin < remaining:
        end = begin + 1
        while end < remaining and left.epoch[end] == left.epoch[begin]:
            end += 1
        state = tables.states[left.epoch[begin]]
        hash_text(state, left.first[begin:end], left.second[begin:end], kept.who[number + begin : number + end])
        begin = end
    for i in range(remaining):
        kept.row[number + i] = left.row[i]
        kept.target[number + i] = target_of(kept.who[number + i], tables.partitions)
        kept.zone[number + i] = left.zone[i]
        kept.cohort[number + i] = left.cohort[i]
    return number + remaining


@njit(cache=True, nogil=True)
def _grouped(batch, number, partitions, kept):  # type: ignore[no-untyped-def]
    """The columns of what is kept, by target, else in the order of the batch: sorted by counting."""
    batch, kept = borrowed(batch), borrowed(kept)
    starts = np.zeros(partitions + 1, np.int64)
    for i in range(number):
        starts[kept.target[i] + 1] += 1
    starts = np.cumsum(starts)
    places = starts.copy()
    who, ts, offset = np.empty(number, np.uint64), np.empty(number, np.int64), np.empty(number, np.int64)
    index, zone = np.empty(number, np.uint32), np.empty(number, np.uint16)
    cohort, kind = np.empty(number, np.uint8), np.empty(number, np.uint8)
    for i in range(number):
        row, target = kept.row[i], kept.target[i]
        at = places[target]
        places[target] += 1
        # Where nobody may be counted a phone is as if switched off: its presence elsewhere ends.
        excluded = kept.zone[i] == EXCLUDED
        who[at] = kept.who[i]
        ts[at] = batch.ts[row]
        offset[at] = batch.offset[batch.record[row]]
        index[at] = batch.index[row]
        zone[at] = 0 if excluded else kept.zone[i]
        cohort[at] = kept.cohort[i]
        kind[at] = DETACH if excluded else batch.kind[row]
    return who, ts, offset, index, zone, cohort, kind, starts
