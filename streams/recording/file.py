"""A recording: one Parquet file (zstd), readable by anything that reads Parquet.

Each row group holds records of one partition of one topic, in the order of their offsets; its topics' settings and a
table of the row groups stand in the file's metadata under `throng.recording`. Reading gives the records of all
partitions in the order of record time, a slice of time at a time; within a partition the order is the log's, whatever
its record times say.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from streams.errors import ThrongError
from streams.owned import owned
from streams.recording.columns import SCHEMA, times_of

META: Final = b"throng.recording"
VERSION: Final = 1
ROWS_A_GROUP: Final = 50_000
BYTES_A_GROUP: Final = 16 << 20


class Settings(msgspec.Struct, frozen=True):
    """A topic as it was."""

    partitions: int
    config: dict[str, str]


class Group(msgspec.Struct, frozen=True):
    """A row group."""

    topic: str
    partition: int
    rows: int


class About(msgspec.Struct, frozen=True):
    """What the metadata says."""

    version: int
    topics: dict[str, Settings]
    groups: list[Group]
    re_pseudonymised: bool = False


class Writer:
    """Writes a recording; a context manager. What was written until a failure is a whole recording, unless the failure
    is of the file itself (a full disk): then nothing stays, and a ThrongError, `recording`, is raised. With `whole`
    nothing stays after any failure, or if it was stopped: what is made of files can be made again.

    It gets its name at the end, so that a file which exists is replaced by a whole one, and by no empty one.
    """

    def __init__(
        self, path: Path, topics: dict[str, Settings], re_pseudonymised: bool = False, whole: bool = False
    ) -> None:
        self._about = About(VERSION, topics, [], re_pseudonymised)
        self._waiting: dict[tuple[str, int], list[pa.Table]] = defaultdict(list)
        self._broken = False
        self._whole = whole
        self._path, self._part = path, path.with_name(f"{path.name}.part")
        try:
            self._part.unlink(missing_ok=True)
            self._file = pq.ParquetWriter(
                owned(self._part),
                SCHEMA,
                compression="zstd",
                use_dictionary=["topic"],
                # A byte that a disk or a copy has changed would else be another event, and nobody the wiser.
                write_page_checksum=True,
            )
        except OSError as error:
            with suppress(OSError):
                self._part.unlink()
            raise ThrongError("recording", f"cannot write {path}: {said(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broken |= self._whole and kind is not None
        try:
            if not self._broken:
                self._end()
        finally:
            if self._broken:
                # What has no end is no recording, and takes the room that there is too little of.
                with suppress(OSError):
                    self._file.close()
                self._part.unlink(missing_ok=True)
        if self._broken:
            return
        if self.records or not self._path.exists():
            self._part.replace(self._path)
        else:
            self._part.unlink()

    @property
    def records(self) -> int:
        """How many records are in the file; all that were written once it is closed."""
        return sum(group.rows for group in self._about.groups)

    def write(self, topic: str, partition: int, table: pa.Table) -> None:
        """Add the next records of a partition."""
        if not table.num_rows:
            return
        waiting = self._waiting[topic, partition]
        waiting.append(table)
        if sum(t.num_rows for t in waiting) >= ROWS_A_GROUP or sum(t.nbytes for t in waiting) >= BYTES_A_GROUP:
            self._flush((topic, partition))

    def _end(self) -> None:
        for key in list(self._waiting):
            self._flush(key)
        with self._written():
            self._file.add_key_value_metadata({META: msgspec.json.encode(self._about)})
            self._file.close()

    def _flush(self, key: tuple[str, int]) -> None:
        table = pa.concat_tables(self._waiting.pop(key))
        with self._written():
            self._file.write_table(table, row_group_size=table.num_rows)
        self._about.groups.append(Group(*key, table.num_rows))

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._broken = True
            raise ThrongError("recording", f"cannot write {self._path}: {said(error)}") from error


class Run(NamedTuple):
    """Records of one partition in a slice of time. `time` i64[n], ms."""

    topic: str
    partition: int
    time: NDArray[np.int64]
    table: pa.Table


class Reader:
    """Reads a recording.

    Raises:
        ThrongError: `recording` if the file is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except FileNotFoundError as error:
            raise ThrongError("recording", f"there is no recording {path}") from error
        except (OSError, pa.ArrowInvalid) as error:
            raise ThrongError("recording", f"{path} is not a recording: it is no Parquet file") from error
        meta = (self._file.schema_arrow.metadata or {}) | (self._file.metadata.metadata or {})
        if META not in meta:
            raise ThrongError("recording", f"{path} is not a recording: make one with 'throng record'")
        try:
            self.about = msgspec.json.decode(meta[META], type=About)
        except msgspec.DecodeError as error:
            raise ThrongError("recording", f"{path} is not a recording as expected: {error}") from error
        if self.about.version != VERSION:
            found = self.about.version
            raise ThrongError("recording", f"{path} is a recording of version {found}; this throng reads {VERSION}")
        if not self._as_written():
            raise ThrongError(
                "recording",
                f"{path} is not a recording as it was written: another program has changed it; take the one that "
                "'throng record' made",
            )

    def _as_written(self) -> bool:
        """Whether columns and row groups are those of a recording."""
        found = self._file.schema_arrow
        meta = self._file.metadata
        return (
            found.names == SCHEMA.names
            and all(found.field(name).type == SCHEMA.field(name).type for name in SCHEMA.names[:-1])
            and [group.rows for group in self.about.groups]
            == [meta.row_group(number).num_rows for number in range(meta.num_row_groups)]
        )

    def topic(self, name: str) -> Iterator[pa.Table]:
        """All records of a topic, partition after partition within each stretch."""
        for number, group in enumerate(self.about.groups):
            if group.topic == name:
                yield _read(self._file, number)

    def span(self, topics: set[str]) -> tuple[int, int]:
        """The least and the largest record time of the topics, ms; (0, 0) if they hold nothing."""
        numbers = [number for number, group in enumerate(self.about.groups) if group.topic in topics]
        times = [times_of(_read(self._file, number, ["timestamp"])) for number in numbers]
        return min((int(t.min()) for t in times), default=0), max((int(t.max()) for t in times), default=0)

    def slices(self, step_ms: int, topics: set[str], from_ms: int, to_ms: int) -> Iterator[tuple[int, list[Run]]]:
        """(end of the slice in record time, what falls into it), in the order of time.

        A record is placed by the largest record time of its partition up to it, so that a partition's order stays.
        """
        streams = [_Stream(self._file, self.about.groups, key) for key in self._keys(topics)]
        at = from_ms
        while begins := [begin for stream in streams if (begin := stream.begins()) is not None]:
            if min(begins) >= to_ms:
                return
            at = max(at, min(begins) // step_ms * step_ms) + step_ms
            runs = [run for stream in streams for run in stream.take(min(at, to_ms), from_ms)]
            if runs:
                yield min(at, to_ms), runs

    def _keys(self, topics: set[str]) -> list[tuple[str, int]]:
        return sorted({(group.topic, group.partition) for group in self.about.groups if group.topic in topics})


class _Stream:
    """One partition's row groups, one in memory at a time."""

    def __init__(self, file: pq.ParquetFile, groups: list[Group], key: tuple[str, int]) -> None:
        self._file = file
        self._key = key
        self._numbers = [n for n, group in enumerate(groups) if (group.topic, group.partition) == key]
        self._table: pa.Table | None = None
        self._time = self._highest = np.empty(0, np.int64)
        self._row = 0
        self._before = -(1 << 62)

    def begins(self) -> int | None:
        """Where the next record is placed in time, or None at the end."""
        while self._table is None or self._row == self._table.num_rows:
            if not self._numbers:
                return None
            self._table = _read(self._file, self._numbers.pop(0))
            self._time = times_of(self._table)
            self._highest = np.maximum.accumulate(np.maximum(self._time, self._before))
            self._before = int(self._highest[-1])
            self._row = 0
        return int(self._highest[self._row])

    def take(self, until_ms: int, from_ms: int) -> Iterator[Run]:
        """What is placed before `until_ms`, less what is before `from_ms`."""
        while (begins := self.begins()) is not None and begins < until_ms and self._table is not None:
            stop = int(np.searchsorted(self._highest, until_ms))
            start = max(self._row, int(np.searchsorted(self._highest, from_ms)))
            if stop > start:
                yield Run(*self._key, self._time[start:stop], self._table.slice(start, stop - start))
            self._row = stop


def said(error: OSError) -> str:
    """What the file system refused, in its words: Arrow's name the library's lines as well."""
    return os.strerror(error.errno) if error.errno else str(error)


def _read(file: pq.ParquetFile, number: int, columns: list[str] | None = None) -> pa.Table:
    """A row group.

    Raises:
        ThrongError: `recording` if it is not as it was written.
    """
    try:
        return file.read_row_group(number, columns)
    except (OSError, pa.ArrowException) as error:
        raise ThrongError("recording", f"the recording is damaged in row group {number}: {error}") from error
