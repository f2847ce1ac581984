"""The API's routes over real HTTP, with a source of the test's own."""

import asyncio
import io
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from prometheus_client import CollectorRegistry

from schemas.policy import Purpose
from streams.api import tokens
from streams.api.answers import Refused
from streams.api.server import Api, Limits
from streams.api.shelf import Item, Shelf, item_of
from streams.errors import ThrongError
from streams.metrics import ApiMetrics
from tests.support.api_server import ApiServer
from tests.unit import test_bands
from tests.unit.test_derived import flow

HOUR_MS = 3_600_000
PLACES = msgspec.structs.replace(test_bands.PLACES, plan="abc")


def told(minute: int, zone: str = "z1", topic: str = "footfall", **more: object) -> Item:
    end = f"2026-03-02T11:{minute:02}:00Z"
    read = {"measure": "present", "end": end, "plan": "abc", "zone": zone, "purpose": "traffic", "n": minute} | more
    found = item_of(topic, orjson.dumps(read), "traffic")
    assert found is not None
    return found


class Source:
    def __init__(self) -> None:
        self.fresh, self.withheld, self.redis = True, "", True

    def known(self) -> bool:
        return self.fresh

    def why_not(self, _: Item) -> str:
        return self.withheld

    async def places(self, plan: str) -> bytes | None:
        if not self.redis:
            raise Refused(503, "redis", "away")
        return msgspec.json.encode(PLACES) if plan == "abc" else None


class World:
    def __init__(self, file: Path) -> None:
        self.file, self.shelf, self.source, self.registry = file, Shelf(HOUR_MS), Source(), CollectorRegistry()
        self.now_ms = 0
        self.token = self.made("lights")
        limits = Limits(1, 3, 0.01, 20)
        metrics, known = ApiMetrics(self.registry), tokens.Tokens(file)
        self.api = Api("traffic", self.shelf, known, self.source, limits, metrics, lambda: self.now_ms)
        self.client: TestClient

    def made(self, name: str, purpose: Purpose = "traffic") -> str:
        return tokens.make(self.file, name, purpose, HOUR_MS)

    async def ask(self, path: str, token: str | None = None) -> tuple[int, dict[str, object]]:
        async with (
            asyncio.timeout(20),  # a feed that should have been refused has no end
            self.client.get(f"/v1/{path}", headers=self.bearer(token)) as answer,
        ):
            assert answer.headers["Cache-Control"] == "no-store" and "Server" not in answer.headers
            return answer.status, orjson.loads(await answer.read())

    def bearer(self, token: str | None = None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token if token is None else token}"}

    def put(self, *items: Item) -> None:
        for item in items:
            if self.shelf.put(item):
                self.api.told(item)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "tokens")
    server = ApiServer(made.api.app())
    await server.start_server()
    async with TestClient(server) as made.client:
        yield made


async def test_who_has_no_token_a_wrong_one_or_not_the_scope_is_refused(world: World) -> None:
    world.put(told(5), told(5, age_band="18_29"))
    assert (await world.ask("footfall?zone=z1", ""))[0] == 401
    assert (await world.ask("footfall?zone=z1", "throng_no"))[1]["error"] == "token"
    foreign = world.made("shops", "marketing")
    assert (await world.ask("footfall?zone=z1", foreign))[1]["error"] == "purpose"
    for of_persons in ("visits?zone=z1", "areas?zone=z1"):
        assert (await world.ask(of_persons))[:1] == (403,)
    status, said = await world.ask("footfall?zone=z1")
    assert status == 200 and said["records"] == [orjson.loads(told(5).value)]
    world.put(told(6, "z2", age_band="18_29"))
    status, said = await world.ask("footfall?zone=z2")
    assert (status, said["message"]) == (403, "the token has no scope traffic:cohorts:read")
    count = world.registry.get_sample_value
    assert count("throng_api_refused_total", {"reason": "wrong"}) == 1
    assert count("throng_api_refused_total", {"reason": "none"}) == 1
    assert count("throng_api_refused_total", {"reason": "scope"}) == 4
    assert count("throng_api_requests_total", {"route": "/v1/footfall", "status": "401"}) == 2
    assert count("throng_api_request_seconds_count", {"route": "/v1/footfall"}) == 5


async def test_without_a_place_the_newest_pane_of_all_is_told(world: World) -> None:
    world.put(told(5), told(5, "z2"), told(10, "z2"), told(10, "z3"), told(30, measure="arrivals"))
    world.put(told(10, "z1", age_band="18_29"))  # not within the token's scopes
    status, said = await world.ask("footfall?measure=present")
    assert (status, [(each["zone"], each["n"]) for each in said["records"]]) == (200, [("z2", 10), ("z3", 10)])
    trips = [orjson.loads(msgspec.json.encode(each)) for each in (flow("z1", "z2", 500, 4), flow("z2", "z1", 300, 4))]
    for each in trips:
        found = item_of("flows", orjson.dumps(each | {"purpose": "traffic", "end": "2026-03-02T11:10:00Z"}), "traffic")
        assert found is not None
        world.put(found)
    measure = trips[0]["measure"]
    assert len((await world.ask(f"flows?measure={measure}"))[1]["records"]) == 2
    to_z2 = (await world.ask(f"flows?measure={measure}&destination=z2"))[1]["records"]
    assert [each["origin"] for each in to_z2] == ["z1"]
    assert (await world.ask("footfall?measure=present_cohort"))[:1] == (404,)
    for asked in ("footfall", "footfall?from=2026-03-02T11:00:00Z&measure=present", "flows"):
        status, said = await world.ask(asked)
        assert status == 400 and "measure=… alone" in said["message"]
    for asked in ("flows?destination=z2", f"flows?destination=z2&measure={measure}&from=2026-03-02T11:00:00Z"):
        status, said = await world.ask(asked)
        assert (status, said["error"]) == (400, "parameter")
        assert "destination=… and measure=…, without times" in said["message"] and "topic flows" in said["message"]


async def test_a_record_that_comes_late_is_of_the_newest_pane_all_the_same(world: World) -> None:
    hourly = told(0, measure="present_hourly")
    world.put(told(5), *(told(minute) for minute in range(6, 60)), hourly)
    assert list(world.shelf.newest("footfall", "present_hourly")) == [hourly]
    world.put(told(1, "z2", measure="present_hourly"))
    assert [item.place for item in world.shelf.newest("footfall", "present_hourly")] == ["z2"]
    assert list(world.shelf.newest("footfall", "none")) == []


async def test_the_page_needs_no_token_and_may_talk_to_nobody_else(world: World) -> None:
    async with world.client.get("/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (308, "/map/")
    kinds = {"": "text/html", "main.js": "text/javascript", "map.css": "text/css", "icon.svg": "image/svg+xml"}
    for name, kind in kinds.items():
        async with world.client.get(f"/map/{name}") as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'") and "http" not in policy and "unsafe" not in policy
            text = await answer.text()
            assert not re.search(r"""(src|href|from)\s*=?\s*["'](https?:)?//""", text), f"{name} asks elsewhere"
    for name in ("other.js", "../page.py", "%2e%2e/page.py", "index.html/x"):
        async with world.client.get(f"/map/{name}") as answer:
            assert answer.status == 404


async def test_a_token_that_is_no_text_is_a_wrong_one(world: World) -> None:
    reader, writer = await asyncio.open_connection(world.client.host, world.client.port)
    writer.write(b"GET /v1/places HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 401 ")
    writer.close()
    assert world.registry.get_sample_value("throng_api_refused_total", {"reason": "wrong"}) == 1


@pytest.mark.parametrize(
    "wrong", [b"Authorization : Bearer %b", b"Authorization: Bearer %b\0", b"Authorization: Bearer " + b"%b" * 200]
)
async def test_a_token_in_a_request_that_is_none_is_not_logged(
    world: World, caplog: pytest.LogCaptureFixture, wrong: bytes
) -> None:
    line = wrong.replace(b"%b", world.token.encode())
    reader, writer = await asyncio.open_connection(world.client.host, world.client.port)
    writer.write(b"GET /v1/places HTTP/1.1\r\nHost: h\r\n" + line + b"\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 400 ") and b"aiohttp" not in head and b"no-store" in head
    assert orjson.loads(body)["error"] == "request" and world.token.encode() not in body
    writer.close()
    assert "Error handling request from 127.0.0.1" in caplog.text
    assert world.token not in caplog.text


async def test_what_no_route_answers_is_answered_in_the_apis_words_too(world: World) -> None:
    async with world.client.get("/v1/footfall?zone=" + 9_000 * "z", headers=world.bearer()) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "request")
    async with world.client.get("/v1/places", headers={**world.bearer(), "Expect": "nothing"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (417, "request")
        assert "Server" not in answer.headers


async def test_who_asks_too_often_is_told_when_to_ask_again_and_nobody_else_is_kept_waiting(world: World) -> None:
    world.put(told(5))
    for _ in range(20):
        assert (await world.ask("footfall?zone=z1"))[0] == 200
    for path in ("footfall?zone=z1", "places", "feed"):
        async with world.client.get(f"/v1/{path}", headers=world.bearer()) as answer:
            assert answer.status == 429 and 90 < int(answer.headers["Retry-After"]) <= 100
            assert (await answer.json())["error"] == "rate"
    assert (await world.ask("footfall?zone=z1", world.made("lanterns")))[0] == 200
    assert world.registry.get_sample_value("throng_api_refused_total", {"reason": "rate"}) == 3
    said = {label for metric in world.registry.collect() for each in metric.samples for label in each.labels.values()}
    assert not said & {"lights", "lanterns"}


async def test_an_expired_token_is_refused_and_told_so_and_its_feed_ends(world: World) -> None:
    world.now_ms = HOUR_MS - 1
    async with world.client.get("/v1/feed", headers=world.bearer()) as feed:
        world.now_ms = HOUR_MS
        world.put(told(5))
        assert (await events(feed, 1))[0][1]["error"] == "expired"
    async with world.client.get("/v1/places", headers=world.bearer()) as answer:
        assert answer.status == 401 and answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
        said = "the token expired at 1970-01-01T01:00:00Z: ask the operator for a new one"
        assert await answer.json() == {"error": "expired", "message": said}
    # The feed looked once at each of: the record, its end.
    assert world.registry.get_sample_value("throng_api_refused_total", {"reason": "expired"}) == 2


async def test_now_history_and_wrong_parameters(world: World) -> None:
    world.put(told(5), told(10), told(15), told(15, measure="arrivals"))

    async def minutes(query: str) -> list[int]:
        return [record["n"] for record in (await world.ask(f"footfall?zone=z1{query}"))[1]["records"]]  # type: ignore

    assert await minutes("") == [15, 15] and await minutes("&measure=present") == [15]
    assert await minutes("&to=2026-03-02T11:10:00Z") == [5, 10]
    assert await minutes("&from=2026-03-02T11:05:00Z&measure=present") == [10, 15]
    for wrong in ("footfall", "footfall?zone=z1&x=1", "footfall?zone=z9&from=noon", "feed?topic=panes"):
        assert (await world.ask(wrong))[0] == 400, wrong
    assert (await world.ask("footfall?zone=z9"))[1]["error"] == "place"
    assert (await world.ask("footfall?zone=z1&measure=presents"))[1]["error"] == "measure"
    world.put(told(15, "z2"))
    assert (await world.ask("footfall?zone=z2&measure=arrivals")) == (200, {"records": []})
    nowhere = (await world.ask("panes"))[1]
    assert nowhere["error"] == "not_found" and "/v1/openapi.json" in nowhere["message"]
    status, places = await world.ask("places")
    assert (status, places["plan"]) == (200, "abc")
    assert (await world.ask("places?plan=other"))[0] == 404
    world.source.redis = False
    assert (await world.ask("places"))[1]["error"] == "redis"


@pytest.mark.parametrize(
    "time",
    ["2026-03-02T11:10:00Z", "2026-03-02t11:10:00.000z", "2026-03-02T12:10:00%2B01:00", "2026-03-02T11:10:00-00:00"],
)
async def test_a_time_is_any_of_rfc_3339(world: World, time: str) -> None:
    world.put(told(5), told(10), told(15))
    said = (await world.ask(f"footfall?zone=z1&to={time}"))[1]["records"]
    assert [record["n"] for record in said] == [5, 10]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "time",
    [
        *("2026-03-02", "2026-03-02T11:10:00", "20260302T111000Z", "2026-W10-1T11:10:00Z", "2026-061T11:10:00Z"),
        *("2026-03-02T11:10Z", "2026-03-02T11Z", "2026-03-02T11:10:00,5Z", "2026-03-02T11:10:00+0100"),
        *("2026-03-02T12:10:00%2B01", "2026-03-02T12:10:00%2B01:00:00", "2026-03-02%2011:10:00Z"),
        *("2026-03-02_11:10:00Z", "2026-02-30T11:10:00Z", "2026-03-02T24:00:00Z", "2026-03-02T12:10:00+01:00"),
        *("٢026-03-02T11:10:00Z", "1772449200"),
    ],
)
async def test_a_time_that_is_none_of_rfc_3339_is_refused(world: World, time: str) -> None:
    world.put(told(5))
    status, said = await world.ask(f"footfall?zone=z1&from={time}")
    assert (status, said["error"]) == (400, "parameter") and "with seconds and an offset" in str(said["message"])


async def test_what_is_empty_and_times_in_the_wrong_order_are_refused(world: World) -> None:
    world.put(told(5), told(10))
    for empty in ("from=", "to=", "from=&to=2026-03-02T11:10:00Z", "measure="):
        name = empty.partition("=")[0]
        said = {"error": "parameter", "message": f"{name} is empty: give it a value, or leave it out"}
        assert await world.ask(f"footfall?zone=z1&{empty}") == (400, said)
    before, at, after = (f"2026-03-02T11:{minute}:00Z" for minute in ("09", "10", "11"))
    for route in ("footfall?zone=z1", "distances?origin=z1"):
        status, said = await world.ask(f"{route}&from={after}&to={at}")
        assert (status, said["error"], said["message"]) == (
            400,
            "parameter",
            "from is after to: nothing can be between them",
        )
    assert await world.ask(f"footfall?zone=z1&from={at}&to={at}") == (200, {"records": []})
    assert await world.ask(f"footfall?zone=z1&from={after}") == (200, {"records": []}), "nothing came since"
    assert len((await world.ask(f"footfall?zone=z1&from={before}&to={at}"))[1]["records"]) == 1  # type: ignore[arg-type]


async def test_flows_are_asked_for_by_origin_and_travel_times_by_zone(world: World) -> None:
    went = {"topic": "flows", "measure": "trips_zone"}
    world.put(told(5, "", **went, origin="z1", destination="z2"), told(5, "z1", **went | {"measure": "travel_times"}))
    for query, measures in (
        ("origin=z1", ["trips_zone"]),
        ("zone=z1", ["travel_times"]),
        ("origin=z1&destination=z9", []),
    ):
        assert [said["measure"] for said in (await world.ask(f"flows?{query}"))[1]["records"]] == measures  # type: ignore
    for wrong in ("flows", "flows?destination=z2", "flows?origin=z1&zone=z1", "flows?zone=z1&destination=z2"):
        assert (await world.ask(wrong))[0] == 400, wrong


async def test_flows_are_told_by_distance_from_a_place_or_to_it(world: World) -> None:
    records = [flow("a", "b", 500, 40), flow("b", "a", 300, 30), flow("c", "b", 100, 40)]
    said = [msgspec.structs.replace(each, plan="abc", purpose="traffic") for each in records]
    found = [item_of("flows", msgspec.json.encode(each), "traffic") for each in said]
    old = item_of("flows", msgspec.json.encode(msgspec.structs.replace(said[0], plan="old")), "traffic")
    world.put(*(item for item in (*found, old) if item is not None))

    async def estimates(query: str) -> list[float]:
        status, told = await world.ask(f"distances?{query}")
        assert status == 200
        return [band["estimate"] for line in told["records"] for band in line["bands"] if band["pairs"]]  # type: ignore

    assert await estimates("origin=a") == [500] and await estimates("destination=b") == [500, 100]
    assert await estimates("origin=b&destination=c") == [] == await estimates("origin=a&to=1969-12-31T00:00:00Z")
    for wrong, code in (
        ("", "parameter"),
        ("?origin=z9", "place"),
        ("?destination=z9", "place"),
        ("?origin=a&measure=passes", "measure"),
    ):
        assert (await world.ask(f"distances{wrong}"))[1]["error"] == code, wrong
    world.source.withheld = "suspended"
    assert (await world.ask("distances?origin=a"))[1]["error"] == "withheld"


async def test_what_is_withheld_is_not_told_nor_is_anything_while_the_rules_are_not_known(world: World) -> None:
    world.put(told(5))
    world.source.withheld = "suspended"
    assert await world.ask("footfall?zone=z1") == (403, {"error": "withheld", "message": "withheld: suspended"})
    world.source.fresh = False
    assert (await world.ask("footfall?zone=z1"))[1]["error"] == "rules"
    assert (await world.ask("feed"))[0] == 503


@pytest.mark.parametrize(
    "error", [ThrongError("config", "the file of tokens is broken"), TypeError("tokens is broken")]
)
async def test_what_the_operator_must_mend_is_told_to_the_operator_alone(
    world: World, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: str) -> None:
        raise error

    monkeypatch.setattr(world.api._tokens, "of", broken)
    assert await world.ask("footfall?zone=z1") == (
        500,
        {"error": "server", "message": "the server can't answer: its log says why"},
    )
    assert str(error) in caplog.text


async def events(answer: ClientResponse, number: int) -> list[tuple[bytes, dict[str, object]]]:
    found = []
    async with asyncio.timeout(20):
        while len(found) < number:
            line = await answer.content.readline()
            if line.startswith(b"event: "):
                data = await answer.content.readline()
                found.append((line[7:].strip(), orjson.loads(data.removeprefix(b"data: "))))
    return found


async def test_a_feed_tells_what_it_asked_for_until_its_token_is_revoked(world: World) -> None:
    async with world.client.get("/v1/feed?topic=footfall&place=z1", headers=world.bearer()) as feed:
        assert (feed.content_type, feed.headers["X-Accel-Buffering"]) == ("text/event-stream", "no")
        assert (await world.ask("feed"))[1]["error"] == "too_many_feeds"
        world.put(told(5, "z2"), told(5), told(5), told(5, "z1", "dwell"), told(6, age_band="18_29"), told(10))
        said = await events(feed, 2)
        assert [(name, record["n"]) for name, record in said] == [(b"footfall", 5), (b"footfall", 10)]
        world.source.withheld = "suspended"
        world.put(told(15))
        await asyncio.sleep(0.2)
        world.source.withheld = ""
        world.put(told(20))
        assert (await events(feed, 1))[0][1]["n"] == 20
        tokens.revoke(world.file, "lights")
        world.put(told(25))
        assert (await events(feed, 1))[0] == (
            b"ended",
            {"error": "token", "message": (await world.ask("feed"))[1]["message"]},
        )
        assert (await feed.content.read()).strip() == b""
    async with asyncio.timeout(20):
        while world.registry.get_sample_value("throng_api_open_feeds"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_feed_whose_tokens_cant_be_read_any_more_ends_with_an_event(world: World) -> None:
    async with world.client.get("/v1/feed", headers=world.bearer()) as answer:
        await answer.content.readuntil(b"\n\n")
        world.file.write_bytes(b"not JSON\n")
        world.put(told(5))
        assert [(name, said["error"]) for name, said in await events(answer, 1)] == [(b"ended", "server")]
        assert (await answer.content.read()).strip() == b""


async def test_a_feed_behind_which_too_much_waits_is_told_so_and_dropped(world: World) -> None:
    async with world.client.get("/v1/feed", headers=world.bearer()) as feed:
        world.put(*(told(minute) for minute in range(4)))
        assert (await events(feed, 1))[0][1]["error"] == "slow"
        assert (await feed.content.read()).strip() == b""
    assert world.registry.get_sample_value("throng_api_dropped_feeds_total") == 1


async def ids(answer: ClientResponse, number: int) -> list[tuple[object, str]]:
    """The next events: what they are of, and their ids."""
    found = []
    async with asyncio.timeout(20):
        while len(found) < number:
            line = await answer.content.readline()
            if line.startswith(b"data: "):
                name, _, value = (await answer.content.readline()).decode().strip().partition(": ")
                assert name == "id"
                found.append((orjson.loads(line[6:])["n"], value))
    return found


async def fed(world: World, last: str, number: int) -> list[tuple[object, str]]:
    headers = {**world.bearer(), "Last-Event-ID": last}
    async with world.client.get("/v1/feed?place=z1", headers=headers) as feed:
        assert feed.status == 200
        return await ids(feed, number)


async def closed(world: World) -> None:
    async with asyncio.timeout(20):
        while world.registry.get_sample_value("throng_api_open_feeds"):
            world.put(told(59, "z9"))
            await asyncio.sleep(0.05)


async def test_who_comes_back_with_the_last_id_is_told_what_came_since_and_nothing_twice(world: World) -> None:
    async with world.client.get("/v1/feed?place=z1", headers=world.bearer()) as feed:
        world.put(told(5), told(10), told(10, "z2"))
        said = await ids(feed, 2)
    assert [number for number, _ in said] == [5, 10]
    await closed(world)
    # More than may wait for one who is listening; one of another time before, as an hour's pane is.
    world.put(told(15), told(1), told(15, "z2"), told(20), told(25), told(30))
    assert [number for number, _ in await fed(world, said[0][1], 6)] == [10, 15, 1, 20, 25, 30]
    await closed(world)
    again = await fed(world, said[1][1], 2)
    assert [number for number, _ in again] == [15, 1]
    await closed(world)
    # It was told half of it: its newest id goes on from there.
    assert [number for number, _ in await fed(world, again[-1][1], 3)] == [20, 25, 30]


async def test_who_comes_back_to_another_process_misses_nothing(world: World) -> None:
    for item in (told(20), told(5), told(10), told(5, "z2"), told(15)):  # topics are read one after the other
        world.shelf.put(item)
    world.api.begun()
    world.put(told(25))
    # A record may come behind one whose pane ended two hours later.
    last = f"0badcafe-77-{told(10).end_ms + 2 * HOUR_MS - 1}"
    found = await fed(world, last, 4)
    assert [number for number, _ in found] == [10, 15, 20, 25]
    # Whoever is cut off while it is told again goes on, however often that happens.
    for at, (_, last) in enumerate(found[:-1], 1):
        await closed(world)
        assert await fed(world, last, 4 - at) == found[at:]


async def test_an_id_that_is_none_a_method_that_is_none_and_a_parameter_twice_are_refused(world: World) -> None:
    async with world.client.get("/v1/feed", headers={**world.bearer(), "Last-Event-ID": "nine"}) as answer:
        assert (answer.status, orjson.loads(await answer.read())["error"]) == (400, "parameter")
    for method, path in (("POST", "footfall"), ("HEAD", "feed")):
        async with world.client.request(method, f"/v1/{path}?zone=z1", headers=world.bearer()) as answer:
            assert answer.status == 405 and "GET" in answer.headers["Allow"]
            assert method == "HEAD" or "ask here by GET" in orjson.loads(await answer.read())["message"]
    status, said = await world.ask("footfall?zone=z1&zone=z2")
    assert (status, said["message"]) == (400, "zone is there more than once: ask for each by itself")


@pytest.fixture
def client(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The one of the page, as it asks the world."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "api.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.setenv("TOKEN", world.token)
    made: dict[str, Any] = {}
    exec(code.replace("127.0.0.1:8400", f"{world.client.host}:{world.client.port}"), made)
    return made


def test_the_pages_client_takes_no_event_that_was_cut_off(client: dict[str, Any]) -> None:
    whole = b': open\n\nevent: footfall\ndata: {"n":5}\nid: 0badcafe-1-99\n\n: beat\n\n'
    end = whole.index(b"\n\n", len(b": open\n\n")) + 2
    for length in range(len(whole) + 1):
        client["ask"] = lambda *_, length=length: io.BytesIO(whole[:length])
        assert list(client["feed"]()) == [("0badcafe-1-99", {"n": 5})] * (length >= end)


async def test_the_pages_client_asks_and_listens(world: World, client: dict[str, Any]) -> None:
    world.put(told(5), told(5, "z2", suppressed=True), told(5, "z3", suppressed=False))
    world.put(told(10, suppressed=False))
    assert await asyncio.to_thread(client["people"], "z2") is None
    assert (await asyncio.to_thread(client["people"], "z1"))["n"] == 10
    heard = client["feed"](last="0-0-0")  # as who was connected to another process
    found = [await asyncio.to_thread(next, heard) for _ in range(3)]
    assert [record["n"] for _, record in found] == [5, 5, 5]
    world.put(told(15))
    found = [await asyncio.to_thread(next, heard) for _ in range(2)]
    assert [record["n"] for _, record in found] == [10, 15]
    heard.close()


async def test_the_description_has_every_route_and_its_schemas_are_those_of_the_answers(world: World) -> None:
    async with world.client.get("/v1/openapi.json") as answer:
        assert answer.status == 200
        described = orjson.loads(await answer.read())
    routes = {route.resource.canonical for route in world.api.app().router.routes() if route.resource}
    asked = {route for route in routes if route.startswith("/v1/")}
    assert set(described["paths"]) == asked - {"/v1/openapi.json"}
    text = orjson.dumps(described).decode()
    for name in set(re.findall(r'"\$ref":"#/([^"]+)"', text)):
        place = described
        for part in name.split("/"):
            place = place[part]

    def check(path: str, status: int, said: object) -> None:
        found = described["paths"][path]["get"]["responses"][str(status)]
        if "$ref" in found:
            found = described["components"]["responses"][str(status)]
        schema = found["content"]["application/json"]["schema"]
        jsonschema.Draft202012Validator({**schema, "components": described["components"]}).validate(said)

    trips = msgspec.structs.replace(flow("z1", "z2", 60, 4), plan="abc", purpose="traffic")
    item = item_of("flows", msgspec.json.encode(trips), "traffic")
    assert item is not None
    world.put(item)
    for path, query in (("places", ""), ("flows", "?origin=z1"), ("distances", "?origin=z1"), ("footfall", "")):
        status, said = await world.ask(path + query)
        assert status == (400 if path == "footfall" else 200), said
        check(f"/v1/{path}", status, said)
        with pytest.raises(jsonschema.ValidationError):
            check(f"/v1/{path}", status, {"records": [{}]})
