"""What a raw record means, plainly: the definition that the fast scanner (`scan`) must equal on every input.

In: the bytes of one record's value. Out: for each event in it where it lies, its reason (OK, BEAT or why it is
refused) and, if it is good, its fields as numbers. Nothing raises.

A record is one JSON object, or an array that is first split into elements by commas outside of strings and
brackets, so that a broken element doesn't hurt its neighbours; what can't be split further is one refused event.
Checks of an element, the first that fails giving the reason: UTF-8; JSON; an object; no known field twice; a beat
ends here; the required fields are there; types; then values, in the order of `FIELDS`. Duplicates of unknown fields
are ignored like the fields themselves.
"""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, NoReturn

from schemas.attach import (
    EARLIEST_MS,
    KINDS,
    LATEST_MS,
    MSISDN_PATTERN,
    RATS,
    pack_cell,
    pack_imsi,
)
from schemas.rejects import MEANING, Reason
from streams.core.events.machines import pack_tac

REQUIRED = ("event_id", "imsi", "ts", "cell")
FIELDS = ("event_id", "imsi", "ts", "cell", "kind", "msisdn", "tac", "rat")
KNOWN = frozenset(FIELDS)
SPACE = b" \t\n\r"

_MSISDN = re.compile(MSISDN_PATTERN, re.ASCII)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:)(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Event(NamedTuple):
    """One event of a record: bytes `[start, end)` of the value, reason, and the fields of a good one (else 0)."""

    start: int
    end: int
    reason: Reason
    imsi: int = 0
    ts: int = 0
    cell: int = 0
    kind: int = 0
    rat: int = 0
    tac: int = 0


class Refusal(Exception):  # noqa: N818 - reads as what it is
    """Why an element is refused; `field` is None if it isn't about one."""

    def __init__(self, reason: Reason, field: str | None = None, found: str = "") -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.field = field
        self.found = found


class _Pairs(list[tuple[str, object]]):
    """A JSON object as its pairs, duplicates kept."""


def decode_value(value: bytes | None, max_record_bytes: int) -> list[Event]:
    """All events of one record; at least one."""
    if value is None:
        return [Event(0, 0, Reason.null_value)]
    if len(value) > max_record_bytes:
        return [Event(0, len(value), Reason.oversized)]
    begin = len(value) - len(value.lstrip(SPACE))
    if begin == len(value):
        return [Event(0, len(value), Reason.empty)]
    if value[begin] != ord("["):
        return [_event(value, 0, len(value))]
    elements = list(split(value, begin + 1))
    return [_event(value, start, end) for start, end in elements] or [Event(0, len(value), Reason.empty)]


def decode_element(element: bytes) -> Event:
    """One element of an array, by itself."""
    return _event(element, 0, len(element))


def explain(element: bytes) -> str:
    """Why an element is refused, in a sentence that names field, kind of value and what is expected, never the
    value."""
    try:
        _check(element)
    except Refusal as refusal:
        where = f"{refusal.field}: found {refusal.found}; " if refusal.field else ""
        return f"{refusal.reason.name}: {where}{MEANING[refusal.reason]}"
    return "nothing is wrong with it by itself"


def split(value: bytes, at: int) -> Iterator[tuple[int, int]]:
    """The elements of an array whose first byte inside is `at`, without the space around them.

    Bytes behind the closing bracket are one more element, which is never JSON.
    """
    depth, start, in_string = 0, at, False
    any_comma = False
    while at < len(value):
        byte = value[at : at + 1]
        if in_string:
            if byte == b"\\":
                at += 1
            elif byte == b'"':
                in_string = False
        elif byte == b'"':
            in_string = True
        elif byte in b"{[":
            depth += 1
        elif byte in b"}]" and depth > 0:
            depth -= 1
        elif depth == 0 and byte == b",":
            any_comma = True
            yield _trim(value, start, at)
            start = at + 1
        elif depth == 0 and byte == b"]":
            inside = _trim(value, start, at)
            if any_comma or inside[0] < inside[1]:
                yield inside
            rest = _trim(value, at + 1, len(value))
            if rest[0] < rest[1]:
                # With the bracket before it, so that it can't be taken for an event.
                yield at, rest[1]
            return
        at += 1
    yield _trim(value, start, len(value))


def _trim(value: bytes, start: int, end: int) -> tuple[int, int]:
    part = value[start:end]
    return start + len(part) - len(part.lstrip(SPACE)), start + len(part.rstrip(SPACE)) if part.strip(SPACE) else end


def _event(value: bytes, start: int, end: int) -> Event:
    try:
        return _check(value[start:end])._replace(start=start, end=end)
    except Refusal as refusal:
        return Event(start, end, refusal.reason)


def _check(element: bytes) -> Event:
    pairs = _object(element)
    names = [name for name, _ in pairs if name in KNOWN]
    if len(set(names)) < len(names):
        twice = next(name for name in FIELDS if names.count(name) > 1)
        raise Refusal(Reason.duplicate_key, twice, "it twice")
    fields = {name: value for name, value in pairs if name in KNOWN and value is not None}
    if fields.get("kind") == "beat":
        return Event(0, 0, Reason.BEAT)
    for name in REQUIRED:
        if name not in fields:
            raise Refusal(Reason.missing_field, name, "nothing")
    for name in FIELDS:
        allowed: tuple[type, ...] = (int, str) if name == "ts" else (str,)
        if name in fields and (not isinstance(fields[name], allowed) or isinstance(fields[name], bool)):
            raise Refusal(Reason.wrong_type, name, type(fields[name]).__name__)
    read = {name: READERS[name](fields[name]) for name in FIELDS if name in fields}
    optional = (read.get(name, 0) for name in ("kind", "rat", "tac"))
    return Event(0, 0, Reason.OK, read["imsi"], read["ts"], read["cell"], *optional)


def _object(element: bytes) -> _Pairs:
    try:
        text = element.decode("utf-8")
    except UnicodeDecodeError:
        raise Refusal(Reason.encoding) from None
    try:
        found = _JSON.decode(text)
    except (ValueError, RecursionError):
        raise Refusal(Reason.not_json) from None
    if not isinstance(found, _Pairs):
        raise Refusal(Reason.not_an_object)
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


# Made once: it takes as long as reading an event.
_JSON: Final = json.JSONDecoder(object_pairs_hook=_Pairs, parse_constant=_no_constant)


def _event_id(value: object) -> int:
    if not 1 <= len(str(value)) <= 64:
        raise Refusal(Reason.bad_event_id, "event_id", f"{len(str(value))} characters")
    return 0


def _imsi(value: object) -> int:
    try:
        return pack_imsi(str(value))
    except ValueError:
        raise Refusal(Reason.bad_imsi, "imsi", f"{len(str(value))} characters") from None


def _cell(value: object) -> int:
    try:
        return pack_cell(str(value))
    except ValueError:
        raise Refusal(Reason.bad_cell, "cell", f"{len(str(value))} characters") from None


def _ts(value: object) -> int:
    ts = value if isinstance(value, int) else _rfc3339_ms(str(value))
    if not EARLIEST_MS <= ts < LATEST_MS:
        raise Refusal(Reason.out_of_range, "ts", "another time")
    return ts


def _rfc3339_ms(text: str) -> int:
    """RFC 3339, section 5.6. A leap second (60) is taken as the last millisecond of the second before it."""
    parts = _RFC3339.fullmatch(text)
    if parts is None:
        raise Refusal(Reason.bad_time, "ts", "text of another form")
    day, minute, second, fraction, sign, hours, minutes = parts.groups()
    leap = second == "60"
    try:
        local = datetime.fromisoformat(f"{day}T{minute}{'59' if leap else second}+00:00")
        if hours is not None and (int(hours) > 23 or int(minutes) > 59):
            raise ValueError("offset")
    except ValueError:
        raise Refusal(Reason.bad_time, "ts", "a date or time that does not exist") from None
    ms = 999 if leap else int((fraction or "0")[:3].ljust(3, "0"))
    shift = 0 if hours is None else (int(hours) * 60 + int(minutes)) * 60_000
    return (local - _EPOCH) // timedelta(milliseconds=1) + ms - (-shift if sign == "-" else shift)


def _word(name: str, words: tuple[str, ...], reason: Reason) -> Callable[[object], int]:
    def read(value: object) -> int:
        if value not in words:
            raise Refusal(reason, name, "another word")
        return words.index(str(value))

    return read


def _rat(value: object) -> int:
    if value not in (*RATS[1:], *(rat.upper() for rat in RATS[1:])):
        raise Refusal(Reason.bad_rat, "rat", "another word")
    return RATS.index(str(value).lower())


def _tac(value: object) -> int:
    try:
        return pack_tac(str(value))
    except ValueError:
        raise Refusal(Reason.bad_tac, "tac", f"{len(str(value))} characters") from None


def _matching(name: str, pattern: re.Pattern[str], reason: Reason) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not pattern.fullmatch(str(value)):
            raise Refusal(reason, name, f"{len(str(value))} characters")
        return 0

    return read


READERS: dict[str, Callable[[object], int]] = {
    "event_id": _event_id,
    "imsi": _imsi,
    "ts": _ts,
    "cell": _cell,
    "kind": _word("kind", KINDS, Reason.bad_kind),
    "msisdn": _matching("msisdn", _MSISDN, Reason.bad_msisdn),
    "tac": _tac,
    "rat": _rat,
}
