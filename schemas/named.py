"""By its names a record of a topic of throng's own is told from what throng didn't write: it is a map that has those
that its schema lists, in every release."""

from typing import Final, Protocol

import msgspec

# What decoders raise of whatever bytes.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Fields(Protocol):
    """A decoder of maps of whatever, from JSON or msgpack."""

    def decode(self, buf: bytes, /) -> dict[str, msgspec.Raw]: ...


def names(value: bytes, fields: Fields) -> frozenset[str]:
    """The names that a record's map has; none if it is no map of names."""
    try:
        return frozenset(fields.decode(value))
    except UNREADABLE:
        return frozenset()
