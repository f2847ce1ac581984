"""What the API's questions and answers look like over HTTP, and its refusals."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import orjson
from aiohttp import web

from streams.core.times import milliseconds

HEADERS: Final = {"Cache-Control": "no-store"}
# RFC 3339, 5.6, date-time: fewer forms than ISO 8601 and Python know. Which days there are Python says.
DATE_TIME: Final = re.compile(
    "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3])(:[0-5][0-9]){2}([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
)


class Refused(Exception):  # noqa: N818 - reads as what it is
    """An answer that isn't what was asked for: its status, a code for programs, a sentence for people, and headers."""

    def __init__(self, status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status, self.code, self.sentence, self.headers = status, code, sentence, headers or {}


def asked_of(request: web.Request, names: Sequence[str]) -> dict[str, str]:
    """The parameters of a request, empty where not given.

    Raises:
        Refused: one has another name than these, is there twice, or is empty.
    """
    for name in request.query:
        if name not in names:
            raise Refused(400, "parameter", f"the parameters here are {', '.join(names)}")
        if len(request.query.getall(name)) > 1:
            raise Refused(400, "parameter", f"{name} is there more than once: ask for each by itself")
        if not request.query[name]:
            raise Refused(400, "parameter", f"{name} is empty: give it a value, or leave it out")
    return {name: request.query.get(name, "") for name in names}


def time_of(asked: dict[str, str], name: str, default: int) -> int:
    """The time that a parameter names in RFC 3339, milliseconds since the Unix epoch.

    Raises:
        Refused: it is none.
    """
    if not asked[name]:
        return default
    try:
        if not DATE_TIME.fullmatch(asked[name]):
            raise ValueError("no date-time")
        return milliseconds(asked[name].upper())
    except (ValueError, OverflowError) as error:
        known = "2026-03-02T06:00:00Z or 2026-03-02T07:00:00+01:00: with seconds and an offset, its + written %2B"
        raise Refused(400, "parameter", f"{name} is no time in RFC 3339, such as {known}") from error


def event(name: str, data: bytes, number: bytes = b"") -> bytes:
    """A Server-Sent Event, with its id if it has one."""
    return b"event: " + name.encode() + b"\ndata: " + data + (b"\nid: " + number if number else b"") + b"\n\n"


def words(refused: Refused) -> dict[str, str]:
    """What a refusal says."""
    return {"error": refused.code, "message": refused.sentence}


def refusal(refused: Refused) -> web.Response:
    """The answer that it is."""
    return json_answer(orjson.dumps(words(refused)), refused.status, refused.headers)


def json_answer(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer in JSON that no cache keeps."""
    return web.Response(
        body=body, status=status, content_type="application/json", headers={**HEADERS, **(headers or {})}
    )
