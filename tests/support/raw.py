"""Raw records without Kafka: values in, the columns that the walker would give out."""

import numpy as np

from streams.core.records import Records


def records_of(values: list[bytes | None], times: list[int] | None = None) -> Records:
    """The columns of records with these values at offsets 0, 1, ..."""
    starts, ends, payload = [], [], b""
    for value in values:
        starts.append(len(payload))
        payload += value or b""
        ends.append(-1 if value is None else len(payload))
    return Records(
        np.arange(len(values)),
        np.array(times or [0] * len(values), np.int64),
        np.array(starts, np.int64),
        np.array(ends, np.int64),
        np.frombuffer(payload, np.uint8),
    )
