"""Released records and places as files: what commands for consumers read."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from schemas.plan import Places
from schemas.released import FLOWS_SCHEMA, FOOTFALL_SCHEMA, Flow, Footfall
from streams.errors import ThrongError


class _Any(msgspec.Struct):
    """What tells records apart: of the topic flows those of pairs have both ends."""

    schema: str = ""
    destination: str = ""


def footfall(lines: Iterable[bytes]) -> Iterator[Footfall | None]:
    """The record of each line that is not blank; None for one of another topic.

    Raises:
        ThrongError: `usage`, naming the line and what is wrong.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            ours = msgspec.json.decode(line, type=_Any).schema == FOOTFALL_SCHEMA
            yield msgspec.json.decode(line, type=Footfall) if ours else None
        except msgspec.DecodeError as error:
            raise ThrongError("usage", f"line {number} is no released record: {error}") from error


def flows(lines: Iterable[bytes]) -> Iterator[Flow | None]:
    """The flow of each line that is not blank; None for another record.

    Raises:
        ThrongError: `usage`, naming the line and what is wrong.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            said = msgspec.json.decode(line, type=_Any)
            ours = said.schema == FLOWS_SCHEMA and said.destination
            yield msgspec.json.decode(line, type=Flow) if ours else None
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
