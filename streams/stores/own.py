"""Which records of a topic are throng's own: what no release wrote is passed over, what another release may have
written is refused.

In every release a record of these topics is a map, and has the names by which its kind is told (`named`). One that is
no map, or has none of them, is of somebody who tried the wrong topic: without it all that throng wrote is there. One
that has some of them and can't be read may be a draw or a salt that another release wrote. Passed over, it would be
drawn or made once more.
"""

import logging
from typing import Generic, Protocol, TypeVar

from schemas.named import UNREADABLE, Fields, names
from streams.errors import ThrongError

log = logging.getLogger("throng.own")

T = TypeVar("T")
R = TypeVar("R", covariant=True)


class Kind(Protocol[R]):
    """How records are written: `msgspec.json.Decoder` or `msgspec.msgpack.Decoder`."""

    def decode(self, buf: bytes, /) -> R: ...


class Record(Protocol):
    """What is asked of a record."""

    @property
    def topic(self) -> str: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...


class Own(Generic[T]):
    """Reads records of one topic.

    Args:
        code: of the error where a record is refused.
        decoder: of its records. fields: of the same form, as a map of whatever.
        named: names of which every release's records have all.

    Attributes:
        passed_over: how many records are not throng's.
    """

    def __init__(self, code: str, decoder: Kind[T], fields: Fields, named: frozenset[str]) -> None:
        self._code = code
        self._decoder = decoder
        self._fields = fields
        self._named = named
        self.passed_over = 0

    def read(self, record: Record, *, counted: bool = True) -> T | None:
        """The record; None if it is none of throng's.

        Args:
            counted: False where it is read once more.

        Raises:
            ThrongError: with `code`, if another release may have written it.
        """
        value = record.value or b""
        try:
            return self._decoder.decode(value)
        except UNREADABLE:
            if self._named & names(value, self._fields):
                raise refused(self._code, _place(record)) from None
        if counted:
            self.passed_over += 1
            if self.passed_over == 1:
                log.error("%s: passed over, as no release of throng wrote it; more are only counted", _place(record))
        return None


def refused(code: str, place: str) -> ThrongError:
    """What to say of a record that may be another release's. `place`: its topic, partition and offset."""
    return ThrongError(
        code,
        f"{place}: the record is not as this release has it: if a newer one wrote it see docs/how-to/upgrade.md, else "
        "docs/how-to/outages.md#foreign-records",
    )


def _place(record: Record) -> str:
    return f"{record.topic}, partition {record.partition}, offset {record.offset}"
