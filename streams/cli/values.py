"""Values that several commands take on the command line, as text, and what is wrong with them in one line."""

import os
from datetime import datetime
from pathlib import Path

from streams.errors import ThrongError


def speed_of(text: str) -> float | None:
    """`--speed`: simulated or recorded seconds a second; None for max.

    Raises:
        ThrongError: `usage` if it is neither.
    """
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < 1e6:
        raise ThrongError("usage", f"--speed is {text!r}, neither a number above 0 nor max")
    return speed


def moment_ms(option: str, text: str) -> int:
    """An RFC 3339 time in ms since the Unix epoch.

    Raises:
        ThrongError: `usage` if it is none, or has no offset.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise ThrongError("usage", f"{option} is {text!r}, not a time with an offset such as 2026-03-02T04:00+01:00")
    return round(moment.timestamp() * 1000)


def check_writable(option: str, path: Path | None) -> None:
    """Refuse a file that couldn't be written, before any work for it is done.

    Raises:
        ThrongError: `usage` if its folder is missing, or may not be written.
    """
    if path is None:
        return
    if not path.parent.is_dir():
        raise ThrongError("usage", f"{option} is {path}, but there is no folder {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise ThrongError("usage", f"{option} is {path}, which may not be written")
