"""The fast scanner, its plain reference and the oracle read every input alike."""

import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.rejects import Reason
from streams.core.events.decode import decode, decode_reference
from tests.oracle.gate import read_record
from tests.support.raw import records_of

LIMIT = 262_144
GOOD = {
    "event_id": "e0000001",
    "imsi": "001010123456789",
    "msisdn": "+99912345678",
    "tac": "35123456",
    "kind": "service",
    "ts": 1772420400000,
    "cell": "001-01-1A2B3C4",
    "rat": "lte",
}
ONE = json.dumps(GOOD, separators=(",", ":")).encode()
OTHER = json.dumps(GOOD | {"ts": "2026-03-02T04:00:00.123Z", "cell": "262-01-ABCD-0001", "x": None, "y": 12}).encode()
SEEDS = [
    ONE,
    OTHER,
    b'{"kind":"beat","source":"a","ts":1772420400000}',
    b"[" + ONE + b"," + OTHER + b"]",
    b" [ " + OTHER + b" ,\n" + ONE + b" ] ",
    json.dumps(GOOD | {"x": 10**18, "y": "z" * 150}, indent=2).encode(),
    json.dumps([GOOD] * 2, indent="\t").encode(),
]
PIECES = [
    b'"',
    b"\\",
    b",",
    b"[",
    b"]",
    b"{",
    b"}",
    b":",
    b" ",
    b"\n",
    b"0",
    b"-",
    b"e",
    b".",
    b"\x00",
    b"\x7f",
    b"\xff",
]
PIECES += [b"\xc3\xa9", b"null", b"true", b"1", b"Z", b"T", b'"kind":"beat"', b'"ts":5,', b'"imsi":"001011234567890",']
PIECES += [
    b"\\u0041",
    b"\\ud800",
    b'"x":{"y":[1]},',
    b"1e5",
    b"NaN",
    b"\xef\xbb\xbf",
    b'"rat":"NR",',
    b"+01:00",
    b":60Z",
]


def compare(values: list[bytes | None]) -> None:
    records = records_of(values)
    fast, plain = decode(records, LIMIT), decode_reference(records, LIMIT)
    for name, one, other in zip(fast._fields, fast, plain, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)
    told = [
        "beat" if read == "beat" else read if isinstance(read, str) else "OK"
        for value in values
        for read in read_record(value)
    ]
    assert [name.replace("BEAT", "beat") for name in (Reason(status).name for status in fast.status)] == told


def mutated(rng: random.Random) -> bytes:
    value = bytearray(rng.choice(SEEDS))
    for _ in range(rng.choice([0, 1, 1, 2, 3, 6])):
        at = rng.randrange(len(value) + 1)
        draw = rng.random()
        if draw < 0.4:
            value[at:at] = rng.choice(PIECES)
        elif draw < 0.7:
            del value[at : at + rng.choice([1, 1, 2, 5, 20])]
        elif at < len(value):
            value[at] = rng.choice(b'0123456789abcTZ"{}[]:,- \\')
    return bytes(value)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_records_are_read_alike(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(60):
        compare([mutated(rng) for _ in range(20)] + [None, b""])


@pytest.mark.parametrize("seed", range(8))
def test_arrays_of_mutated_elements_are_read_alike(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(40):
        elements = [rng.choice([ONE, OTHER, mutated(rng)]) for _ in range(rng.randrange(12))]
        space = rng.choice([b"", b" ", b" \r\n\t"])
        compare([b"[" + (space + b"," + space).join(elements) + space + b"]" + rng.choice([b"", b" ", b"x"]), ONE])


def test_many_short_elements_are_read_alike() -> None:
    compare([b"[" + b"{}," * 500 + ONE + b"]", b"[" + b'{"x":[1,2]},' * 100 + ONE + b"]", ONE])


FIELD = st.sampled_from([*GOOD, "extra", "Imsi", ""])
VALUE = st.one_of(
    st.sampled_from(list(GOOD.values())),
    st.none(),
    st.booleans(),
    st.integers(-5, 5_000_000_000_000),
    st.floats(allow_nan=False),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.dictionaries(FIELD, VALUE, max_size=9), VALUE), max_size=4), st.booleans())
def test_any_json_is_read_alike(parts, ascii_only: bool) -> None:
    texts = [json.dumps(GOOD | part if isinstance(part, dict) else part, ensure_ascii=ascii_only) for part in parts]
    single = [text.encode("utf-8", "surrogatepass") for text in texts]
    compare([*single, b"[" + b",".join(single) + b"]"])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_read_alike(value: bytes) -> None:
    compare([value, b"[" + value, b"{" + value, b"[" + ONE + b"," + value + b"]"])


# Characters on both sides of every bound that the scanner draws.
NEAR = st.text(alphabet="0123456789/:;@AFGZ`afgz-+. ~", max_size=20)
RIGHT = {
    "imsi": st.from_regex(r"(001|[12789][0-9]{2})[0-9]{10,13}", fullmatch=True),
    "cell": st.from_regex(r"[0-9]{3}-[0-9]{2,3}-([0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}|[0-9A-Fa-f]{6,10})", fullmatch=True),
    "tac": st.from_regex(r"[0-9]{7,9}", fullmatch=True),
    "msisdn": st.from_regex(r"\+?[0-9]{4,17}", fullmatch=True),
    "ts": st.from_regex(
        r"20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,4})?Z", fullmatch=True
    ),
    "kind": st.sampled_from(["update", "attach", "handover", "service", "detach", "beat", "updates", "beat2"]),
    "rat": st.sampled_from(["gsm", "umts", "lte", "nr", "GSM", "UMTS", "LTE", "NR", "Nr", "nrr"]),
    "event_id": st.integers(0, 70).map("x".__mul__),
}


@st.composite
def nearly_right(draw: st.DrawFn) -> bytes:
    """A good event but for one field, whose value is right or nearly so."""
    field = draw(st.sampled_from(sorted(RIGHT)))
    value = draw(RIGHT[field])
    if draw(st.booleans()):
        at = draw(st.integers(0, len(value)))
        value = value[:at] + draw(NEAR)[:1] + value[at + draw(st.integers(0, 1)) :]
    return json.dumps(GOOD | {field: value}, separators=(",", ":")).encode()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(nearly_right(), nearly_right(), NEAR.map(str.encode)), min_size=1, max_size=12))
def test_values_that_are_nearly_right_are_read_alike(values: list[bytes]) -> None:
    # One by one as well: what lies at the end of a payload is read from a copy.
    compare([*values, b"[" + b",".join(values) + b"]"])
    for value in values[:3]:
        compare([value])


@pytest.mark.parametrize("digits", [1, 8, 9, 12, 13, 16, 17, 18, 19, 63, 64, 65, 200])
def test_numbers_of_any_length_are_read_alike(digits: int) -> None:
    for first in "19":
        number = int(first * digits)
        compare([json.dumps(GOOD | {field: number}).encode() for field in ("ts", "unknown", "tac")])


def test_more_quotes_than_one_step_takes_are_read_alike() -> None:
    quotes = b"{" + b'"":"",' * 100
    compare([quotes + ONE[1:], quotes + b'"x":"\\"' + ONE[1:], b"[" + quotes + ONE[1:] + b"," + ONE + b"]"])


def test_an_array_of_the_shortest_events_has_room() -> None:
    shortest = b"[" + b",".join([b'{"kind":"beat"}'] * 3000) + b"]"
    compare([shortest, ONE, shortest])
