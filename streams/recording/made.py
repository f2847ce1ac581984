"""A recording made of records that no topic held: of imports and simulations, to replay without servers."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.topics import ATTACH, HOUR_MS, REGISTRY
from streams.recording.columns import SCHEMA, binary
from streams.recording.file import Settings, Writer
from streams.simulate import Slice


def write_recording(
    path: Path,
    partitions: int,
    people: Iterable[tuple[bytes, bytes]],
    pieces: Iterator[Slice],
    real: bool,
    written: Callable[[Slice], None],
) -> None:
    """Write the registry, all of it an hour before the first slice, and the slices as records of `attach`.

    Args:
        real: the subscribers are who they are, not under IMSIs of the test network.
        written: called after each slice.
    """
    topics = {ATTACH: Settings(partitions, {}), REGISTRY: Settings(1, {})}
    with Writer(path, topics, re_pseudonymised=not real, whole=True) as writer:
        first = next(pieces, None)
        keys, values = (pa.array(column, pa.binary()) for column in _columns(people))
        people_ms = first.start_ms - HOUR_MS if first is not None else 0
        writer.write(REGISTRY, 0, _table(REGISTRY, 0, 0, np.full(len(keys), people_ms, np.int64), keys, values))
        offsets: Counter[int] = Counter()
        for piece in chain([first] if first is not None else [], pieces):
            for partition in range(partitions):
                rows = slice(int(piece.starts[partition]), int(piece.starts[partition + 1]))
                values = binary(piece.payload, piece.begin[rows], piece.end[rows])
                keys = pa.nulls(len(values), pa.binary())
                writer.write(
                    ATTACH, partition, _table(ATTACH, partition, offsets[partition], piece.time[rows], keys, values)
                )
                offsets[partition] += len(values)
            written(piece)


def _columns(people: Iterable[tuple[bytes, bytes]]) -> tuple[list[bytes], list[bytes]]:
    keys, values = list[bytes](), list[bytes]()
    for key, value in people:
        keys.append(key)
        values.append(value)
    return keys, values


def _table(
    topic: str, partition: int, offset: int, times: NDArray[np.int64], keys: pa.Array, values: pa.Array
) -> pa.Table:
    number = len(values)
    return pa.table(
        [
            pa.array([topic] * number, pa.string()),
            pa.array(np.full(number, partition, np.int32)),
            pa.array(np.arange(offset, offset + number)),
            pa.array(times).cast(pa.timestamp("ms", "UTC")),
            keys,
            values,
            pa.array([[]] * number, SCHEMA.field("headers").type),
        ],
        schema=SCHEMA,
    )
