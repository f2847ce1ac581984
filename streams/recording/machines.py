"""The evidence of machines' behaviour, from a recording or from Kafka while it comes in.

In: raw events. Out: `core.behaviour.Evidence` of whole days; no event is kept. Devices whose TAC is in the operator's
list are left out: they are dropped already. What can fail: a recording that doesn't hold so many days.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.rejects import Reason
from schemas.topics import ATTACH
from streams.core.events.behaviour import DAY_MS, Evidence
from streams.core.events.decode import decode
from streams.core.events.machines import MachineTable
from streams.errors import ThrongError
from streams.recording.columns import records_of
from streams.recording.file import Reader

STEP_MS = 600_000


class _Events(NamedTuple):
    imsi: NDArray[np.uint64]
    ts: NDArray[np.int64]
    kind: NDArray[np.uint8]


class Watching:
    """Takes records of `attach` as they are read (`capture.Sink`).

    Attributes:
        last_ms: the latest record time that had more than a beat.
    """

    def __init__(self, evidence: Evidence, machines: MachineTable, max_record_bytes: int) -> None:
        self.evidence = evidence
        self._machines = machines
        self._max_record_bytes = max_record_bytes
        self.last_ms = 0

    def write(self, topic: str, partition: int, table: pa.Table) -> None:
        """Take the next records of a partition."""
        self.add([table])

    def add(self, tables: list[pa.Table]) -> None:
        """Take records of several partitions, of the same stretch of time."""
        parts = [self._events(table) for table in tables]
        imsi = np.concatenate([part.imsi for part in parts])
        ts = np.concatenate([part.ts for part in parts])
        self.evidence.add(imsi, ts, np.concatenate([part.kind for part in parts]))

    def _events(self, table: pa.Table) -> "_Events":
        records = records_of(table)
        events = decode(records, self._max_record_bytes)
        heard = records.time[events.record[events.status != Reason.BEAT]]
        self.last_ms = max(self.last_ms, int(heard.max(initial=0)))
        kept = (events.status == Reason.OK) & ~self._machines.has(events.tac)
        return _Events(events.imsi[kept], events.ts[kept], events.kind[kept])


def first_ms(reader: Reader, days: int) -> int:
    """When a recording begins.

    Raises:
        ThrongError: `recording` if it has no raw events, or not of so many days.
    """
    if ATTACH not in reader.about.topics:
        raise ThrongError("recording", f"{reader.path} holds no raw events: record the topic attach")
    first, last = reader.span({ATTACH})
    _refuse_short(reader, first, last, days)
    return first


def _refuse_short(reader: Reader, first_ms: int, last_ms: int, days: int) -> None:
    if last_ms - first_ms < days * DAY_MS - STEP_MS:
        held = (last_ms - first_ms) / DAY_MS
        raise ThrongError("recording", f"{reader.path} holds {held:.2f} days of events: {days} whole ones are needed")


def watch(reader: Reader, watching: Watching) -> None:
    """Take a recording's events, in the order of time."""
    evidence = watching.evidence
    for _, runs in reader.slices(STEP_MS, {ATTACH}, evidence.start_ms, evidence.end_ms + STEP_MS):
        watching.add([run.table for run in runs])


def refuse_beats(reader: Reader, watching: Watching) -> None:
    """Refuse what was watched if its last days are of beats alone: those that end an import are later than its events.

    Raises:
        ThrongError: `recording`.
    """
    _refuse_short(reader, watching.evidence.start_ms, watching.last_ms, watching.evidence.days)
