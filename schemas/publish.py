"""Publishes the contracts as JSON Schema (2020-12), generated from the types: `python -m schemas.publish [--check]`.

`schemas/json/` is what others read; the types are what throng goes by. `--check` writes nothing and ends with 1 if
a file is not what the types say.
"""

import sys
from pathlib import Path
from typing import Any

import msgspec
import orjson

from schemas.attach import AttachEvent, Beat
from schemas.distances import Distances
from schemas.epochs import Epoch
from schemas.outlook import Outlook
from schemas.plan import Places, Plan
from schemas.policy import Policy
from schemas.registry import Subscriber
from schemas.released import Areas, AreasSummary, Dwell, Flow, FlowSummary, Footfall, TravelTimes, Visits
from schemas.shares import People, Shares

FOLDER = Path(__file__).parent / "json"
ONE_OR_MANY = AttachEvent | list[AttachEvent]

# File name, title, type. An object or an array of them; beats share the topic and stand in a schema of their own, since
# what tells them apart is the value of `kind`.
CONTRACTS: tuple[tuple[str, str, Any], ...] = (
    ("attach", "A record of the topic attach: one event, or an array", ONE_OR_MANY),
    ("beat", "A beat on the topic attach", Beat),
    ("registry", "A record of the topic registry", Subscriber),
    ("epochs", "A record of the topic epochs", Epoch),
    ("footfall", "A record of the topic footfall", Footfall),
    (
        "flows",
        "A record of the topic flows: a flow, a pane's summary, or travel times",
        (Flow, FlowSummary, TravelTimes),
    ),
    ("dwell", "A record of the topic dwell", Dwell),
    ("visits", "A record of the topic visits", Visits),
    ("areas", "A record of the topic areas: visitors by area, or a pane's summary", (Areas, AreasSummary)),
    ("plan", "A zone plan file", Plan),
    ("places", "The places of a zone plan, as consumers may know them", Places),
    ("shares", "How subscribers stand for people, as TOML", Shares),
    ("people", "What throng people makes of a record of the topic footfall", People),
    ("outlook", "A record of the topic outlook, and what throng outlook says of a place", Outlook),
    ("distances", "What throng distances and the API make of a measure's records of the topic flows", Distances),
    ("policy", "A country's policy, as TOML", Policy),
)


def schema(title: str, kind: Any) -> bytes:
    """The JSON Schema of a contract, laid out for reading."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    roots, components = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    body = roots[0] if len(roots) == 1 else {"anyOf": list(roots)}
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **body, "$defs": components}
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def drifted() -> list[str]:
    """The files that are not what the types say."""
    return [
        f"schemas/json/{name}.schema.json"
        for name, title, kind in CONTRACTS
        if not (path := FOLDER / f"{name}.schema.json").exists() or path.read_bytes() != schema(title, kind)
    ]


def main(arguments: list[str]) -> int:
    """Write the files, or check them; returns the exit code."""
    if arguments == ["--check"]:
        for path in drifted():
            sys.stderr.write(f"{path} is not what the types say: run python -m schemas.publish\n")
        return 1 if drifted() else 0
    FOLDER.mkdir(exist_ok=True)
    for name, title, kind in CONTRACTS:
        (FOLDER / f"{name}.schema.json").write_bytes(schema(title, kind))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
