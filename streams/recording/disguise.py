"""Takes the persons out of a recording: every IMSI becomes one of the test network 001 01, the same one throughout.

Subscribers are numbered in the order in which they are first met, so nothing of the number is left, and no key that
could lead back. What is kept is a list of what may be: kind, time, cell, rat and the device's type (TAC), and of a
person what the gateway knows of them. MSISDNs and fields, or consents, that throng doesn't know are left out, event ids
and the sources of beats are numbered anew, and a beat's time is its record's, which it is told by; an element that
isn't an event (it may hold anything) is replaced by `"unreadable"`, still a reject. So is a person's record that can't
be read, and its key if that is no IMSI: by both it is as unreadable as it was, and of the same person. What can fail:
nothing.
"""

from collections.abc import Iterator

import msgspec
import numpy as np
import orjson
import pyarrow as pa

from schemas.attach import unpack_imsi
from schemas.registry import BEAT_KEY, PURPOSES, Subscriber
from schemas.rejects import Reason
from streams.core.events.decode import Events, decode
from streams.core.gateway.registry import known_year
from streams.core.gateway.registry import read as read_person
from streams.recording.columns import SCHEMA, records_of
from streams.recording.elements import read, written

EVENT_FIELDS = ("kind", "ts", "cell", "rat", "tac")
UNREADABLE = b'"unreadable"'
NO_IMSI = b"unreadable"
TEST_NETWORK = "00101"
LONGEST = 64 << 20


class Disguise:
    """One recording's mapping."""

    def __init__(self) -> None:
        self._numbers: dict[str, str] = {}
        self._sources: dict[bytes, str] = {}
        self._events = 0

    def imsi(self, imsi: str) -> str:
        """The subscriber's new IMSI."""
        return self._numbers.setdefault(imsi, f"{TEST_NETWORK}{len(self._numbers) + 1:010d}")

    def attach(self, table: pa.Table) -> pa.Table:
        """Raw events; keys and headers are left out."""
        records = records_of(table)
        _, _, start, end, payload = records
        events = decode(records, LONGEST)
        values = [None if stop < 0 else b"" for stop in end.tolist()]
        rows = list(self._elements(events, records.time[events.record].tolist(), payload.tobytes()))
        firsts = np.searchsorted(events.record, np.arange(len(values) + 1))
        for record, value in enumerate(values):
            if value is None:
                continue
            elements = rows[firsts[record] : firsts[record + 1]]
            array = payload[start[record] : end[record]].tobytes().lstrip()[:1] == b"["
            values[record] = b"[" + b",".join(elements) + b"]" if array else b"".join(elements)
        return _with(table, [None] * len(values), values)

    def registry(self, table: pa.Table) -> pa.Table:
        """Registry records."""
        keys: list[bytes | None] = []
        values: list[bytes | None] = []
        for key, value in zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True):
            new = (key, b"") if key == BEAT_KEY else self._registry_record(key, value)
            keys.append(new[0])
            values.append(new[1])
        return _with(table, keys, values)

    def _registry_record(self, key: bytes | None, value: bytes | None) -> tuple[bytes, bytes | None]:
        imsi, bits = read_person(key, value)
        if imsi is None:
            return NO_IMSI, UNREADABLE
        real = unpack_imsi(imsi)
        new = self.imsi(real)
        if real.encode() != key:
            return NO_IMSI, orjson.dumps({"imsi": new})
        if value is None or bits is None:
            return new.encode(), None if value is None else UNREADABLE
        return new.encode(), _person(value, new)

    def _elements(self, events: Events, times: list[int], payload: bytes) -> Iterator[bytes]:
        columns = events.status.tolist(), events.start.tolist(), events.end.tolist(), times
        for status, start, end, time_ms in zip(*columns, strict=True):
            if status == Reason.BEAT:
                source = written({"source": read(payload[start:end]).get("source")})
                number = self._sources.setdefault(source, str(len(self._sources) + 1))
                yield orjson.dumps({"kind": "beat", "source": number, "ts": time_ms})
            elif status != Reason.OK:
                yield UNREADABLE
            else:
                self._events += 1
                event = read(payload[start:end])
                kept = {name: event[name] for name in EVENT_FIELDS if event.get(name) is not None}
                yield orjson.dumps({"event_id": str(self._events), "imsi": self.imsi(str(event["imsi"])), **kept})


def _person(value: bytes, imsi: str) -> bytes:
    person = msgspec.json.decode(value, type=Subscriber)
    consent = {purpose: state for purpose, state in person.consent.items() if purpose in PURPOSES}
    born = person.birth_year if known_year(person.birth_year) else None
    return msgspec.json.encode(msgspec.structs.replace(person, imsi=imsi, birth_year=born, consent=consent))


def _with(table: pa.Table, keys: list[bytes | None], values: list[bytes | None]) -> pa.Table:
    changed = {
        "key": pa.array(keys, pa.binary()),
        "value": pa.array(values, pa.binary()),
        "headers": pa.array([[] for _ in values], SCHEMA.field("headers").type),
    }
    return pa.table([changed.get(name, table[name]) for name in SCHEMA.names], schema=SCHEMA)
