"""A recording made of records that no topic held: of imports, to replay without servers."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.topics import ATTACH, REGISTRY
from streams.recording.columns import SCHEMA
from streams.recording.file import Settings, Writer

# Partition, times in ms, and values of consecutive records.
Run = tuple[int, NDArray[np.int64], list[bytes]]


def write_recording(
    path: Path, partitions: int, people: Iterable[tuple[bytes, bytes]], people_ms: int, runs: Iterator[Run], real: bool
) -> None:
    """Write the registry, all at `people_ms`, and the runs of `attach`, each partition's in order.

    Args:
        real: the subscribers are who they are, not under IMSIs of the test network.
    """
    topics = {ATTACH: Settings(partitions, {}), REGISTRY: Settings(1, {})}
    with Writer(path, topics, re_pseudonymised=not real) as writer:
        keys, values = list[bytes | None](), list[bytes]()
        for key, value in people:
            keys.append(key)
            values.append(value)
        writer.write(REGISTRY, 0, _table(REGISTRY, 0, 0, np.full(len(keys), people_ms, np.int64), keys, values))
        offsets: Counter[int] = Counter()
        for partition, times, records in runs:
            nothing: list[bytes | None] = [None] * len(records)
            table = _table(ATTACH, partition, offsets[partition], times, nothing, records)
            writer.write(ATTACH, partition, table)
            offsets[partition] += len(records)


def _table(
    topic: str, partition: int, offset: int, times: NDArray[np.int64], keys: list[bytes | None], values: list[bytes]
) -> pa.Table:
    number = len(values)
    return pa.table(
        [
            pa.array([topic] * number, pa.string()),
            pa.array(np.full(number, partition, np.int32)),
            pa.array(np.arange(offset, offset + number)),
            pa.array(times).cast(pa.timestamp("ms", "UTC")),
            pa.array(keys, pa.binary()),
            pa.array(values, pa.binary()),
            pa.array([[] for _ in values], SCHEMA.field("headers").type),
        ],
        schema=SCHEMA,
    )
