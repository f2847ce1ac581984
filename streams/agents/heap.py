"""What becomes of freed memory in a worker: it stays, up to a limit, for what comes next.

glibc gives the end of its heap, and each longer piece by itself, back to the kernel as soon as it is free, and the
kernel zeroes page by page what is asked for next. A crowd's tables grow in steps of megabytes, and what a chunk needs
is freed after each: page faults were nearly a tenth of a crowd's time in catching up, of which more than half go.

Elsewhere than with glibc nothing is changed. https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
# The most that glibc takes.
SHORTER_STAY: Final = 32 << 20
MOST_KEPT: Final = 64 << 20


def keep_freed() -> bool:
    """Keep what is freed from now on, up to `MOST_KEPT` at the heap's end. Returns whether that could be said."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return all(mallopt(*limit) for limit in ((M_MMAP_THRESHOLD, SHORTER_STAY), (M_TRIM_THRESHOLD, MOST_KEPT)))
