"""Overwriting secrets that were used: freed memory keeps its bytes until somebody else needs the place."""

import ctypes


def wipe(secret: bytes) -> None:
    """Overwrite a bytes object where it lies. Nobody may use it any more, under any name.

    CPython's own bytes lie at the address that ctypes is given; one-byte objects are shared and left alone.
    """
    if len(secret) > 1:
        ctypes.memset(ctypes.cast(ctypes.c_char_p(secret), ctypes.c_void_p), 0, len(secret))
