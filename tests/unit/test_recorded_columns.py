"""What a recording holds, as the core's loops take it."""

from collections.abc import Callable
from pathlib import Path

import numba
import pyarrow as pa
import pytest

from schemas.topics import ATTACH
from streams.core.events.records import walk
from streams.recording.columns import records_of, to_table
from streams.recording.embedded import LAST_MS
from streams.recording.file import Reader
from tests.support.raw import batch_of

MORNING = Path(__file__).parents[1] / "golden" / "morning.parquet"
BATCHES = [batch_of([(ms, None, b"{}", []), (ms, b"k", None, [("h", b"v")])]) for ms in (7, 8)]


def recorded() -> pa.Table:
    _, runs = next(Reader(MORNING).slices(3_600_000, {ATTACH}, 0, LAST_MS))
    return runs[0].table


@pytest.mark.parametrize(
    "made",
    [
        recorded,
        lambda: to_table(ATTACH, 0, BATCHES[:1], 0, 1000),
        lambda: pa.concat_tables([to_table(ATTACH, 0, [batch], 0, 1000) for batch in BATCHES]),
        lambda: to_table(ATTACH, 0, BATCHES, 101, 102),
    ],
    ids=["of a file", "of a batch", "of two parts", "without a value"],
)
def test_is_of_the_types_that_the_loops_were_compiled_for_when_they_took_it_from_kafka(
    made: Callable[[], pa.Table],
) -> None:
    assert numba.typeof(records_of(made())) == numba.typeof(walk(BATCHES))
