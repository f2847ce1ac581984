"""Which columns of a file hold what: a mapping in TOML, or one that is known by name.

    subscriber = "user_id"              # or left out: each file is one subscriber's, by its name
    time = "timestamp"                  # or ["date", "time"], put together with a space
    time_format = "auto"                # RFC 3339 or ISO 8601; s, ms or us since 1970; or as strptime has it
    timezone = "UTC"                    # of times that name no offset
    cell = "cell_id"                    # as the cell plan names cells, in its column id or as throng does
    lat = "latitude"
    lon = "longitude"
    kind = "event"                      # left out: all are updates
    [kinds]                             # their words for ours
    call = "service"

Also `error` (of the position, m), `elsewhere` (a column that is filled where another network served), `tac`, `rat`,
`birth_year`, `gender`; and for CSV `delimiter`, `encoding` (UTF-8 if left out), `skip` (lines before the data or its
header) and `columns`, if there is no header. In NDJSON a name with dots reaches inside: "position.lat".
"""

import math
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from schemas.attach import EARLIEST_MS, LATEST_MS
from streams.errors import ThrongError
from streams.importing.drafts import KINDS, RATS, Draft, Unusable

UNITS: Final = {"s": 1000.0, "ms": 1.0, "us": 0.001}
GENDERS: Final = ("female", "male", "other")
TAC_DIGITS: Final = 8
# A number of the year 2000 or later is at least so large in milliseconds, and until 2100 smaller in seconds.
SMALLEST_MS: Final = 1e11
EXACT: Final = 2.0**53
# 2.62E+14: a spreadsheet's, or Python's of a float. Hexadecimal digits may have an E, but no plus.
ROUNDED: Final = re.compile(r"\d+([.,]\d+)?[eE]\+\d+")
# What databases and spreadsheets write where there is nothing.
NOTHING: Final = ("null", "\\n", "nan", "none")


class Columns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mapping."""

    time: str | tuple[str, ...]
    subscriber: str = ""
    time_format: str = "auto"
    timezone: str = "UTC"
    cell: str = ""
    lat: str = ""
    lon: str = ""
    error: str = ""
    elsewhere: str = ""
    kind: str = ""
    tac: str = ""
    rat: str = ""
    birth_year: str = ""
    gender: str = ""
    kinds: dict[str, str] = {}
    delimiter: str = ","
    encoding: str = ""
    skip: int = 0
    columns: tuple[str, ...] = ()

    def named(self) -> list[str]:
        """The columns of the data that it names."""
        times = (self.time,) if isinstance(self.time, str) else self.time
        places = (self.cell, self.lat, self.lon, self.error, self.elsewhere)
        others = (self.kind, self.tac, self.rat, self.birth_year, self.gender)
        return [name for name in (self.subscriber, *times, *places, *others) if name]


# The event data of eurostat/multimno (its `BronzeEventDataObject`): already pseudonymous, and without kinds.
MULTIMNO: Final = Columns(
    subscriber="user_id",
    time="timestamp",
    cell="cell_id",
    lat="latitude",
    lon="longitude",
    error="loc_error",
    elsewhere="plmn",
)


def read_mapping(path: Path) -> Columns:
    """Read a mapping.

    Raises:
        ThrongError: `import`, naming what is wrong with it.
    """
    try:
        mapping = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8-sig")), Columns)
    except OSError as error:
        raise ThrongError("import", f"cannot read the mapping {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ThrongError("import", f"the mapping {path}: {error}") from error
    if not mapping.cell and not (mapping.lat and mapping.lon):
        raise ThrongError("import", f"the mapping {path} names neither a cell nor lat and lon")
    wrong = [kind for kind in mapping.kinds.values() if kind not in KINDS]
    if wrong:
        raise ThrongError("import", f"the mapping {path} has the kind {wrong[0]!r}; there are: {', '.join(KINDS)}")
    try:
        "".encode(mapping.encoding or "utf-8")
    except (LookupError, ValueError) as error:
        raise ThrongError("import", f"the mapping {path}: unknown encoding {mapping.encoding!r}") from error
    if len(mapping.delimiter) != 1:
        raise ThrongError("import", f"the mapping {path}: delimiter is one character")
    return mapping


class Mapper:
    """Rows to drafts. `most_error_m`: positions less exact than that are not used."""

    def __init__(self, columns: Columns, most_error_m: float = math.inf) -> None:
        """Raises:
        ThrongError: `import` if the time zone is unknown.
        """
        self._columns = columns
        self._most_error_m = most_error_m
        try:
            self._zone = ZoneInfo(columns.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ThrongError("import", f"unknown time zone {columns.timezone!r}: use an IANA name") from error

    def draft(self, where: str, row: Mapping[str, Any], file: str) -> Draft:
        """A row's draft; `file`: whose name stands for the subscriber if no column does.

        Raises:
            Unusable: it makes none.
        """
        columns = self._columns
        subscriber = _subscriber(row, columns.subscriber) if columns.subscriber else file
        if not subscriber:
            raise Unusable("no subscriber")
        if _text(row, columns.elsewhere):
            raise Unusable("another network served")
        lat, lon = self._position(row)
        draft = Draft(where, subscriber, self._time(row), _text(row, columns.cell), lat, lon, self._kind(row))
        tac, rat, gender = (_text(row, name) for name in (columns.tac, columns.rat, columns.gender))
        born = _text(row, columns.birth_year)
        return draft._replace(
            tac=tac if len(tac) == TAC_DIGITS and tac.isascii() and tac.isdigit() else "",
            rat=rat.lower() if rat.lower() in RATS else "",
            gender=gender.lower() if gender.lower() in GENDERS else "",
            birth_year=int(born) if born.isascii() and born.isdigit() and len(born) == 4 else 0,
        )

    def _position(self, row: Mapping[str, Any]) -> tuple[float, float]:
        columns = self._columns
        lat, lon, error = (_number(row, name) for name in (columns.lat, columns.lon, columns.error))
        if math.isnan(lat) or math.isnan(lon):
            if not _text(row, columns.cell) and _text(row, columns.lat) and _text(row, columns.lon):
                raise Unusable("the position is no number (a decimal point is needed)")
            return math.nan, math.nan
        if abs(lat) > 90 or abs(lon) > 180:
            raise Unusable("the position is not in degrees")
        if error > self._most_error_m:
            raise Unusable(f"the position is less exact than {self._most_error_m:g} m")
        return lat, lon

    def _kind(self, row: Mapping[str, Any]) -> str:
        word = _text(row, self._columns.kind)
        kind = self._columns.kinds.get(word, word) or "update"
        if kind not in KINDS:
            raise Unusable("a kind that the mapping doesn't know")
        return kind

    def _time(self, row: Mapping[str, Any]) -> int:
        names = self._columns.time
        several = () if isinstance(names, str) else names
        value = " ".join(_text(row, name) for name in several).strip() if several else _value(row, str(names))
        if value is None or value == "":
            raise Unusable("no time")
        return time_ms(value, self._columns.time_format, self._zone)


def time_ms(value: Any, form: str, zone: ZoneInfo) -> int:
    """A time in ms since the Unix epoch.

    Raises:
        Unusable: it isn't of that form, is none in its zone, or is one that no event may have: others' watermarks would
            go by it.
    """
    ts_ms = _time_ms(value, form, zone)
    if not EARLIEST_MS <= ts_ms < LATEST_MS:
        raise Unusable("a time before 2000 or after 2099")
    return ts_ms


def _time_ms(value: Any, form: str, zone: ZoneInfo) -> int:
    if isinstance(value, datetime):  # as Parquet has them
        return _stamp_ms(value, zone)
    try:
        if form in UNITS:
            return round(float(value) * UNITS[form])
        if form != "auto":
            return _stamp_ms(datetime.strptime(str(value), form), zone)
        text = str(value).strip()
        if text.replace(".", "", 1).isdigit():
            number = float(text)
            return round(number if number >= SMALLEST_MS else number * 1000)
        return _stamp_ms(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError, TypeError) as error:
        raise Unusable("a time that is not of the mapping's form") from error


def _stamp_ms(moment: datetime, zone: ZoneInfo) -> int:
    whole = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    if moment.tzinfo is None and whole.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != moment:
        raise Unusable("a time that clocks skipped, as summer time began")
    return round((whole - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def _value(row: Mapping[str, Any], name: str) -> Any:
    if not name:
        return None
    if name in row or "." not in name:
        return row.get(name)
    found: Any = row
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _text(row: Mapping[str, Any], name: str) -> str:
    value = _value(row, name)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)  # a column of whole numbers becomes one of floats where some are missing
    text = value.hex() if isinstance(value, bytes) else str(value).strip()
    return "" if text.lower() in NOTHING else text


def _subscriber(row: Mapping[str, Any], name: str) -> str:
    """Whose row it is.

    Raises:
        Unusable: a number of which digits are lost: several subscribers would be one.
    """
    value = _value(row, name)
    if isinstance(value, float) and abs(value) >= EXACT:
        raise Unusable("a subscriber as a floating-point number, too long to be exact: text or an integer is needed")
    text = _text(row, name)
    if ROUNDED.fullmatch(text):
        raise Unusable("a subscriber as a rounded number, as spreadsheets write long ones: all its digits are needed")
    return text


def _number(row: Mapping[str, Any], name: str) -> float:
    value = _value(row, name)
    try:
        return math.nan if value is None or value == "" else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan
