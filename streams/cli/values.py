"""Values that several commands take on the command line, as text, and what is wrong with them in one line."""

import math
import os
from pathlib import Path
from typing import Any, Final

import click

from streams.core.times import is_timezone, milliseconds, rfc3339
from streams.errors import ThrongError


class AboveZero(click.FloatRange):
    """A number above 0; what is none (nan) or endless would go on for ever."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """As `click.FloatRange`, of finite numbers."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no number of this world.", param, ctx)
        return number


ABOVE_ZERO: Final = AboveZero()
# A town's seed, and how many people may live in one.
SEED: Final = click.IntRange(0, (1 << 63) - 1)
PEOPLE: Final = click.IntRange(1, 1 << 26)


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
        return milliseconds(text)
    except ValueError as error:
        said = f"{option} is {text!r}, not a time with an offset such as 2026-03-02T04:00+01:00"
        raise ThrongError("usage", said) from error


def expiry_ms(option: str, text: str, now_ms: int) -> int:
    """`90d`, `12h`, a day or an RFC 3339 time, in ms since the Unix epoch: after now.

    Raises:
        ThrongError: `usage` if it is none of these, or over already.
    """
    step_ms = {"d": 86_400_000, "h": 3_600_000}.get(text[-1:], 0)
    try:
        if step_ms and text[:-1].isascii() and text[:-1].isdigit():
            until_ms = now_ms + int(text[:-1]) * step_ms
        else:
            until_ms = milliseconds(f"{text}T00:00Z" if len(text) == len("2027-01-31") else text)
        rfc3339(until_ms)
    except (ValueError, OverflowError, OSError) as error:
        known = "90d, 12h, a day such as 2027-01-31 or a time such as 2027-01-31T18:00Z"
        raise ThrongError("usage", f"{option} is {text!r}, none of {known}") from error
    if until_ms <= now_ms:
        raise ThrongError("usage", f"{option} is {text!r}, which is over already")
    return until_ms


def check_timezone(option: str, name: str) -> None:
    """Refuse a time zone that isn't known.

    Raises:
        ThrongError: `usage` if it is no IANA name.
    """
    if not is_timezone(name):
        raise ThrongError("usage", f"{option} is {name!r}, not an IANA name such as Europe/Berlin")


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
