"""Memory by its address, several bytes at a time: what numba has no words for.

For compiled loops that walk text. An address is an i64 (`array.ctypes.data` plus a position); nothing checks it, and
nothing keeps the array: the caller holds it, and sees to it that what is read is there. (With arrays instead, numba
counts references in each small function, which costs more than the reading.)
"""

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

BLOCK: Final = 64

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_LANES = ir.VectorType(_BYTE, BLOCK)

Build = Callable[[Any, Any, Any, Any], Any]


@intrinsic
def byte(typing: Any, at: Any) -> tuple[Any, Build]:
    """The byte at an address, as i64."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(_load(builder, arguments[0], _BYTE), _WORD)

    return types.int64(types.int64), build


@intrinsic
def word(typing: Any, at: Any) -> tuple[Any, Build]:
    """The 8 bytes from an address on, as a little-endian u64."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _load(builder, arguments[0], _WORD)

    return types.uint64(types.int64), build


@intrinsic
def put_word(typing: Any, at: Any, value: Any) -> tuple[Any, Build]:
    """Write an i64 as 8 bytes."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], _WORD.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), build


@intrinsic
def fetch(typing: Any, at: Any) -> tuple[Any, Build]:
    """Have the cache line of an address brought, without waiting for it; the address may be any."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), *[ir.IntType(32)] * 3])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(ir.IntType(32), value) for value in (0, 3, 1))
        builder.call(function, [builder.inttoptr(arguments[0], _BYTE.as_pointer()), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.int64), build


@intrinsic
def unplain(typing: Any, at: Any) -> tuple[Any, Build]:
    """A bit of a u64 for each of BLOCK bytes that isn't a plain character of a JSON string: printable ASCII, no quote
    and no backslash."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        text = _load(builder, arguments[0], _LANES)
        beyond = builder.icmp_unsigned(">", builder.sub(text, _all(0x20)), _all(0x7E - 0x20))
        quote = builder.icmp_unsigned("==", text, _all(ord('"')))
        backslash = builder.icmp_unsigned("==", text, _all(ord("\\")))
        return builder.bitcast(builder.or_(beyond, builder.or_(quote, backslash)), _WORD)

    return types.uint64(types.int64), build


@intrinsic
def zeros(typing: Any, number: Any) -> tuple[Any, Build]:
    """How many zero bits a u64 ends with; 64 of 0."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.uint64), build


@intrinsic
def ones(typing: Any, number: Any) -> tuple[Any, Build]:
    """How many bits of a u64 are set."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), build


def _load(builder: Any, at: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(at, kind.as_pointer()), align=1)


def _all(value: int) -> Any:
    return ir.Constant(_LANES, [ir.Constant(_BYTE, value)] * BLOCK)
