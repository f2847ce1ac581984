"""What a raw record means, case by case: reason codes, positions and values."""

import json
from pathlib import Path

import numpy as np
import pytest

from schemas.attach import AttachEvent, pack_cell, pack_imsi
from schemas.rejects import MEANING, Reason
from streams.core.events import decode as decoding
from streams.core.events.decode import Events, decode, decode_in_parts
from streams.core.events.decode_reference import decode_element, decode_value, explain
from tests.support.raw import records_of

GOOD = {"event_id": "e1", "imsi": "001010000000001", "ts": 1772420400000, "cell": "001-01-1A2B3C4"}
LIMIT = 1000


def raw(**fields: object) -> bytes:
    return json.dumps(GOOD | fields).encode()


def reasons(value: bytes | None) -> list[str]:
    plain = [event.reason.name for event in decode_value(value, LIMIT)]
    assert [Reason(status).name for status in decode(records_of([value]), LIMIT).status] == plain
    return plain


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null_value"),
        (b"", "empty"),
        (b" \n", "empty"),
        (b"[]", "empty"),
        (b"[ ]", "empty"),
        (b"{" * 10, "not_json"),
        (b"[" * 900, "not_json"),
        (b"\xef\xbb\xbf" + raw(), "not_json"),
        (b"null", "not_an_object"),
        (b"17", "not_an_object"),
        (b'"text"', "not_an_object"),
        (b"NaN", "not_json"),
        (raw() + b"x", "not_json"),
        (raw()[:-1], "not_json"),
        (raw(event_id="\xff").replace(b"\\u00ff", b"\xff"), "encoding"),
        (b"x" * (LIMIT + 1), "oversized"),
        (b"{}", "missing_field"),
        (raw(imsi=None), "missing_field"),
        (raw(ts=True), "wrong_type"),
        (raw(ts=1772420400000.0), "wrong_type"),
        (raw(imsi=1010000000001), "wrong_type"),
        (raw(cell=["x"]), "wrong_type"),
        (raw(tac=12345678), "wrong_type"),
        (raw()[:-1] + b',"imsi":"001010000000002"}', "duplicate_key"),
        (raw(ts=1), "out_of_range"),
        (raw(ts=10**30), "out_of_range"),
        (raw(ts=-5), "out_of_range"),
        (raw(ts="2026-02-30T00:00:00Z"), "bad_time"),
        (raw(ts="yesterday"), "bad_time"),
        (raw(ts="2026-03-02T04:00:00"), "bad_time"),
        (raw(ts="1999-12-31T23:59:59Z"), "out_of_range"),
        (raw(imsi="00101"), "bad_imsi"),
        (raw(imsi="0010100000000012"), "bad_imsi"),
        (raw(imsi="00101000000000a"), "bad_imsi"),
        (raw(imsi="100010000000001"), "bad_imsi"),
        (raw(imsi="\u0660" * 15), "bad_imsi"),
        (raw(cell="001-01-XYZ"), "bad_cell"),
        (raw(cell="001-01-1A2B3C"), "bad_cell"),
        (raw(kind="teleport"), "bad_kind"),
        (raw(msisdn="call me"), "bad_msisdn"),
        (raw(tac="1234"), "bad_tac"),
        (raw(rat="5G"), "bad_rat"),
        (raw(event_id=""), "bad_event_id"),
        (raw(event_id="x" * 65), "bad_event_id"),
        (raw(), "OK"),
        (raw(kind=None, msisdn=None, tac=None, rat=None), "OK"),
        (raw(kind="detach", rat="NR", msisdn="+999123456", tac="35123456"), "OK"),
        (raw(extra={"nested": [1, {"imsi": "x"}]}), "OK"),
        (raw()[:-1] + b',"unknown":1,"unknown":2}', "OK"),
        (b'{"kind":"beat","source":"s","ts":1772420400000}', "BEAT"),
    ],
)
def test_each_kind_of_input_has_its_reason(value: bytes | None, reason: str) -> None:
    assert reasons(value) == [reason]


def test_a_bad_element_does_not_hurt_its_neighbours() -> None:
    value = b"[" + raw() + b", {broken, " + raw(imsi="x") + b", " + raw(event_id="e2") + b"]"
    # What begins with an open brace swallows what follows: it can't be known where it should have ended.
    assert reasons(value)[0] == "OK"
    value = b"[" + raw() + b",{broken}," + raw(imsi="x") + b",7," + raw(event_id="e2") + b"]"
    assert reasons(value) == ["OK", "not_json", "bad_imsi", "not_an_object", "OK"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What the reference is asked to read."""
    elements: list[bytes] = []
    monkeypatch.setattr(decoding, "decode_element", lambda element: elements.append(element) or decode_element(element))
    return elements


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (raw(cell="001-01-1A2B3CX"), "bad_cell"),
        (raw(ts="2026-02-30T04:00:00Z"), "bad_time"),
        (raw(event_id='a, ]} \\" b'), "OK"),
        (raw(more={"a": ["}", {"b": "],"}]}), "OK"),
        (b'{"event_id":"e2","imsi":"001010000000001"} x', "not_json"),
        (b'{"event_id":"\xff\xff","imsi":"001010000000001"}', "encoding"),
    ],
)
def test_the_reference_reads_only_the_element_that_is_not_plain(bad: bytes, reason: str, asked: list[bytes]) -> None:
    assert reasons(b"[" + raw() + b" , " + bad + b"\n," + raw(event_id="e3") + b"]") == ["OK", reason, "OK"]
    assert asked == [bad]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (raw(imsi="00101x000000001"), "bad_imsi"),
        (raw(ts="yesterday"), "bad_time"),
        (raw(ts=""), "bad_time"),
        (raw(imsi="x", ts="yesterday"), "bad_imsi"),
        (raw(imsi="x", ts="yesterday", kind="beat"), "BEAT"),
        (b'{"event_id":"e2","imsi":"x"}', "missing_field"),
    ],
)
def test_what_goes_wrong_most_is_seen_without_the_reference(bad: bytes, reason: str, asked: list[bytes]) -> None:
    for value in (bad, b"[" + raw() + b" , " + bad + b"\n]"):
        assert reasons(value)[-1] == reason
    assert asked == []


def test_trailing_bytes_behind_an_array_are_one_more_bad_event() -> None:
    assert reasons(b"[" + raw() + b"] true") == ["OK", "not_json"]
    assert reasons(b"[" + raw() + b",]") == ["OK", "not_json"]
    assert reasons(b"[" + raw()) == ["OK"]


def test_rows_name_the_bytes_of_their_event() -> None:
    value = b"  [ " + raw() + b" , {bad} ]"
    events = decode(records_of([b"x", value]), LIMIT)
    found = [events.status.tolist(), events.index.tolist(), events.record.tolist()]
    assert found == [[Reason.not_json, Reason.OK, Reason.not_json], [0, 0, 1], [0, 1, 1]]
    payload = b"x" + value
    assert payload[events.start[1] : events.end[1]] == raw()
    assert payload[events.start[2] : events.end[2]] == b"{bad}"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2026-03-02T04:00:00Z", 1772424000000),
        ("2026-03-02T04:00:00.5Z", 1772424000500),
        ("2026-03-02T04:00:00.123987Z", 1772424000123),
        ("2026-03-02t05:00:00+01:00", 1772424000000),
        ("2026-03-01T22:30:00-05:30", 1772424000000),
        ("2028-02-29T23:59:60Z", 1835481599999),
    ],
)
def test_rfc_3339_times(text: str, ms: int) -> None:
    events = decode(records_of([raw(ts=text)]), LIMIT)
    assert (events.status.tolist(), events.ts.tolist()) == ([Reason.OK], [ms])


@pytest.mark.parametrize(
    ("cell", "packed"),
    [
        ("001-01-0001-0002", 1 << 62 | 0 << 58 | 1 << 48 | 1 << 37 | 0x10002),
        ("262-02-ABCDEF0", 1 << 62 | 1 << 58 | 262 << 48 | 2 << 37 | 0xABCDEF0),
        ("310-410-0123456aB", 1 << 62 | 2 << 58 | 310 << 48 | 1 << 47 | 410 << 37 | 0x123456AB),
    ],
)
def test_cells_are_packed_as_documented(cell: str, packed: int) -> None:
    assert pack_cell(cell) == packed
    assert decode(records_of([raw(cell=cell)]), LIMIT).cell.tolist() == [packed]


def test_imsis_of_14_and_15_digits_differ() -> None:
    assert pack_imsi("00101000000001") != pack_imsi("001010000000001") == 1 << 60 | 1010000000001


def test_reading_by_the_type_agrees() -> None:
    import msgspec

    assert msgspec.json.decode(raw(), type=AttachEvent).imsi == GOOD["imsi"]
    for bad in (raw(imsi="x"), raw(cell="x"), raw(kind="x"), raw(event_id="")):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(bad, type=AttachEvent)


def test_an_explanation_names_the_field_and_never_the_value() -> None:
    for value in (raw(imsi="00101999"), raw(ts="001010000000009"), raw(cell="001010000000009"), b"{x", raw(tac=5)):
        said = explain(value)
        assert "00101" not in said and said.split(":")[0] in Reason.__members__
    assert explain(raw(imsi="12")) == "bad_imsi: imsi: found 2 characters; " + MEANING[Reason.bad_imsi]


def test_every_reason_has_a_meaning() -> None:
    assert set(MEANING) == set(Reason) - {Reason.OK, Reason.BEAT}


def test_the_reference_page_lists_every_reason_with_its_meaning() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "rejects.md").read_text(encoding="utf-8")
    for reason, meaning in MEANING.items():
        assert f"| `{reason.name}` | {meaning} |" in page


def test_in_parts_the_same_events_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = raw()[:-1] + rb',"msisdn":"\u0034915123456"}'
    values = [raw(), b"[1,2,3]", odd, None, b"", b"[" + odd + b"," + raw() + b"]", b"x" * (LIMIT + 1), raw(), b"["]
    records = records_of(values * 3)
    whole = decode(records, LIMIT)
    for most in (1, 100, 1 << 20):
        monkeypatch.setattr(decoding, "MOST_BYTES_LEFT", most)
        parts = list(decode_in_parts(records, LIMIT))
        assert (len(parts) > 1) == (most < 1 << 20)
        assert all(len(part.offset) for part, _ in parts)
        assert [offset for part, _ in parts for offset in part.offset.tolist()] == records.offset.tolist()
        begins = np.cumsum([0, *(len(part.offset) for part, _ in parts)])
        for name in Events._fields:
            found = [getattr(events, name) + (begin if name == "record" else 0)
                     for begin, (_, events) in zip(begins, parts, strict=False)]  # fmt: skip
            assert np.concatenate(found).tolist() == getattr(whole, name).tolist(), name


@pytest.mark.parametrize("value", [None, b"", b"{}", b"[1]"])
def test_very_many_bad_events_come_in_parts(monkeypatch: pytest.MonkeyPatch, value: bytes | None) -> None:
    monkeypatch.setattr(decoding, "MOST_BAD", 100)
    parts = list(decode_in_parts(records_of([value] * 350), LIMIT))
    assert sum(len(events.status) for _, events in parts) == 350
    assert max(len(events.status) for _, events in parts) <= 100
    assert len(list(decode_in_parts(records_of([raw()] * 350), LIMIT))) == 1
