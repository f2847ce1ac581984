"""The API over HTTP: records of a place now and lately, places, and a live feed by Server-Sent Events.

aiohttp serves it, which Faust and the workers' own health need already. Every answer is JSON and not to be kept by
caches: what is withdrawn must be silent. No token, a wrong or an expired one: 401; outside its scopes: 403; too often:
429; rules that are not known for sure: 503. A feed holds a bounded number of records; whoever is slower is told so, and
dropped. Whoever comes back with the id of the last event is told what came since. `/v1/openapi.json` describes it all,
to anybody, and `/map/` is a page that shows it to whoever has a token.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, Protocol

import msgspec
import orjson
from aiohttp import web

from schemas.measures import MOST_PAIRS
from schemas.plan import Places
from schemas.released import Flow
from schemas.topics import FLOWS
from streams.api.answers import HEADERS, Refused, asked_of, event, json_answer, refusal, time_of, words
from streams.api.feed import Feed, Lately
from streams.api.http import unnamed
from streams.api.page import page
from streams.api.rate import Rate
from streams.api.routes import DISTANCES, FEED, OPENAPI, PLACES, ROUTES, description
from streams.api.shelf import SCOPES, Item, Shelf
from streams.api.tokens import Token, Tokens
from streams.core.derived.bands import distances
from streams.errors import ThrongError
from streams.metrics import ApiMetrics

log = logging.getLogger("throng.api")

MOST_RECORDS: Final = 10_000
BEAT_S: Final = 10.0
# A client that takes nothing for so long is gone.
SEND_S: Final = 10.0
# Records in one write to a feed.
AT_ONCE: Final = 500
EITHER: Final = "name a place: origin=…, or zone=… for travel times"
UNKNOWN: Final = "nothing was told of that place lately"
NO_MEASURE: Final = "nothing was told by that measure lately"
NO_PLACE: Final = "; or measure=… alone, for its newest pane of all places"
INTO: Final = (
    "what ended in a place is told of the newest pane alone: destination=… and measure=…, without times. "
    "For its history name an origin=… too, or read the topic flows"
)
# RFC 6750, section 3: what is asked for, and that what came is no good.
ASKS: Final = {"WWW-Authenticate": "Bearer"}
INVALID: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
BROKEN: Final = Refused(500, "server", "the server can't answer: its log says why")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Source(Protocol):
    """What the server asks beside the shelf."""

    def known(self) -> bool:
        """Are the rules known, as they are now?"""

    def why_not(self, item: Item) -> str:
        """Why a record may not be told; empty if it may."""

    async def places(self, plan: str) -> bytes | None:
        """What may be known of a plan's places, JSON; raises `Refused` if it can't be asked now."""


class Limits(NamedTuple):
    """Most open feeds, most records that wait in one, and how often a token's holder may ask."""

    feeds: int
    feed_records: int
    requests_s: float
    burst: int


class Api:
    """The routes. `purpose`: the deployment's; `now_ms`: the time by which tokens expire."""

    def __init__(
        self,
        purpose: str,
        shelf: Shelf,
        tokens: Tokens,
        source: Source,
        limits: Limits,
        metrics: ApiMetrics,
        now_ms: Callable[[], int] = lambda: round(time.time() * 1000),
    ) -> None:
        self._purpose = purpose
        self._shelf = shelf
        self._tokens = tokens
        self._source = source
        self._limits = limits
        self._rate = Rate(limits.requests_s, limits.burst)
        self._metrics = metrics
        self._now_ms = now_ms
        self._feeds: set[Feed] = set()
        self._lately = Lately(secrets.token_hex(4), shelf.history_ms)
        self._description = orjson.dumps(description())

    def app(self) -> web.Application:
        """The application to serve."""

        @web.middleware
        async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._answered(request, handler)

        app = web.Application(middlewares=[answered])
        app.add_routes([web.get(f"/v1/{topic}", self._records) for topic in SCOPES])
        app.add_routes([web.get(DISTANCES, self._distances), web.get(PLACES, self._places)])
        app.add_routes([web.get(FEED, self._feed, allow_head=False), web.get(OPENAPI, self._described)])
        app.add_routes(page())
        app.on_response_prepare.append(unnamed)
        return app

    def begun(self) -> None:
        """All that was published before is on the shelf: a feed that comes back goes on in it."""
        found = (item for topic in SCOPES for item in self._shelf.every(topic, 0, self._shelf.newest_ms))
        for item in sorted(found, key=lambda item: item.end_ms):
            self._lately.add(item)

    def told(self, item: Item) -> None:
        """A new record: to whoever listens."""
        sent = self._lately.add(item)
        for feed in self._feeds:
            feed.offer(sent)

    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        route = request.match_info.route.resource.canonical if request.match_info.route.resource else "other"
        began, status = time.perf_counter(), 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except Refused as refused:
            status = refused.status
            return refusal(refused)
        except ThrongError as error:
            log.error("%s", error)
            return refusal(BROKEN)
        except web.HTTPException as error:
            status = error.status
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            code, said = {
                404: ("not_found", "nothing is at this address; /v1/openapi.json lists what can be asked"),
                405: ("method", f"ask here by {error.headers.get('Allow')} alone"),
            }.get(status, ("request", f"{error.reason}"))
            return refusal(Refused(status, code, said, allowed))
        except ConnectionError:
            raise  # whoever asked is gone
        except Exception:
            log.exception("a request to %s failed", route)
            return refusal(BROKEN)
        finally:
            self._metrics.requests.labels(route, str(status)).inc()
            if route != FEED:
                self._metrics.seconds.labels(route).observe(time.perf_counter() - began)

    def _asking(self, request: web.Request) -> Token:
        """Who asks, if not too often."""
        token = self._bearer(request)
        if wait_s := self._rate.wait_s(token.sha256, time.monotonic()):
            self._metrics.refused.labels("rate").inc()
            said = f"too many requests: {self._limits.requests_s:g} a second are allowed"
            raise Refused(429, "rate", said, {"Retry-After": str(math.ceil(wait_s))})
        return token

    def _bearer(self, request: web.Request) -> Token:
        kind, _, presented = request.headers.get("Authorization", "").partition(" ")
        token = self._tokens.of(presented.strip()) if kind.lower() == "bearer" and presented else None
        if token is None:
            self._metrics.refused.labels("wrong" if presented else "none").inc()
            said = "a token is needed: Authorization: Bearer …; this is none that is known"
            raise Refused(401, "token", said, INVALID if presented else ASKS)
        if token.expired(self._now_ms()):
            self._metrics.refused.labels("expired").inc()
            said = f"the token expired at {token.expires}: ask the operator for a new one"
            raise Refused(401, "expired", said, INVALID)
        if token.purpose != self._purpose:
            self._metrics.refused.labels("scope").inc()
            raise Refused(403, "purpose", f"the token is for {token.purpose}, what is told here for {self._purpose}")
        if not self._source.known():
            raise Refused(503, "rules", "what may be told is not known at the moment: try again")
        return token

    def _within(self, token: Token, scope: str) -> None:
        if scope not in token.scopes:
            self._metrics.refused.labels("scope").inc()
            raise Refused(403, "scope", f"the token has no scope {scope}")

    async def _records(self, request: web.Request) -> web.Response:
        token, topic = self._asking(request), request.path.rpartition("/")[2]
        self._within(token, f"{self._purpose}:{SCOPES[topic]}")
        ends = ("origin", "destination") if topic == FLOWS else ()
        asked = asked_of(request, ROUTES[request.path].parameters)
        place, history = asked["zone"] or asked.get("origin", ""), bool(asked["from"] or asked["to"])
        times = self._times(asked)
        if asked["zone"] and any(asked[end] for end in ends):
            raise Refused(400, "parameter", EITHER)
        if not place and (history or not asked["measure"]):
            if asked.get("destination"):
                raise Refused(400, "parameter", INTO)
            raise Refused(400, "parameter", (EITHER if ends else "name a place: zone=…") + NO_PLACE)
        if place and not self._shelf.knows(topic, place):
            raise Refused(404, "place", UNKNOWN)
        found = self._shelf.of(topic, place, *times) if place else self._shelf.newest(topic, asked["measure"])
        if ends:  # of a place as a whole, or of pairs
            found = (item for item in found if bool(item.destination) != bool(asked["zone"]))
        shown = self._told(token, found, asked)
        if asked["measure"] and not self._shelf.tells(topic, asked["measure"]):
            raise Refused(404, "measure", NO_MEASURE)
        shown = sorted(shown, key=lambda item: item.end_ms) if history else _latest(shown)
        if len(shown) > (most := MOST_RECORDS if place else MOST_PAIRS):
            raise Refused(400, "too_many", f"these are over {most} records: ask for a shorter time")
        log.info("%s read %d records of %s", token.name, len(shown), topic)
        return json_answer(b'{"records":[' + b",".join(item.value for item in shown) + b"]}")

    async def _distances(self, request: web.Request) -> web.Response:
        token = self._asking(request)
        self._within(token, f"{self._purpose}:{SCOPES[FLOWS]}")
        asked = asked_of(request, ROUTES[DISTANCES].parameters)
        times = self._times(asked)
        if not (asked["origin"] or asked["destination"]):
            raise Refused(400, "parameter", "name a place: origin=…, destination=…, or both")
        if asked["origin"]:
            known = self._shelf.knows(FLOWS, asked["origin"])
            found = self._shelf.of(FLOWS, asked["origin"], *times)
        else:
            known = self._shelf.leads(FLOWS, asked["destination"])
            found = self._shelf.every(FLOWS, *times)
        if not known:
            raise Refused(404, "place", UNKNOWN)
        of_plan = (item for item in found if item.destination and item.plan == self._shelf.plan)
        shown = self._told(token, of_plan, asked)
        if asked["measure"] and not self._shelf.tells(FLOWS, asked["measure"]):
            raise Refused(404, "measure", NO_MEASURE)
        places = await self._source.places(self._shelf.plan)
        if places is None:
            raise Refused(404, "plan", "no places are told of the newest plan")
        flows = (msgspec.json.decode(item.value, type=Flow) for item in shown)
        told = distances(flows, msgspec.json.decode(places, type=Places), asked["origin"], asked["destination"])
        log.info("%s read distances of %d records", token.name, len(shown))
        return json_answer(b'{"records":' + msgspec.json.encode(told) + b"}")

    def _times(self, asked: dict[str, str]) -> tuple[int, int]:
        from_ms, to_ms = time_of(asked, "from", 0), time_of(asked, "to", self._shelf.newest_ms)
        if asked["from"] and asked["to"] and from_ms > to_ms:
            raise Refused(400, "parameter", "from is after to: nothing can be between them")
        return from_ms, to_ms

    def _told(self, token: Token, items: Iterable[Item], asked: dict[str, str]) -> list[Item]:
        """Those that were asked for, and may be told to the token's holder."""
        measure, destination = asked["measure"], asked.get("destination", "")
        found = [item for item in items if measure in ("", item.measure) and destination in ("", item.destination)]
        within = [item for item in found if item.scope in token.scopes]
        if found and not within:
            self._within(token, found[0].scope)
        shown = [item for item in within if not self._source.why_not(item)]
        if within and not shown:
            raise Refused(403, "withheld", f"withheld: {self._source.why_not(within[-1])}")
        return shown

    async def _places(self, request: web.Request) -> web.Response:
        self._asking(request)
        found = await self._source.places(asked_of(request, ROUTES[PLACES].parameters)["plan"] or self._shelf.plan)
        if found is None:
            raise Refused(404, "plan", "no places are told of that plan")
        return json_answer(found)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        token = self._asking(request)
        asked = asked_of(request, ROUTES[FEED].parameters)
        if asked["topic"] and asked["topic"] not in SCOPES:
            raise Refused(400, "parameter", f"topic is none of {', '.join(SCOPES)}")
        if asked["topic"]:
            self._within(token, f"{self._purpose}:{SCOPES[asked['topic']]}")
        if len(self._feeds) >= self._limits.feeds:
            raise Refused(503, "too_many_feeds", "as many feeds are open as may be: try again later")

        def wanted(item: Item) -> bool:
            named = (asked["topic"], item.topic), (asked["place"], item.place), (asked["measure"], item.measure)
            return item.scope in token.scopes and all(ask in ("", has) for ask, has in named)

        last = request.headers.get("Last-Event-ID", "")
        try:
            missed = self._lately.after(last) if last else []
        except ValueError as error:
            raise Refused(400, "parameter", "Last-Event-ID is no id of an event of this feed") from error
        feed = Feed(wanted, self._limits.feed_records, missed)
        self._feeds.add(feed)
        self._metrics.feeds.set(len(self._feeds))
        try:
            return await self._fed(request, feed)
        finally:
            self._feeds.discard(feed)
            self._metrics.feeds.set(len(self._feeds))

    async def _fed(self, request: web.Request, feed: Feed) -> web.StreamResponse:
        # The last is for nginx, which would keep events back until it has a buffer full.
        headers = {**HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        await response.write(b": open\n\n")
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await feed.news.wait()
            feed.news.clear()
            said = self._events(feed) or b": beat\n\n"
            try:
                self._bearer(request)  # revoked, expired or silenced since
            except Refused as refused:
                said, feed.overrun = event("ended", orjson.dumps(words(refused))), True
            except ThrongError as error:  # too late for a status
                log.error("%s", error)
                said, feed.overrun = event("ended", orjson.dumps(words(BROKEN))), True
            if feed.overrun and not said.startswith(b"event: ended"):
                self._metrics.dropped.inc()
                said = event("ended", orjson.dumps({"error": "slow", "message": "too slow: records were dropped"}))
            try:
                async with asyncio.timeout(SEND_S):
                    await response.write(said)
            except (TimeoutError, ConnectionError):
                self._metrics.dropped.inc()
                if request.transport is not None:
                    request.transport.abort()
                return response
            if feed.overrun:
                return response

    def _events(self, feed: Feed) -> bytes:
        """Of what waits as much as may be sent at once, and told."""
        sent = (sent for sent in feed.take(AT_ONCE) if not self._source.why_not(sent.item))
        return b"".join(event(one.item.topic, one.item.value, one.id) for one in sent)

    async def _described(self, _: web.Request) -> web.Response:
        return json_answer(self._description)


def _latest(items: Sequence[Item]) -> list[Item]:
    """Of each measure the newest pane's."""
    newest: dict[str, int] = {}
    for item in items:
        newest[item.measure] = max(item.end_ms, newest.get(item.measure, 0))
    return [item for item in items if item.end_ms == newest[item.measure]]
