"""The `sightings` topic: frames of fixed little-endian columns, a section a source; and control records.

A frame is a header, then for each section a header and its columns one after the other. Rows of a section stand in
the order of (offset, index). Internal: rows carry pseudonyms. A row of the registry says in `kind` whether the
subscriber may be used from its time on; it names no place, and stands once for each epoch that was known and not over.

    frame    magic "THRF", version u8, 0 u8, sections u16
    section  source u32, flags u8, 3 x 0, from i64, to i64, watermark_ms i64, base_ts i64, rows u32, 4 x 0
    columns  pseudonym u64, ts - base_ts i32, offset - from u32, index u32, zone u16, cohort u8, kind u8
    control  magic "THRC", version u8, JSON {"version", "sources"}
"""

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

# Sources below are raw partitions by their number; registry partition r is source REGISTRY_SOURCE + r. An attach topic
# has far fewer partitions than this.
REGISTRY_SOURCE: Final = 1 << 16
# Kinds of rows beyond those of `schemas.attach`, from the registry: a subscriber may not be used any more, or may.
OPT_OUT: Final = 5
OPT_IN: Final = 6

VERSION: Final = 1
LOST: Final = 1
GENESIS: Final = 2

_FRAME: Final = struct.Struct("<4sBBH")
_SECTION: Final = struct.Struct("<IB3xqqqqI4x")
FRAME_BYTES: Final = _FRAME.size
SECTION_BYTES: Final = _SECTION.size
ROW_BYTES: Final = 24
# How far event times of one section may lie apart: an i32.
WIDEST_MS: Final = (1 << 31) - 1
_MAGIC: Final = b"THRF"
_CONTROL_MAGIC: Final = b"THRC"

T = TypeVar("T", bound=np.generic)


class Section(NamedTuple):
    """Rows of one source, and the range of its offsets `[from_, to)` that they are all there is of for this target.

    Attributes:
        flags: LOST: retention took the records; GENESIS: the source's chain starts here.
        watermark_ms: event time up to which the source is complete once `to` is reached.
        pseudonym..kind: columns of equal length (u64, i64 ms, i64, u32, u16, u8, u8).
    """

    source: int
    flags: int
    from_: int
    to: int
    watermark_ms: int
    pseudonym: NDArray[np.uint64]
    ts: NDArray[np.int64]
    offset: NDArray[np.int64]
    index: NDArray[np.uint32]  # type: ignore[assignment]  # hides tuple.index: the contract's word
    zone: NDArray[np.uint16]
    cohort: NDArray[np.uint8]
    kind: NDArray[np.uint8]


class OtherVersion(ValueError):  # noqa: N818 - reads as what it is
    """A record in a form that this release doesn't know."""


class Foreign(ValueError):  # noqa: N818 - reads as what it is
    """A record that begins as none of throng's does: no gateway wrote it."""


class Head(NamedTuple):
    """What a section says before its columns, which are `rows` long and begin at `position` in the frame."""

    source: int
    flags: int
    from_: int
    to: int
    watermark_ms: int
    base_ts: int
    rows: int
    position: int


class Control(msgspec.Struct, frozen=True):
    """The set of live sources from here on; a higher version replaces a lower one.

    Attributes:
        reset_ms: event time at which pseudonyms change within an epoch, a base pane's end; 0: none. Of such a record
            the rest says nothing (version 0).
    """

    version: int
    sources: tuple[int, ...]
    reset_ms: int = 0


def encode_frame(sections: Sequence[Section]) -> bytes:
    """The record's value. Event times of one section must lie within 24 days of each other."""
    parts = [_FRAME.pack(_MAGIC, VERSION, 0, len(sections))]
    for section in sections:
        rows = len(section.ts)
        base_ts = int(section.ts.min()) if rows else 0
        parts.append(
            _SECTION.pack(section.source, section.flags, section.from_, section.to, section.watermark_ms, base_ts, rows)
        )
        parts.append(section.pseudonym.astype("<u8", copy=False).tobytes())
        parts.append((section.ts - base_ts).astype("<i4").tobytes())
        parts.append((section.offset - section.from_).astype("<u4").tobytes())
        parts.append(section.index.astype("<u4", copy=False).tobytes())
        parts.append(section.zone.astype("<u2", copy=False).tobytes())
        parts.append(section.cohort.tobytes())
        parts.append(section.kind.tobytes())
    return b"".join(parts)


def put_frame_header(memory: memoryview, at: int, sections: int) -> None:
    """Write the header of a frame to bytes, from `at` on."""
    _FRAME.pack_into(memory, at, _MAGIC, VERSION, 0, sections)


def put_section_header(
    memory: memoryview,
    at: int,
    source: int,
    flags: int,
    from_: int,
    to: int,
    watermark_ms: int,
    base_ts: int,
    rows: int,
) -> None:
    """Write the header of a section to bytes, from `at` on; its columns follow it."""
    _SECTION.pack_into(memory, at, source, flags, from_, to, watermark_ms, base_ts, rows)


def encode_control(version: int, sources: Sequence[int]) -> bytes:
    """A control record's value."""
    return _CONTROL_MAGIC + bytes([VERSION]) + msgspec.json.encode(Control(version, tuple(sources)))


def encode_reset(reset_ms: int) -> bytes:
    """The value of a control record that says when pseudonyms change within an epoch."""
    return _CONTROL_MAGIC + bytes([VERSION]) + msgspec.json.encode(Control(0, (), reset_ms))


def decode_heads(value: bytes) -> list[Head] | Control:
    """The heads of a frame's sections, or a control record.

    Raises:
        OtherVersion: another release wrote it. Foreign: no release did. ValueError: naming what is wrong with it else.
    """
    if len(value) < 5 or value[:4] not in (_MAGIC, _CONTROL_MAGIC):
        raise Foreign(f"frame: {len(value)} bytes without the magic of a frame or a control record")
    if value[4] != VERSION:
        raise OtherVersion(f"frame: version {value[4]}, this release reads {VERSION}")
    if value[:4] == _CONTROL_MAGIC:
        return msgspec.json.decode(value[5:], type=Control)
    if len(value) < _FRAME.size:
        raise ValueError(f"frame: {len(value)} bytes, a header has {_FRAME.size}")
    position = _FRAME.size
    heads = []
    for number in range(_FRAME.unpack_from(value)[3]):
        head = _decode_head(value, position, number)
        heads.append(head)
        position = head.position + head.rows * ROW_BYTES
    if position != len(value):
        raise ValueError(f"frame: {len(value) - position} bytes behind the last section")
    return heads


def decode_frame(value: bytes) -> list[Section] | Control:
    """The sections of a frame, or a control record.

    Raises:
        ValueError: naming what is wrong with the record.
    """
    heads = decode_heads(value)
    return heads if isinstance(heads, Control) else [_section(value, head) for head in heads]


def _decode_head(value: bytes, position: int, number: int) -> Head:
    if len(value) - position < _SECTION.size:
        raise ValueError(f"section {number}: its header is cut off")
    head = Head._make((*_SECTION.unpack_from(value, position), position + _SECTION.size))
    if len(value) - head.position < head.rows * ROW_BYTES:
        raise ValueError(f"section {number}: {head.rows} rows, but {len(value) - head.position} bytes")
    if not 0 <= head.from_ < head.to:
        raise ValueError(f"section {number}: the range from {head.from_} to {head.to} is none")
    return head


def _section(value: bytes, head: Head) -> Section:
    columns = _Columns(value, head.position, head.rows)
    return Section(
        *head[:5],
        columns.take(np.uint64),
        columns.take(np.int32).astype(np.int64) + head.base_ts,
        columns.take(np.uint32).astype(np.int64) + head.from_,
        columns.take(np.uint32),
        columns.take(np.uint16),
        columns.take(np.uint8),
        columns.take(np.uint8),
    )


class _Columns:
    def __init__(self, value: bytes, position: int, rows: int) -> None:
        self._value = value
        self._rows = rows
        self._position = position

    def take(self, dtype: type[T]) -> NDArray[T]:
        kind = np.dtype(dtype).newbyteorder("<")
        column: NDArray[T] = np.frombuffer(self._value, kind, self._rows, self._position)
        self._position += column.nbytes
        return column
