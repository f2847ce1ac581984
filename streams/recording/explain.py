"""Why two runs counted differently: from the first count that differs to the sightings behind it.

In: both runs' panes, sightings and counts by subscriber (`sightings`). Out: for the first differing count the
subscribers who are in it in one run and not in the other, and how their sightings up to that pane's end differ: which
are in one run only, or come in another order. If a subscriber's are the same, it is the rules that count otherwise,
and the sightings are listed as they are.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from streams.errors import ThrongError
from streams.recording.panes import KEYS, differences
from streams.recording.sightings import COUNTED, SIGHTINGS, beside

SUBSCRIBERS_SHOWN = 5
SAME_SHOWN = 12


class Run(NamedTuple):
    """What a run wrote. `sightings` and `counted` are None if it was not asked to."""

    panes: pa.Table
    sightings: pa.Table | None
    counted: pa.Table | None


class Sighting(NamedTuple):
    """One row. `said`: what is counted by it; `where`: partition, offset, index in the raw log."""

    ts: datetime
    said: tuple[str, str, str, str]
    where: tuple[int, int, int]

    def __str__(self) -> str:
        kind, zone, band, gender = self.said
        partition, offset, index = self.where
        return (
            f"{self.ts:%H:%M:%S}.{self.ts.microsecond // 1000:03d} {kind} {zone} ({band}, {gender}): "
            f"partition {partition}, offset {offset}, index {index}"
        )


class Cause(NamedTuple):
    """A subscriber who is `one` times in a count of the first run and `other` times in the second's.

    `changes`: (what of it, sighting), in the order of time; empty if both runs have the `same` sightings.
    """

    subscriber: str
    one: int
    other: int
    changes: list[tuple[str, Sighting]]
    same: list[Sighting]


def read_run(path: Path) -> Run:
    """A run's panes from Parquet or DuckDB, and what stands beside them.

    Raises:
        ThrongError: `recording` if the file holds no panes.
    """
    return Run(_read_panes(path), _read(beside(path, "sightings"), SIGHTINGS), _read(beside(path, "counted"), COUNTED))


def explained(one: Run, other: Run, names: tuple[str, str]) -> Iterator[str]:
    """The lines that explain the first difference; none if nothing differs or nobody kept the sightings."""
    first = next(differences(one.panes, other.panes), None)
    if first is None or one.sightings is None or other.sightings is None:
        return
    found = list(causes(one, aligned(one, other), first[0]))
    if not found:
        yield "no subscriber is in it in one run and not in the other: was it counted with other panes or measures?"
        return
    yield f"{len(found)} subscriber{'s' if len(found) > 1 else ''} counted differently there:"
    for cause in found[:SUBSCRIBERS_SHOWN]:
        yield f"  {cause.subscriber}: {cause.one} in {names[0]}, {cause.other} in {names[1]}"
        for what, sighting in cause.changes:
            yield f"    {what.format(*names)}: {sighting}"
        if not cause.changes:
            yield f"    the same {len(cause.same)} sightings in both, so the rules differ; the last of them:"
            yield from (f"      {sighting}" for sighting in cause.same[-SAME_SHOWN:])
    if len(found) > SUBSCRIBERS_SHOWN:
        yield f"  ... and {len(found) - SUBSCRIBERS_SHOWN:,} more"


def aligned(one: Run, other: Run) -> Run:
    """The second run with the first one's names of subscribers.

    Embedded runs name them alike. A deployment has a salt of its own: there whoever shares the most sightings is the
    same, which milliseconds and places tell well enough.
    """
    if one.sightings is None or other.sightings is None:
        return other
    mine, theirs = one.sightings["subscriber"].to_pylist(), other.sightings["subscriber"].to_pylist()
    if not theirs or set(mine) & set(theirs):
        return other
    owners: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for name, said in zip(mine, _said(one.sightings), strict=True):
        owners[said].add(name)
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for name, said in zip(theirs, _said(other.sightings), strict=True):
        votes[name].update(owners.get(said, ()))
    renamed, taken = dict[str, str](), set[str]()
    for name, found in sorted(votes.items(), key=lambda item: -max(item[1].values(), default=0)):
        free = [(number, owner) for owner, number in found.items() if owner not in taken]
        renamed[name] = max(free)[1] if free else name
        taken.add(renamed[name])
    return Run(other.panes, *(_renamed(table, renamed) for table in (other.sightings, other.counted)))


def _said(table: pa.Table) -> Iterator[tuple[object, ...]]:
    return zip(*(table[name].to_pylist() for name in ("ts", "kind", "zone", "age_band", "gender")), strict=True)


def _renamed(table: pa.Table | None, names: Mapping[str, str]) -> pa.Table | None:
    if table is None:
        return None
    column = pa.array([names.get(name, name) for name in table["subscriber"].to_pylist()], pa.string())
    return table.set_column(table.schema.get_field_index("subscriber"), "subscriber", column)


def causes(one: Run, other: Run, row: Mapping[str, object]) -> Iterator[Cause]:
    """The subscribers who differ in the count that `row` names; those whose sightings differ come first."""
    counts = _counts(one, row), _counts(other, row)
    named = sorted(name for name in counts[0].keys() | counts[1].keys() if counts[0][name] != counts[1][name])
    rows = [_rows(run.sightings, named, row["end"]) for run in (one, other)]
    found = [
        Cause(name, counts[0][name], counts[1][name], changes(rows[0][name], rows[1][name]), rows[0][name])
        for name in named
    ]
    yield from sorted(found, key=lambda cause: (not cause.changes, cause.subscriber))


def changes(one: Sequence[Sighting], other: Sequence[Sighting]) -> list[tuple[str, Sighting]]:
    """What must be taken out of and put into the first list to get the second, `{0}` and `{1}` standing for the runs.

    A sighting is the same wherever it stands in the raw log: a record left out moves all that follow.
    """
    texts = [[(sighting.ts, sighting.said) for sighting in rows] for rows in (one, other)]
    gone: list[Sighting] = []
    new: list[Sighting] = []
    for tag, first, last, start, stop in SequenceMatcher(a=texts[0], b=texts[1], autojunk=False).get_opcodes():
        if tag != "equal":
            gone += one[first:last]
            new += other[start:stop]
    both = Counter((s.ts, s.said) for s in gone) & Counter((s.ts, s.said) for s in new)
    found = [("in another order in {1}", s) for s in gone if (s.ts, s.said) in both]
    found += [("only in {0}", s) for s in gone if (s.ts, s.said) not in both]
    found += [("only in {1}", s) for s in new if (s.ts, s.said) not in both]
    return sorted(found, key=lambda change: change[1].ts)


def _counts(run: Run, row: Mapping[str, object]) -> Counter[str]:
    if run.counted is None:
        return Counter()
    chosen = run.counted
    for name in KEYS:
        column = chosen[name]
        chosen = chosen.filter(
            pc.is_null(column) if row[name] is None else pc.equal(column, pa.scalar(row[name], column.type))
        )
    return Counter(dict(zip(chosen["subscriber"].to_pylist(), chosen["count"].to_pylist(), strict=True)))


def _rows(table: pa.Table | None, named: Sequence[str], end: object) -> dict[str, list[Sighting]]:
    """Sightings before `end` of the subscribers named, in the order in which they are counted."""
    found: dict[str, list[Sighting]] = defaultdict(list)
    if table is None:
        return found
    wanted = pc.is_in(table["subscriber"], value_set=pa.array(named, pa.string()))
    before = pc.less(table["ts"], pa.scalar(end, table["ts"].type))
    for row in table.filter(pc.and_(wanted, before)).to_pylist():
        said = (row["kind"], row["zone"], row["age_band"], row["gender"])
        found[row["subscriber"]].append(Sighting(row["ts"], said, (row["partition"], row["offset"], row["index"])))
    for rows in found.values():
        rows.sort(key=lambda sighting: (sighting.ts, sighting.where))
    return found


def _read_panes(path: Path) -> pa.Table:
    try:
        found = _from_duckdb(path) if path.suffix in (".duckdb", ".db") else pq.read_table(path)
        return found.select([*KEYS, "count"])
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise ThrongError("recording", f"{path} holds no panes: write some with 'throng replay --out'") from error


def _from_duckdb(path: Path) -> pa.Table:
    import duckdb  # only where it is asked for: it takes a moment to load

    try:
        with duckdb.connect(str(path), read_only=True) as database:
            return database.sql("SELECT * FROM panes").to_arrow_table()
    except duckdb.Error as error:
        raise OSError(str(error)) from error


def _read(path: Path, schema: pa.Schema) -> pa.Table | None:
    try:
        return pq.read_table(path).select(schema.names) if path.exists() else None
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise ThrongError("recording", f"{path} can't be read: replay with --sightings anew") from error
