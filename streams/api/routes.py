"""The API's routes: their parameters, as the handlers take them, and the OpenAPI description that is made of them."""

from importlib.metadata import version
from typing import Any, Final, NamedTuple

import msgspec

from schemas.distances import Distances
from schemas.outlook import Outlook
from schemas.plan import Places
from schemas.released import Areas, AreasSummary, Dwell, Flow, FlowSummary, Footfall, TravelTimes, Visits
from schemas.topics import AREAS, DWELL, FLOWS, FOOTFALL, OUTLOOK, VISITS

FEED: Final = "/v1/feed"
PLACES: Final = "/v1/places"
DISTANCES: Final = "/v1/distances"
OPENAPI: Final = "/v1/openapi.json"


class Route(NamedTuple):
    """What a route is for, the parameters that it takes, the kinds of records that it tells, and if they are listed."""

    summary: str
    parameters: tuple[str, ...]
    kinds: tuple[Any, ...]
    listed: bool = True


_HISTORY: Final = ("from", "to")
_OF_PLACE: Final = ("zone", "measure", *_HISTORY)

ROUTES: Final = {
    f"/v1/{FOOTFALL}": Route("People in a place, now or lately.", _OF_PLACE, (Footfall,)),
    f"/v1/{FLOWS}": Route(
        "Trips between places, of an origin; or travel times to a zone.",
        ("zone", "measure", "origin", "destination", *_HISTORY),
        (Flow, FlowSummary, TravelTimes),
    ),
    f"/v1/{DWELL}": Route("How long people stayed in a place.", _OF_PLACE, (Dwell,)),
    f"/v1/{VISITS}": Route("First and further visits to a place.", _OF_PLACE, (Visits,)),
    f"/v1/{AREAS}": Route("Where a place's visitors live or work.", _OF_PLACE, (Areas, AreasSummary)),
    f"/v1/{OUTLOOK}": Route("A place compared with its usual self, and the next two hours.", _OF_PLACE, (Outlook,)),
    DISTANCES: Route(
        "How far people went from a place, or to it.", ("origin", "destination", "measure", *_HISTORY), (Distances,)
    ),
    PLACES: Route("The places of a zone plan.", ("plan",), (Places,), listed=False),
    FEED: Route("Whatever is released from now on.", ("topic", "place", "measure"), (), listed=False),
}

_PARAMETERS: Final = {
    "zone": "A zone's or a district's id.",
    "measure": "One measure alone; without a place and times its newest pane of all places.",
    "origin": "The zone or district where trips began.",
    "destination": "The zone or district where trips ended. /v1/flows without an origin: with measure, without times.",
    "from": "Panes that end after this time. Without from and to: the newest pane.",
    "to": "Panes that end up to this time, which is not before from.",
    "plan": "The hash that records name; without it the newest.",
    "topic": "One topic alone.",
    "place": "One zone or district alone, of flows the origin.",
}
_REFUSALS: Final = {
    "400": "A wrong or an empty parameter, or too many records.",
    "401": "No token, a wrong or an expired one.",
    "403": "Not within the token's purpose or scopes, or withheld.",
    "404": "Nothing is known of that place, measure or plan.",
    "429": "Too many requests.",
    "500": "The server can't answer.",
    "503": "What may be told is not known at the moment, Redis is away, or as many feeds are open as may be.",
}


def description() -> dict[str, Any]:
    """The API in OpenAPI 3.1; its records' schemas are those of `schemas/json`."""
    kinds = {kind.__name__: kind for route in ROUTES.values() for kind in route.kinds}
    _, schemas = msgspec.json.schema_components(tuple(kinds.values()), ref_template="#/components/schemas/{name}")
    words = {"type": "string"}
    schemas["Error"] = {
        "type": "object",
        "required": ["error", "message"],
        "properties": {"error": words, "message": words},
    }
    refusals = {
        status: {"description": said, "content": {"application/json": {"schema": _named("Error")}}}
        for status, said in _REFUSALS.items()
    }
    refusals["401"]["headers"] = {"WWW-Authenticate": {"schema": words}}
    refusals["429"]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "throng: what is released", "version": version("throng")},
        "paths": {path: {"get": _operation(path, route)} for path, route in ROUTES.items()},
        "security": [{"token": []}],
        "components": {
            "schemas": schemas,
            "responses": refusals,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(path: str, route: Route) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "query",
            "description": _PARAMETERS[name],
            "schema": {"type": "string", "format": "date-time"} if name in _HISTORY else {"type": "string"},
        }
        for name in route.parameters
    ]
    if path == FEED:
        said = "The id of the last event that came: what was told since comes first."
        parameters.append({"name": "Last-Event-ID", "in": "header", "description": said, "schema": {"type": "string"}})
    records = [_named(kind.__name__) for kind in route.kinds]
    told: dict[str, Any] = records[0] if len(records) == 1 else {"anyOf": records}
    if route.listed:
        told = {
            "type": "object",
            "required": ["records"],
            "properties": {"records": {"type": "array", "items": told}},
        }
    content = {"application/json": {"schema": told}}
    if path == FEED:
        said = "Server-Sent Events, named by their topic; data is one of its records, as its own route tells them."
        content = {"text/event-stream": {"schema": {"type": "string", "description": said}}}
    return {
        "operationId": path.rpartition("/")[2],
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": route.summary, "content": content},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in _REFUSALS},
        },
    }


def _named(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
