"""A recording of a topic of released records, made by hand."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pyarrow as pa

from schemas.released import Flow, Footfall
from streams.core.times import milliseconds
from streams.recording.columns import SCHEMA
from streams.recording.file import Settings, Writer


def recorded(path: Path, topic: str, partitions: Sequence[Sequence[Footfall | Flow | None]]) -> None:
    """Each record at its pane's end, None a record without a value, at the time of the one before."""
    with Writer(path, {topic: Settings(len(partitions), {})}) as writer:
        for number, records in enumerate(partitions):
            rows, time = [], 0
            for offset, record in enumerate(records):
                time = milliseconds(record.end) if record is not None else time
                value = msgspec.json.encode(record) if record is not None else None
                row = topic, number, offset, time, None, value, []
                rows.append(dict(zip(SCHEMA.names, row, strict=True)))
            writer.write(topic, number, pa.Table.from_pylist(rows, SCHEMA))
