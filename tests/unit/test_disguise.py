"""A recording without persons: what is taken for an event is disguised, whatever else it holds."""

import orjson
import pyarrow as pa

from streams.recording.columns import SCHEMA
from streams.recording.disguise import Disguise

EVENT = b'{"event_id":"a\\ud800","imsi":"262011234567890","ts":1772427600000,"cell":"262-01-0000001","note":%s}'
# All of it is JSON to Python, by which the contract goes, and nothing of it to orjson.
ODD = [b'"\\ud800"', b"1e999", b"[" * 500 + b"]" * 500]


def test_an_event_with_fields_that_not_every_reader_takes_is_disguised() -> None:
    values = [EVENT % odd for odd in ODD] + [b'{"kind":"beat","source":"\\ud800","ts":1}']
    rows = [
        {"topic": "attach", "partition": 0, "offset": n, "timestamp": n, "key": None, "value": value, "headers": []}
        for n, value in enumerate(values)
    ]
    *events, beat = Disguise().attach(pa.Table.from_pylist(rows, schema=SCHEMA))["value"].to_pylist()
    assert {orjson.loads(event)["imsi"] for event in events} == {"001010000000001"}
    assert not any(b"262011234567890" in event or b"note" in event for event in events)
    assert beat == b'{"kind":"beat","source":"\\ud800","ts":1}'
