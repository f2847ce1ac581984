"""Overwriting secrets that were used: freed memory keeps its bytes until somebody else needs the place. And none of a
process that holds some goes to disk if it crashes."""

import ctypes
import resource


def wipe(secret: bytes) -> None:
    """Overwrite a bytes object where it lies. Nobody may use it any more, under any name.

    CPython's own bytes lie at the address that ctypes is given; one-byte objects are shared and left alone.
    """
    if len(secret) > 1:
        ctypes.memset(ctypes.cast(ctypes.c_char_p(secret), ctypes.c_void_p), 0, len(secret))


def leave_no_core() -> None:
    """From now on a crash of this process, or of one that it starts, leaves no core dump: it would hold, for good, all
    that wiping takes away, of a crowd everybody's way through the day, of a release the exact counts and the noise that
    hides them, of a command the identifiers that it reads. (systemd and apport, which get a core by a pipe, go by the
    limit too.)
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
