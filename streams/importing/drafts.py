"""What an event is made of before its cell is known, and why a row makes none."""

from typing import Final, NamedTuple

KINDS: Final = ("update", "attach", "handover", "service", "detach")
RATS: Final = ("gsm", "umts", "lte", "nr")


class Draft(NamedTuple):
    """An event to be. `where`: the file and row that it is from; `cell`: as the data call it, '' if they don't; `lat`,
    `lon` in degrees, NaN if there are none; `birth_year`, 0, and `gender`, '', if they aren't known."""

    where: str
    subscriber: str
    ts_ms: int
    cell: str
    lat: float
    lon: float
    kind: str = "update"
    tac: str = ""
    rat: str = ""
    birth_year: int = 0
    gender: str = ""


class Unusable(Exception):  # noqa: N818 - reads as what it is
    """Why a row makes no event. Says nothing of what stands in it: that may be an identifier."""
