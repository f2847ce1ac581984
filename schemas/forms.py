"""Contracts as held against what others may have written: their types, with numbers that are some.

JSON knows numbers that are too large for whoever adds them up, and ones that are infinite once read.
"""

from types import GenericAlias
from typing import Annotated, Any, Final, get_args, get_origin

import msgspec
from msgspec import Meta

# Whole numbers up to here are exact in JSON, whoever reads it (RFC 8259, section 6).
MOST: Final = 2**53 - 1


def bounded(kind: Any) -> Any:
    """The struct's type with all its numbers from -`MOST` to `MOST`."""
    if kind is float or kind is int:
        return Annotated[kind, Meta(ge=-MOST, le=MOST)]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        made = [
            (field.name, bounded(field.type)) if field.required else (field.name, bounded(field.type), field.default)
            for field in msgspec.structs.fields(kind)
        ]
        return msgspec.defstruct(kind.__name__, made, bases=(), kw_only=True)
    if get_origin(kind) is tuple:
        return GenericAlias(tuple, (bounded(get_args(kind)[0]), ...))
    if (inner := [each for each in get_args(kind) if each is not type(None)]) and type(None) in get_args(kind):
        return bounded(inner[0]) | None
    return kind
