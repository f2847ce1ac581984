"""What a run counted: exact panes, summed over partitions, with a digest, as a table, Parquet or DuckDB. Internal data.

Two runs over the same events count the same, whatever their partitions, workers and speed, so their digests are equal.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.cohorts import COHORTS, cohort_name
from schemas.epochs import Epoch
from schemas.lengths import BUCKETS, TRAVEL_TIMES, VISITS
from schemas.measures import AREAS, PAIRED, PARTS, Measure
from schemas.panes import Pane
from schemas.plan import Plan
from streams.core.release.sums import Counted, Sums, occurring
from streams.errors import ThrongError
from streams.owned import owned

Key = tuple[int, int, str]


class PaneTable:
    """Whole panes of a run, without what was shut in them. `counts`: by (epoch, pane end in ms, measure)."""

    def __init__(self, epochs: Sequence[Epoch]) -> None:
        self._sums = Sums()
        self._sums.begin_anywhere()  # a topic may have lost its oldest panes
        self._offset = 0
        self.epochs = {epoch.epoch: epoch for epoch in epochs}
        self.counts: dict[Key, Counted] = {}
        self.panes = 0

    def add(self, panes: Iterable[Pane]) -> None:
        """Take panes as they come.

        Raises:
            PaneDiffers: one repeats another without being equal.
        """
        for pane in panes:
            self._sums.add(pane, self._offset, self.epochs[pane.epoch])
            self._offset += 1
        while (whole := self._sums.first_whole()) is not None:
            self._sums.drop(whole)
            self.panes += 1
            self.counts |= {
                (whole.epoch.epoch, whole.end_ms, name): vector
                for name, vector in whole.counts.items()
                if name not in whole.shut
            }

    def digest(self) -> str:
        """32 hex digits over all counts above zero."""
        hashed = hashlib.blake2b(digest_size=16)
        for (epoch, end_ms, name), vector in sorted(self.counts.items()):
            keys, counts = occurring(vector)
            hashed.update(f"{epoch} {end_ms} {name} {len(keys)}\n".encode())
            hashed.update(keys.astype("<i8").tobytes() + counts.astype("<i8").tobytes())
        return hashed.hexdigest()

    def rows(self, plan: Plan) -> pa.Table:
        """One row a count above zero, with the places' ids."""
        found: dict[str, list[object]] = {name: [] for name in ("epoch", "end", "measure", *PLACES, "count")}
        for (epoch, end_ms, name), vector in sorted(self.counts.items()):
            measure = next(m for m in self.epochs[epoch].measures if m.name == name)
            for key, count in zip(*(column.tolist() for column in occurring(vector)), strict=True):
                row = {"epoch": epoch, "end": end_ms, "measure": name, "count": count}
                row |= dict(zip(PLACES, places_of(measure, key, plan), strict=True))
                for column, value in row.items():
                    found[column].append(value)
        return pa.table(found, schema=ROWS)


PLACES = ("place", "destination", "age_band", "gender", "part")
ROWS = pa.schema(
    [("epoch", pa.int32()), ("end", pa.timestamp("ms", "UTC")), ("measure", pa.string())]
    + [(name, pa.string()) for name in PLACES]
    + [("count", pa.int64())]
)
# The part of visitors whose area isn't known: no place's id is empty.
NOT_KNOWN = ""
# What runs are written to.
ENDINGS = (".parquet", ".duckdb")
# What names a count.
KEYS = tuple(name for name in ROWS.names if name != "count")


def places_of(measure: Measure, key: int, plan: Plan) -> tuple[str, str | None, str | None, str | None, str | None]:
    """(place, destination, age band, gender, part) that a key stands for; None where there is none. A part is a length,
    a time, a visit or an area."""
    ids = [zone.id for zone in plan.zones] if measure.level == "zone" else [parent.id for parent in plan.parents]
    if measure.statistic in PAIRED:
        pair, part = divmod(key, measure.parts(len(plan.parents)))
        band = TRAVEL_TIMES[part].name if measure.statistic == "travel_times_by_pair" else None
        return ids[pair // len(ids)], ids[pair % len(ids)], None, None, band
    if measure.statistic == "present_cohort":
        return ids[key // COHORTS], None, *cohort_name(key % COHORTS), None
    if measure.statistic in AREAS:
        place, area = divmod(key, measure.parts(len(plan.parents)))
        return ids[place], None, None, None, plan.parents[area].id if area < len(plan.parents) else NOT_KNOWN
    if measure.statistic == "visits":
        return ids[key // len(VISITS)], None, None, None, VISITS[key % len(VISITS)]
    if (parts := PARTS.get(measure.statistic)) is not None:
        lengths = TRAVEL_TIMES if measure.statistic == "travel_times" else BUCKETS
        return ids[key // parts], None, None, None, lengths[key % parts].name
    return ids[key], None, None, None, None


def save(table: pa.Table, path: Path) -> None:
    """To Parquet, or to the table `panes` of a DuckDB file (*.duckdb).

    Raises:
        ThrongError: `recording` if it can't be written.
    """
    try:
        if path.suffix == ".duckdb":
            _save_to_duckdb(table, path)
        else:
            pq.write_table(table, owned(path), compression="zstd")
    except OSError as error:
        raise ThrongError("recording", f"cannot write {path}: {error.strerror or error}") from error


def _save_to_duckdb(table: pa.Table, path: Path) -> None:
    import duckdb  # only where it is asked for: it takes a moment to load

    there = path.exists()
    try:
        with duckdb.connect(str(path)) as database:
            if not there:
                path.chmod(0o600)  # as `owned`, of which DuckDB takes no file: an empty one is none of its own
            database.register("counted", table)
            database.execute("CREATE OR REPLACE TABLE panes AS SELECT * FROM counted")
    except duckdb.Error as error:
        if not there:
            path.unlink(missing_ok=True)  # begun, and of no use
        # What is there already may be another kind of file, or held by another process.
        raise OSError(str(error).splitlines()[0]) from error


def differences(one: pa.Table, other: pa.Table) -> Iterator[tuple[Mapping[str, object], int, int]]:
    """Rows (without their count) whose counts differ, in the order of time: (row, count of one, count of other)."""

    def read(table: pa.Table) -> dict[tuple[object, ...], int]:
        columns = [table[name].to_pylist() for name in KEYS]
        return dict(zip(zip(*columns, strict=True), table["count"].to_pylist(), strict=True))

    first, second = read(one), read(other)
    order = {name: KEYS.index(name) for name in ("end", "measure")}
    for key in sorted(first.keys() | second.keys(), key=lambda k: (k[order["end"]], k[order["measure"]], str(k))):
        if first.get(key, 0) != second.get(key, 0):
            yield dict(zip(KEYS, key, strict=True)), first.get(key, 0), second.get(key, 0)


class Reach(NamedTuple):
    """From which pane's end to which one a run counted something."""

    first: datetime
    last: datetime


def reach(table: pa.Table) -> Reach | None:
    """Where the panes begin and end; None if there are none."""
    ends = pc.min_max(table["end"]).as_py()
    return None if ends["min"] is None else Reach(ends["min"], ends["max"])


def lacks(one: Reach | None, other: Reach | None, name: str) -> Iterator[str]:
    """What panes the run `name`, which reaches `one`, doesn't have beside the other: a sentence for each end."""
    if other is None:
        return
    if one is None:
        yield f"{name} has no pane at all"
        return
    if other.first < one.first:
        yield f"{name} has no pane before {one.first:%Y-%m-%dT%H:%M:%SZ}: its run begins there"
    if other.last > one.last:
        yield f"{name} has no pane after {one.last:%Y-%m-%dT%H:%M:%SZ}: its run ends there"


def within(table: pa.Table, one: Reach | None, other: Reach | None) -> pa.Table:
    """The panes that both runs reach."""
    if one is None or other is None:
        return table.slice(0, 0)
    kind = table.schema.field("end").type
    first, last = (pa.scalar(end, kind) for end in (max(one.first, other.first), min(one.last, other.last)))
    return table.filter(pc.and_(pc.greater_equal(table["end"], first), pc.less_equal(table["end"], last)))
