"""Simulated records in a file of text, to read: one JSON object a record.

    {"partition":0,"time":1772420400123,"value":"..."}

with `"base64"` in place of `"value"` where the bytes aren't UTF-8, and null where Kafka has null.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from streams.owned import owned
from streams.simulate.generate import Slice


class Block(NamedTuple):
    """Records of one partition: times in ms, lengths of values (-1: null), and the values one after another."""

    partition: int
    time: NDArray[np.int64]
    length: NDArray[np.int32]
    payload: bytes

    def values(self) -> Iterator[tuple[int, bytes | None]]:
        """Record time and value, one by one."""
        at = 0
        for time, length in zip(self.time.tolist(), self.length.tolist(), strict=True):
            yield time, None if length < 0 else self.payload[at : at + length]
            at += max(length, 0)


class Recorder:
    """Writes slices to a file, whole or not at all; a context manager. The file gets its name at the end."""

    def __init__(self, path: Path) -> None:
        self._path, self._part = path, path.with_name(f"{path.name}.part")
        self._part.unlink(missing_ok=True)
        self._file = owned(self._part).open("wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
            if kind is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)

    def write(self, piece: Slice) -> None:
        """Append a slice."""
        for partition in range(piece.starts.size - 1):
            values = as_block(piece, partition).values()
            self._file.writelines(_line(partition, time, value) for time, value in values)


def as_block(piece: Slice, partition: int) -> Block:
    """A partition's part of a slice."""
    rows = slice(int(piece.starts[partition]), int(piece.starts[partition + 1]))
    begin, end = piece.begin[rows], piece.end[rows]
    if not begin.size:
        return Block(partition, begin, begin.astype(np.int32), b"")
    length = np.where(end < 0, -1, end - begin).astype(np.int32)
    payload = piece.payload[int(begin[0]) : int(begin[-1]) + max(int(length[-1]), 0)]
    return Block(partition, piece.time[rows], length, payload.tobytes())


def _line(partition: int, time: int, value: bytes | None) -> bytes:
    record: dict[str, object] = {"partition": partition, "time": time}
    try:
        record["value"] = None if value is None else value.decode()
    except UnicodeDecodeError:
        record["base64"] = base64.b64encode(value or b"").decode()
    return orjson.dumps(record) + b"\n"
