"""Simulated records in a file, for replays and for reading.

A recording (any name but *.ndjson) is blocks, one a slice and partition, after a line of JSON that ends the header:

    {"format":"throng.recording","version":1,...}\\n
    block: u32 partition, u32 count, u64 bytes; i64 time[count]; i32 length[count] (-1 is Kafka's null); payload

little-endian, lossless (values may be no UTF-8), as fast as the disk. A name that ends in .ndjson gets one JSON object
a record instead, `{"partition":0,"time":1772420400123,"value":"..."}`, with `"base64"` in place of `"value"` where the
bytes aren't UTF-8: for reading, not for speed.
"""

import base64
import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from streams.simulate.generate import Slice

FORMAT: Final = "throng.recording"
VERSION: Final = 1
_BLOCK: Final = struct.Struct("<IIQ")


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
    """Writes slices to a file; a context manager."""

    def __init__(self, path: Path, about: dict[str, object]) -> None:
        """Begin a file; `about` (JSON values) is kept in a recording's header."""
        self._file = path.open("wb")
        self._text = path.suffix == ".ndjson"
        if not self._text:
            self._file.write(orjson.dumps({"format": FORMAT, "version": VERSION, **about}) + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, piece: Slice) -> None:
        """Append a slice."""
        for partition in range(piece.starts.size - 1):
            block = as_block(piece, partition)
            if self._text:
                self._file.writelines(_line(partition, time, value) for time, value in block.values())
            elif block.time.size:
                self._file.write(_BLOCK.pack(partition, block.time.size, len(block.payload)))
                self._file.write(block.time.astype("<i8").tobytes() + block.length.astype("<i4").tobytes())
                self._file.write(block.payload)


def as_block(piece: Slice, partition: int) -> Block:
    """A partition's part of a slice."""
    rows = slice(int(piece.starts[partition]), int(piece.starts[partition + 1]))
    begin, end = piece.begin[rows], piece.end[rows]
    if not begin.size:
        return Block(partition, begin, begin.astype(np.int32), b"")
    length = np.where(end < 0, -1, end - begin).astype(np.int32)
    payload = piece.payload[int(begin[0]) : int(begin[-1]) + max(int(length[-1]), 0)]
    return Block(partition, piece.time[rows], length, payload.tobytes())


def read_recording(path: Path) -> Iterator[Block]:
    """The blocks of a recording.

    Raises:
        ValueError: the file is no recording, of another version, or ends within a block.
    """
    with path.open("rb") as file:
        header = file.readline(1 << 16)
        try:
            about = orjson.loads(header)
        except orjson.JSONDecodeError:
            about = None
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ValueError(f"{path.name} is no recording of throng")
        if about.get("version") != VERSION:
            raise ValueError(f"{path.name} is a recording of version {about.get('version')}, not {VERSION}")
        while head := file.read(_BLOCK.size):
            partition, count, size = _BLOCK.unpack(_whole(head, _BLOCK.size, path))
            time = np.frombuffer(_whole(file.read(8 * count), 8 * count, path), "<i8").astype(np.int64)
            length = np.frombuffer(_whole(file.read(4 * count), 4 * count, path), "<i4").astype(np.int32)
            yield Block(partition, time, length, _whole(file.read(size), size, path))


def _whole(data: bytes, size: int, path: Path) -> bytes:
    if len(data) != size:
        raise ValueError(f"{path.name} ends within a block: it was cut off")
    return data


def _line(partition: int, time: int, value: bytes | None) -> bytes:
    record: dict[str, object] = {"partition": partition, "time": time}
    try:
        record["value"] = None if value is None else value.decode()
    except UnicodeDecodeError:
        record["base64"] = base64.b64encode(value or b"").decode()
    return orjson.dumps(record) + b"\n"
