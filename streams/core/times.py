"""Times as people read them: milliseconds since the Unix epoch inside, RFC 3339 in UTC outside."""

from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo


def rfc3339(ms: int) -> str:
    """A time in UTC, to the second."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def milliseconds(text: str) -> int:
    """A time in RFC 3339 as ms since the Unix epoch.

    Raises:
        ValueError: it is none, or without its zone.
    """
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its zone")
    return round(at.timestamp() * 1000)


@lru_cache(4096)  # a pane's records are of the same few
def instant(text: str) -> int:
    """A time as `rfc3339` writes it, in ms.

    Raises:
        ValueError: it is none, or is written otherwise.
    """
    found = milliseconds(text)
    if rfc3339(found) != text:
        raise ValueError("a time in another form than released records have")
    return found


def local_hour(ms: int, timezone: str) -> int:
    """The hour of the day, 0 to 23, at a time in an IANA zone."""
    return datetime.fromtimestamp(ms / 1000, ZoneInfo(timezone)).hour


def is_timezone(name: str) -> bool:
    """Is it an IANA name of a time zone, such as Europe/Berlin?"""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # not there, no name at all, a folder of them
        return False
    return True
