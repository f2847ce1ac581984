"""Released records and places as files: what commands for consumers read."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from schemas.plan import Places
from schemas.released import FLOWS_SCHEMA, FOOTFALL_SCHEMA, Flow, Footfall
from streams.errors import ThrongError

T = TypeVar("T")


class _Any(msgspec.Struct):
    """What tells records apart: of the topic flows those of pairs have both ends."""

    schema: str = ""
    destination: str = ""


def footfall(lines: Iterable[bytes]) -> Iterator[Footfall | None]:
    """The record of each line that is not blank; None for one of another topic.

    Raises:
        ThrongError: `usage`, naming the line and what is wrong.
    """
    return _records(lines, Footfall, lambda said: said.schema == FOOTFALL_SCHEMA)


def flows(lines: Iterable[bytes]) -> Iterator[Flow | None]:
    """The flow of each line that is not blank; None for another record.

    Raises:
        ThrongError: `usage`, naming the line and what is wrong.
    """
    return _records(lines, Flow, lambda said: said.schema == FLOWS_SCHEMA and bool(said.destination))


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
