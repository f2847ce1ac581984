"""Released records and places as files: what commands for consumers read, JSON lines or recordings."""

from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import msgspec

from schemas.plan import Places
from schemas.released import (
    DWELL_SCHEMA,
    FLOWS_SCHEMA,
    FOOTFALL_SCHEMA,
    VISITS_SCHEMA,
    Dwell,
    Flow,
    FlowSummary,
    Footfall,
    Visits,
)
from schemas.topics import DWELL, FLOWS, FOOTFALL, VISITS
from streams.core.calibration.evidence import Record
from streams.errors import ThrongError

T = TypeVar("T")

PARQUET: Final = b"PAR1"
# The topic's partitions are read side by side, by panes' ends.
STEP_MS: Final = 60_000


class _Any(msgspec.Struct):
    """What tells records apart: of the topic flows those of pairs have both ends, and travel times a zone."""

    schema: str = ""
    destination: str = ""
    zone: str = ""


def footfall(file: BinaryIO) -> Iterator[Footfall | None]:
    """The record of each line that is not blank, or of a recording of the topic; None for one of another topic.

    Raises:
        ThrongError: `usage`, naming the line and what is wrong; `recording` if it is one, without the topic.
    """
    return _records(_lines(file, FOOTFALL), Footfall, lambda said: said.schema == FOOTFALL_SCHEMA)


def flows(file: BinaryIO) -> Iterator[Flow | None]:
    """The flow of each line that is not blank, or of a recording of the topic; None for another record.

    Raises:
        ThrongError: as `footfall`.
    """
    return _records(_lines(file, FLOWS), Flow, lambda said: said.schema == FLOWS_SCHEMA and bool(said.destination))


def _lines(file: BinaryIO, *topics: str) -> Iterable[bytes]:
    if not file.seekable():
        return file
    start = file.read(len(PARQUET))
    file.seek(0)
    return _recorded(Path(file.name), *topics) if start == PARQUET else file


def _recorded(path: Path, *topics: str) -> Iterator[bytes]:
    """The records of those of the topics that it has, in the order of panes' ends."""
    if find_spec("pyarrow") is None:
        raise ThrongError("usage", f"{path} needs pyarrow: pip install 'throng[record]'")
    from streams.recording.file import Reader

    reader = Reader(path)
    there = {topic for topic in topics if topic in reader.about.topics}
    if not there:
        raise ThrongError("recording", f"{path} holds no records of {', '.join(topics)}: record that topic")
    for _, runs in reader.slices(STEP_MS, there, 0, 1 << 62):
        for run in runs:
            yield from (value or b"" for value in run.table["value"].to_pylist())


def calibratable(file: BinaryIO) -> Iterator[Record | None]:
    """The record of each line that is not blank, or of a recording of these topics, if it is of what counts on site
    correct; None for another.

    Raises:
        ThrongError: as `footfall`.
    """
    for number, line in enumerate(_lines(file, FOOTFALL, FLOWS, DWELL, VISITS), start=1):
        if not line.strip():
            continue
        try:
            kind = _corrected(msgspec.json.decode(line, type=_Any))
            yield None if kind is None else msgspec.json.decode(line, type=kind)
        except msgspec.DecodeError as error:
            raise ThrongError("usage", f"line {number} is no released record: {error}") from error


def _corrected(said: _Any) -> type[Record] | None:
    if said.schema == FLOWS_SCHEMA and not said.zone:
        return Flow if said.destination else FlowSummary
    if said.schema == FOOTFALL_SCHEMA:
        return Footfall
    if said.schema == DWELL_SCHEMA:
        return Dwell
    return Visits if said.schema == VISITS_SCHEMA else None


def _records(lines: Iterable[bytes], kind: type[T], is_ours: Callable[[_Any], bool]) -> Iterator[T | None]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            ours = is_ours(msgspec.json.decode(line, type=_Any))
            yield msgspec.json.decode(line, type=kind) if ours else None
        except msgspec.DecodeError as error:
            raise ThrongError("usage", f"line {number} is no released record: {error}") from error


def read_places(file: Path) -> Places:
    """A plan's places.

    Raises:
        ThrongError: `usage`, naming the file and what is wrong.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Places)
    except msgspec.DecodeError as error:
        raise ThrongError(
            "usage", f"--places {file} is not what 'throng zones show --publish' writes: {error}"
        ) from error
