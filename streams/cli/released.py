"""Released records and places as files: what commands for consumers read, JSON lines or recordings."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, TypeVar

import click
import msgspec

from schemas.forms import bounded
from schemas.named import UNREADABLE
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
from schemas.topics import DWELL, FLOWS, FOOTFALL, HOUR_MS, VISITS
from streams.core.calibration.evidence import Record
from streams.core.times import instant, milliseconds
from streams.errors import ThrongError

T = TypeVar("T")

PARQUET: Final = b"PAR1"
# The topic's partitions are read side by side, by panes' ends.
STEP_MS: Final = 60_000
# A day before times end: what follows from a record is of the hours after it.
LAST_MS: Final = milliseconds("9999-12-31T00:00:00Z")
# Clocks of brokers, where they stamp the topic.
APART_MS: Final = HOUR_MS
_FORMS: Final[Mapping[type[Any], Any]] = {
    kind: msgspec.json.Decoder(bounded(kind)).decode for kind in (Footfall, Flow, FlowSummary, Dwell, Visits)
}


class _Line(NamedTuple):
    """A line of a file, or a recorded record and its time in Kafka."""

    value: bytes
    time_ms: int | None


class _Any(msgspec.Struct):
    """What tells records apart: of the topic flows those of pairs have both ends, and travel times a zone."""

    schema: str = ""
    destination: str = ""
    zone: str = ""


def footfall(file: BinaryIO) -> Iterator[Footfall | None]:
    """The record of each line that is not blank, or of a recording of the topic; None for one of another topic.

    What no release wrote in a recording is passed over, and told on standard error: whoever may write to the topic may.

    Raises:
        ThrongError: `usage`, naming the line that is no released record and what is wrong; `recording` if it is one,
            without the topic.
    """
    return _records(_lines(file, FOOTFALL), lambda said: Footfall if said.schema == FOOTFALL_SCHEMA else None)


def flows(file: BinaryIO) -> Iterator[Flow | None]:
    """The flow of each line that is not blank, or of a recording of the topic; None for another record.

    Raises:
        ThrongError: as `footfall`.
    """
    return _records(
        _lines(file, FLOWS), lambda said: Flow if said.schema == FLOWS_SCHEMA and said.destination else None
    )


def calibratable(file: BinaryIO) -> Iterator[Record | None]:
    """The record of each line that is not blank, or of a recording of these topics, if it is of what counts on site
    correct; None for another.

    Raises:
        ThrongError: as `footfall`.
    """
    return _records(_lines(file, FOOTFALL, FLOWS, DWELL, VISITS), _corrected)


def _corrected(said: _Any) -> type[Record] | None:
    if said.schema == FLOWS_SCHEMA and not said.zone:
        return Flow if said.destination else FlowSummary
    if said.schema == FOOTFALL_SCHEMA:
        return Footfall
    if said.schema == DWELL_SCHEMA:
        return Dwell
    return Visits if said.schema == VISITS_SCHEMA else None


def _lines(file: BinaryIO, *topics: str) -> Iterable[_Line]:
    if file.seekable():
        start = file.read(len(PARQUET))
        file.seek(0)
        if start == PARQUET:
            return _recorded(Path(file.name), *topics)
    return (_Line(line, None) for line in file)


def _recorded(path: Path, *topics: str) -> Iterator[_Line]:
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
            values = (value or b"" for value in run.table["value"].to_pylist())
            yield from map(_Line, values, run.time.tolist())


def _records(lines: Iterable[_Line], kind_of: Callable[[_Any], type[T] | None]) -> Iterator[T | None]:
    foreign = 0
    for number, line in enumerate(lines, start=1):
        if not line.value.strip():
            continue
        try:
            kind = kind_of(msgspec.json.decode(line.value, type=_Any))
            found = None if kind is None else _told(line, kind)
        except (*UNREADABLE, ValueError) as error:
            if line.time_ms is None:
                raise ThrongError("usage", f"line {number} is no released record: {error}") from error
            foreign += 1
            continue
        yield found
    if foreign:
        click.echo(f"{foreign} records that no release of throng wrote are passed over", err=True)


def _told(line: _Line, kind: type[T]) -> T:
    """The record.

    Raises:
        ValueError: its times are none, or its end is after its own time in Kafka. Others of `UNREADABLE`: it is wrong
            otherwise.
    """
    held: Any = _FORMS[kind](line.value)
    instant(held.start)
    if instant(held.end) > (LAST_MS if line.time_ms is None else line.time_ms + APART_MS):
        raise ValueError("its pane ends at a time that had not come")
    return msgspec.json.decode(line.value, type=kind)


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
