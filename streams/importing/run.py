"""The import itself: files in, sorted events in a spool; what can't be used is counted and told.

In: files, what finds cells, a disguise. Out: events in the spool; `Told`, which has every row that made no
event, with the reason: none is lost silently. Nothing in it repeats what stands in a row.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import orjson

from streams.importing import amf
from streams.importing.disguise import Disguise
from streams.importing.drafts import Draft, Unusable
from streams.importing.mapping import Columns, Mapper
from streams.importing.reading import name_of, rows_of
from streams.importing.spool import Spool

BATCH: Final = 8192
FIRST: Final = 5
NO_ROW: Final = "no row of the file's form (fields missing or too many, an open quote, or no JSON)"

# A row, where it stands, and what comes of it.
Made = tuple[str, Draft | Unusable]
# The cell of each, as `locate.Locator.cells` finds it.
Locate = Callable[[Sequence[Draft]], list[str | Unusable]]


class Told:
    """Rows read, and those of no use: how many by reason and where the first are; all of them to a file if given."""

    def __init__(self, file: TextIO | None = None) -> None:
        self.rows = 0
        self.reasons: Counter[str] = Counter()
        self.firsts: dict[str, list[str]] = {}
        self._file = file

    def unusable(self, where: str, reason: str) -> None:
        """Tell of a row."""
        self.reasons[reason] += 1
        firsts = self.firsts.setdefault(reason, [])
        if len(firsts) < FIRST:
            firsts.append(where)
        if self._file is not None:
            self._file.write(orjson.dumps({"row": where, "reason": reason}).decode() + "\n")

    def lines(self) -> Iterator[str]:
        """A line a reason, the commonest first."""
        for reason, count in self.reasons.most_common():
            more = ", ..." if count > FIRST else ""
            yield f"{count:,} rows: {reason}: {', '.join(self.firsts[reason])}{more}"


def mapped(paths: Iterable[Path], columns: Columns, most_error_m: float) -> Iterator[Made]:
    """What a mapping makes of files' rows."""
    mapper = Mapper(columns, most_error_m)
    for path in paths:
        file = name_of(path)
        for number, row in rows_of(path, columns):
            where = f"{path.name}:{number}"
            if row is None:
                yield where, Unusable(NO_ROW)
                continue
            try:
                yield where, mapper.draft(where, row, file)
            except Unusable as unusable:
                yield where, unusable


def notified(paths: Iterable[Path]) -> Iterator[Made]:
    """What AMF event notifications hold."""
    for path in paths:
        yield from amf.drafts_of(path)


def take(
    made: Iterator[Made],
    locate: Locate,
    disguise: Disguise,
    spool: Spool,
    told: Told,
    person: Callable[[str, Draft], None],
    progress: Callable[[int], None],
) -> None:
    """Fill the spool. `person` gets each event's IMSI and draft; `progress` the rows so far."""
    while batch := list(islice(made, BATCH)):
        told.rows += len(batch)
        drafts: list[Draft] = []
        for where, what in batch:
            if isinstance(what, Unusable):
                told.unusable(where, str(what))
            else:
                drafts.append(what)
        for draft, cell in zip(drafts, locate(drafts), strict=True):
            try:
                if isinstance(cell, Unusable):
                    raise cell
                imsi = disguise.imsi(draft.subscriber)
            except Unusable as unusable:
                told.unusable(draft.where, str(unusable))
                continue
            person(imsi, draft)
            spool.add(draft.ts_ms, int(imsi), _value(spool.events, imsi, cell, draft))
        progress(told.rows)


def _value(number: int, imsi: str, cell: str, draft: Draft) -> bytes:
    """The record. Written by hand: `orjson.dumps` leaves kilobytes unused behind each of many small values."""
    more = "".join(f',"{name}":"{text}"' for name, text in (("tac", draft.tac), ("rat", draft.rat)) if text)
    event = f'{{"event_id":"i{number}","imsi":"{imsi}","ts":{draft.ts_ms},"cell":"{cell}","kind":"{draft.kind}"{more}}}'
    return event.encode()
