"""Where things are kept on this machine: downloads in the user's cache, stacks in the user's state folder."""

import errno
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.errors import ThrongError

Progress = Callable[[str], None]
"""Told what is going on, a line of plain text at a time."""

SPACE_NEEDED = 512 << 20
"""Bytes that must be free before something is started or downloaded."""


def quiet(line: str) -> None:
    """A `Progress` that says nothing."""


def cache_folder() -> Path:
    """The folder of what was downloaded and can be downloaded again."""
    if configured := os.environ.get("XDG_CACHE_HOME"):
        return Path(configured) / "throng"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "throng"
    return Path.home() / ".cache" / "throng"


def stack_folder(name: str = "default") -> Path:
    """The folder of the stack called `name`.

    Raises:
        ThrongError: `usage` if the name can't be one folder's.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ThrongError("usage", f"{name!r} can't name a stack: use letters, digits, dots, dashes and underscores")
    configured = os.environ.get("XDG_STATE_HOME")
    state = Path(configured) if configured else Path.home() / ".local" / "state"
    return state / "throng" / name


def prepare(folder: Path, needed: int = SPACE_NEEDED) -> None:
    """Make `folder`, for this user's eyes only, and see that it can be written and has `needed` bytes free.

    Raises:
        ThrongError: `folder` or `space`.
    """
    with told(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, "Permission denied")
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise ThrongError(
            "space",
            f"{folder} has {free >> 20} MB free and {needed >> 20} MB are needed: make room or choose another folder",
        )


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the file system refuses into one line that says what to do."""
    try:
        yield
    except OSError as error:
        code, advice = "folder", "check its rights or choose another folder"
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            code, advice = "space", "make room or choose another folder"
        raise ThrongError(code, f"cannot write to {error.filename or path} ({error.strerror}): {advice}") from error


@contextmanager
def locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file at `path`; `waiting` is called if another process has it. The kernel frees it at death."""
    with told(path):
        file = path.open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
