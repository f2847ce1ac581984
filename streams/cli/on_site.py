"""Counts on site: a CSV of whoever counted, checked row by row."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from schemas.measures import Measure
from schemas.plan import Correction, Plan
from streams.core.calibration.evidence import OnSite
from streams.core.estimates.factors import STATISTICS, key_of, part_names, place_numbers
from streams.core.times import milliseconds
from streams.errors import ThrongError
from streams.tables import delimiter_of, opened

NEEDED: Final = ("measure", "place", "start", "end", "people")
OPTIONAL: Final = ("destination", "part")


def read_on_site(path: Path, plan: Plan, measures: Sequence[Measure]) -> list[OnSite]:
    """The counts of a CSV file with the columns above.

    Raises:
        ThrongError: `usage`, naming the row, the field and what was expected.
    """
    known = {measure.name: measure for measure in measures if measure.statistic in STATISTICS}
    places = {name: place_numbers(plan, measure) for name, measure in known.items()}
    found: dict[tuple[str, int | None, int], OnSite] = {}
    try:
        with opened(path) as lines:
            head = lines.readline()
            delimiter = delimiter_of(head)
            names = next(csv.reader([head], delimiter=delimiter), None)
            rows = csv.DictReader(lines, names or (), delimiter=delimiter)
            missing = [name for name in NEEDED if name not in (rows.fieldnames or ())]
            if missing:
                raise ThrongError("usage", f"{path}: no column {missing[0]!r}; expected {', '.join(NEEDED + OPTIONAL)}")
            for row in rows:
                if not any(row.values()):  # as spreadsheets leave them at the end
                    continue
                where = f"{path}, row {1 + rows.line_num}"
                one = _row(where, row, known, places)
                key = key_of(known[one.measure], places[one.measure], _as_correction(one))
                if found.setdefault((one.measure, key, one.start_ms), one) is not one:
                    raise _wrong(where, "start", row["start"] or "", "each pane of a place once, and it is there twice")
    except OSError as error:
        raise ThrongError("usage", f"cannot read the counts on site {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ThrongError("usage", f"the counts on site {path} are no CSV in UTF-8: {error}") from error
    return list(found.values())


def _row(
    where: str, row: Mapping[str, str | None], known: Mapping[str, Measure], places: Mapping[str, Mapping[str, int]]
) -> OnSite:
    said = {name: (row.get(name) or "").strip() for name in NEEDED + OPTIONAL}
    if said["measure"] not in known:
        raise _wrong(where, "measure", said["measure"], f"one that factors are for: {', '.join(sorted(known))}")
    measure = known[said["measure"]]
    level = "zone" if measure.level == "zone" else "district"
    ends = ["place", "destination"] if measure.statistic == "trips" else ["place"]
    for field in ends:
        if said[field] not in places[measure.name]:
            raise _wrong(where, field, said[field], f"a {level} of the plan, by its id")
    if len(ends) == 1 and said["destination"]:
        raise _wrong(where, "destination", said["destination"], "nothing: it is for flows")
    parts = [name for name in part_names(measure) if name != "cut"]
    if said["part"] not in parts:
        raise _wrong(where, "part", said["part"], f"one of {', '.join(parts)}" if parts != [""] else "nothing")
    start_ms, end_ms = (_moment(where, field, said[field]) for field in ("start", "end"))
    if end_ms - start_ms != measure.pane_ms:
        pane = f"{measure.pane_ms // 60_000} minutes after start, as long as a pane of {measure.name}"
        raise _wrong(where, "end", said["end"], pane)
    people = _people(where, said["people"])
    return OnSite(measure.name, said["place"], said["destination"], said["part"], start_ms, end_ms, people)


def _as_correction(one: OnSite) -> Correction:
    return Correction(one.measure, one.place, 1.0, 0.0, one.destination, one.part)


def _moment(where: str, field: str, text: str) -> int:
    try:
        return milliseconds(text)
    except ValueError as error:
        raise _wrong(where, field, text, "a time with an offset, such as 2026-03-02T08:00+01:00") from error


def _people(where: str, text: str) -> float:
    try:
        people = float(text)
    except ValueError:
        people = math.nan
    if not 0 <= people < math.inf:
        raise _wrong(where, "people", text, "a number, 0 or more, such as 1840 or 12.5")
    return people


def _wrong(where: str, field: str, said: str, expected: str) -> ThrongError:
    return ThrongError("usage", f"{where}: {field} is {said!r}, expected {expected}")
