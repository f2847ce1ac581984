"""What an embedded run saw and whom it counted, for `throng diff`: pseudonymous rows. For developers, on synthetic or
their own data.

Two files beside the panes: `NAME.sightings.parquet`, a row a sighting, with where in the raw log it stands; and
`NAME.counted.parquet`, a row for each count of each subscriber. Counts add up over subscribers, each of whom is
counted by their own sightings alone: so each goes through a crowd of their own, and the rows add up to the panes. That
costs about a millisecond a subscriber and hour.

The pseudonyms of an embedded run are made under a salt that is the same in every run and is no secret, so that two
runs can be compared: whoever has the file can find out whose rows they are. Those of a deployment are its own.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from schemas.attach import KINDS
from schemas.cohorts import cohort_name
from schemas.epochs import Epoch
from schemas.panes import pairs
from schemas.plan import Plan
from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from streams.core.distances import positions_of
from streams.core.gateway.gateway import Screened
from streams.errors import ThrongError
from streams.owned import owned
from streams.recording.panes import ROWS, places_of

KNOWN_SALT: Final = b"throng diff: known to everybody.".ljust(32, b".")

SIGHTINGS: Final = pa.schema(
    [
        ("subscriber", pa.string()),
        ("ts", pa.timestamp("ms", "UTC")),
        ("kind", pa.string()),
        ("zone", pa.string()),
        ("age_band", pa.string()),
        ("gender", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("index", pa.int32()),
    ]
)
COUNTED: Final = pa.schema([("subscriber", pa.string()), *ROWS])
_COLUMNS: Final = ("pseudonym", "ts", "zone", "cohort", "kind", "source", "offset", "index")


class Seen:
    """Collects the rows of a run."""

    def __init__(self) -> None:
        self._parts: list[tuple[NDArray[np.generic], ...]] = []

    def add(self, source: int, offsets: NDArray[np.int64], screened: Screened) -> None:
        """Take up screened rows of a source; `offsets`: where each stood in its log, as recorded."""
        rows = len(screened.ts)
        self._parts.append(
            (
                *(screened.pseudonym, screened.ts, screened.zone, screened.cohort, screened.kind),
                *(np.full(rows, source, np.int32), offsets, screened.index),
            )
        )

    def add_section(self, section: Section, first: int) -> None:
        """Take up a section's rows from offset `first` on."""
        keep = slice(int(np.searchsorted(section.offset, first)), None)
        rows = (section.pseudonym, section.ts, section.zone, section.cohort, section.kind)
        source = np.full(len(section.ts), section.source, np.int32)
        self._parts.append(tuple(column[keep] for column in (*rows, source, section.offset, section.index)))

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """All rows, by subscriber and within each in the order in which they are counted."""
        empty = tuple(np.empty(0, kind) for kind in ("u8", "i8", "u2", "u1", "u1", "i4", "i8", "u4"))
        found = dict(zip(_COLUMNS, (np.concatenate(c) for c in zip(empty, *self._parts, strict=True)), strict=True))
        order = np.lexsort([found[name] for name in ("index", "offset", "source", "ts", "pseudonym")])
        return {name: column[order] for name, column in found.items()}


def sightings_table(columns: dict[str, NDArray[np.generic]], plan: Plan) -> pa.Table:
    """The rows with names in place of numbers."""
    zones = np.array([zone.id for zone in plan.zones], object)[columns["zone"]]
    cohorts = [cohort_name(code) for code in columns["cohort"].tolist()]
    return pa.table(
        [
            pa.array([_name(number) for number in columns["pseudonym"].tolist()], pa.string()),
            pa.array(columns["ts"].astype(np.int64)).cast(pa.timestamp("ms", "UTC")),
            pa.array([_kind(code) for code in columns["kind"].tolist()], pa.string()),
            pa.array(zones.tolist(), pa.string()),
            pa.array([band for band, _ in cohorts], pa.string()),
            pa.array([gender for _, gender in cohorts], pa.string()),
            *(pa.array(columns[name].astype(np.int64)) for name in ("source", "offset", "index")),
        ],
        names=SIGHTINGS.names,
    ).cast(SIGHTINGS)


def counted_table(
    columns: dict[str, NDArray[np.generic]], epochs: Sequence[Epoch], watermark_ms: int, plan: Plan
) -> pa.Table:
    """Who is in which count: what each subscriber alone adds to the panes up to the watermark."""
    found: dict[str, list[object]] = {name: [] for name in COUNTED.names}
    parents, positions = np.array(plan.zone_parents(), np.uint16), positions_of(plan)
    measures = {(epoch.epoch, measure.name): measure for epoch in epochs for measure in epoch.measures}
    for number, rows in _by_subscriber(columns):
        crowd = Crowd(0, parents, positions)
        for epoch in epochs:
            crowd.add_epoch(epoch)
        crowd.feed(encode_control(1, [0]), 0)
        for pane in crowd.feed(encode_frame([_section(columns, rows, watermark_ms)]), 1):
            for name, counts in pane.counts.items():
                for key, count in zip(*(part.tolist() for part in pairs(counts)), strict=True):
                    places = places_of(measures[pane.epoch, name], key, plan)
                    values = (_name(number), pane.epoch, pane.end_ms, name, *places, count)
                    for column, value in zip(COUNTED.names, values, strict=True):
                        found[column].append(value)
    return pa.table(found, schema=COUNTED)


def beside(panes: Path, what: str) -> Path:
    """The file of `what` (sightings, counted) that belongs to a file of panes."""
    return panes.with_name(f"{panes.stem}.{what}.parquet")


def save_seen(panes_file: Path, seen: Seen, epochs: Sequence[Epoch], watermark_ms: int, plan: Plan) -> None:
    """Write both files of a run that counted up to the watermark.

    Raises:
        ThrongError: `recording` if they can't be written.
    """
    columns = seen.columns()
    counted = counted_table(columns, epochs, watermark_ms, plan)
    for what, table in (("sightings", sightings_table(columns, plan)), ("counted", counted)):
        path = beside(panes_file, what)
        try:
            pq.write_table(table, owned(path), compression="zstd")
        except OSError as error:
            raise ThrongError("recording", f"cannot write {path}: {error.strerror or error}") from error


def _by_subscriber(columns: dict[str, NDArray[np.generic]]) -> Iterator[tuple[int, slice]]:
    who = columns["pseudonym"]
    firsts = np.flatnonzero(np.concatenate([[True], who[1:] != who[:-1]])) if len(who) else np.empty(0, np.int64)
    for first, stop in zip(firsts.tolist(), [*firsts[1:].tolist(), len(who)], strict=True):
        yield int(who[first]), slice(first, stop)


def _section(columns: dict[str, NDArray[np.generic]], rows: slice, watermark_ms: int) -> Section:
    number = rows.stop - rows.start
    return Section(
        source=0,
        flags=0,
        from_=0,
        to=number,
        watermark_ms=watermark_ms,
        pseudonym=columns["pseudonym"][rows].astype(np.uint64),
        ts=columns["ts"][rows].astype(np.int64),
        offset=np.arange(number),
        index=np.zeros(number, np.uint32),
        zone=columns["zone"][rows].astype(np.uint16),
        cohort=columns["cohort"][rows].astype(np.uint8),
        kind=columns["kind"][rows].astype(np.uint8),
    )


def _kind(code: int) -> str:
    """An event's kind; a deployment's frames may also hold rows that are no events."""
    return KINDS[code] if code < len(KINDS) else f"kind {code}"


def _name(pseudonym: int) -> str:
    return f"{pseudonym:016x}"
