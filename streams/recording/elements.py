"""Elements of raw records as Python has them, for what changes them: whatever `decode` takes for an event is read.

The contract goes by Python's `json`, which takes more than orjson does: text with half a surrogate pair, numbers beyond
a double, brackets 1,024 deep. Fields that throng doesn't know may hold any of it.
"""

import json
from collections.abc import Mapping

import orjson


def read(element: bytes) -> dict[str, object]:
    """The fields of an event or a beat. A number that orjson can't read comes as its text."""
    try:
        fields: dict[str, object] = orjson.loads(element)
    except orjson.JSONDecodeError:
        fields = json.loads(element, parse_float=str)
    return fields


def written(fields: Mapping[str, object]) -> bytes:
    """The reverse."""
    try:
        return orjson.dumps(fields)
    except TypeError:
        return json.dumps(fields, separators=(",", ":")).encode()
