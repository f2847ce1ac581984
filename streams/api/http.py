"""aiohttp's server as the API has it: what it answers by itself, before any route, is in the API's words as well.

That is whatever is no HTTP request, or has a line that is too long, and an `Expect` that can't be met. Of such a
request nothing is quoted, neither in the answer nor in the log: it may hold a token.
"""

import logging
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from streams.api.answers import Refused, refusal

# No hook takes aiohttp's own name out of these.
UNNAMED: Final = {"Server": "throng"}
NO_REQUEST: Final = Refused(400, "request", "this is no HTTP request, or has a line of over 8 KiB", UNNAMED)
NO_ANSWER: Final = Refused(500, "server", "the server can't answer: its log says why", UNNAMED)


class _Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Log it, and end the connection."""
        super().handle_error(request, status, exc, message)
        response = refusal(NO_REQUEST if status == NO_REQUEST.status else NO_ANSWER)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """An exception that comes here has passed no middleware."""
        if isinstance(resp, web.HTTPException):
            resp = refusal(Refused(resp.status, "request", resp.reason))
        return await super().finish_response(request, resp, start_time)


class _Server(web.Server):
    def __call__(self) -> RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """Serves the API's application. Nobody's requests are logged; what went wrong with them is."""

    def __init__(self, app: web.Application, **settings: Any) -> None:
        super().__init__(app, access_log=None, logger=_log(), **settings)

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        made.__class__ = _Server  # aiohttp has no setting for it
        return made


class _Discreet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Without what aiohttp quotes of a request that is none, which may be a header with a token."""
        if record.exc_info and (kind := record.exc_info[0]):
            record.msg, record.exc_info = f"{record.msg}: {kind.__name__}", None
        return True


def _log() -> logging.Logger:
    found = logging.getLogger("throng.api.http")
    if not found.filters:
        found.addFilter(_Discreet())
    return found


async def unnamed(_: web.Request, response: web.StreamResponse) -> None:
    """Which versions of what serve is nobody's business."""
    del response.headers["Server"]
