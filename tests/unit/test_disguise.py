"""A recording without persons: what is taken for an event is disguised, whatever else it holds."""

import orjson
import pyarrow as pa
import pytest

from schemas.registry import BEAT_KEY
from streams.core.gateway.registry import read
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
    assert orjson.loads(beat) == {"kind": "beat", "source": "1", "ts": 3}


def test_a_beat_says_which_source_it_is_of_by_a_number_and_when_by_its_record() -> None:
    """The gateway asks for nothing but its kind, so anything may be in the rest."""
    said = [b'"262011234567890"', b'"mme-7"', b'["262011234567890"]', b'"mme-7"', b"7"]
    values = [
        b'{"kind":"beat","source":%s,"ts":"262011234567890","imsi":"262011234567890"}' % source for source in said
    ]
    rows = [
        {"topic": "attach", "partition": 0, "offset": n, "timestamp": n, "key": None, "value": value, "headers": []}
        for n, value in enumerate([*values, b'{"kind":"beat"}'])
    ]
    beats = Disguise().attach(pa.Table.from_pylist(rows, schema=SCHEMA))["value"].to_pylist()
    assert [orjson.loads(beat) for beat in beats] == [
        {"kind": "beat", "source": source, "ts": time} for time, source in enumerate(["1", "2", "3", "2", "4", "5"])
    ]


IMSI = b"262011234567890"
PERSON = {"imsi": IMSI.decode(), "birth_year": 1980, "gender": "female", "consent": {"marketing": "granted"}}
# Found nowhere in a recording without persons.
TELLING = ("1234567890", "1701234567", "Schmidt")


def registry_of(*records: tuple[bytes | None, bytes | None]) -> list[tuple[bytes, bytes | None]]:
    rows = [
        {"topic": "registry", "partition": 0, "offset": n, "timestamp": n, "key": key, "value": value, "headers": []}
        for n, (key, value) in enumerate(records)
    ]
    table = Disguise().registry(pa.Table.from_pylist(rows, schema=SCHEMA))
    return list(zip(table["key"].to_pylist(), table["value"].to_pylist(), strict=True))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"msisdn": "+491701234567", "name": "Schmidt"},
        {"consent": {"marketing": "granted", "by +491701234567": "granted"}},
        {"birth_year": 491701234567},
        {"birth_year": "Schmidt"},
        {"gender": "Schmidt, +491701234567"},
        {"imsi": "262011234567891"},
    ],
    ids=str,
)
def test_of_a_person_what_the_gateway_knows_is_kept_and_nothing_else(more: dict[str, object]) -> None:
    real = IMSI, orjson.dumps(PERSON | more)
    [(key, value)] = registry_of(real)
    assert value is not None and not any(word.encode() in key + value for word in TELLING)
    assert key == b"001010000000001" and read(key, value)[1] == read(*real)[1]


def test_a_key_that_is_no_imsi_stays_none_and_names_the_same_person() -> None:
    opt_out = orjson.dumps({"imsi": IMSI.decode(), "opted_out": True})
    first, quoted, nobody = registry_of(
        (IMSI, orjson.dumps(PERSON)), (b'"%s"' % IMSI, opt_out), (b"Schmidt", b"+491701234567")
    )
    assert read(*quoted) == (read(*first)[0], None)
    assert read(*nobody) == (None, None)
    assert not any(word.encode() in b"%s%s" % each for word in TELLING for each in (quoted, nobody))


def test_who_is_erased_stays_so_and_a_beat_says_nothing() -> None:
    erased, beat = registry_of((IMSI, None), (BEAT_KEY, b"Schmidt"))
    assert erased == (b"001010000000001", None) and beat == (BEAT_KEY, b"")
