"""The live map in a real browser, on a real server of records that the test makes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

import msgspec
import orjson
import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from schemas.plan import Parent, Places, Zone
from streams.api import server, tokens
from streams.api.server import Api, Limits
from streams.api.shelf import Item, Shelf, item_of
from streams.core.times import milliseconds, rfc3339
from streams.metrics import ApiMetrics
from tests.support import browser
from tests.support.api_server import ApiServer

# One browser for all, which lives in one event loop; each page has a profile of its own.
pytestmark = [browser.needed, pytest.mark.asyncio(loop_scope="module")]

HOUR_MS = 3_600_000
PANE_MS = 300_000
NOW = "2026-03-02T11:11:00Z"
MARKUP = '<img src=x onerror="document.title=1">'
ZONES = (
    ("station", "Station", "old", 52.50, 13.40),
    ("market", MARKUP, "old", 52.51, 13.41),
    ("docks", "Docks", "harbour", 52.49, 13.43),
)


def plan(name: str, *zones: tuple[str, str, str, float, float]) -> Places:
    districts = (Parent("old", "Old town"), Parent("harbour", "Harbour"))
    return Places(
        name, 1, f"Town {name}", "Europe/Berlin", districts, tuple(Zone(i, n, d, "", y, x) for i, n, d, y, x in zones)
    )


PLANS = {"abc": plan("abc", *ZONES), "new": plan("new", *ZONES, ("park", "Park", "harbour", 52.48, 13.44))}


class Source:
    """What the server asks: rules that may withhold everything, and places."""

    withheld = ""

    def known(self) -> bool:
        return True

    def why_not(self, _: Item) -> str:
        return self.withheld

    async def places(self, plan: str) -> bytes | None:
        return msgspec.json.encode(PLANS[plan]) if plan in PLANS else None


class World:
    def __init__(self, chromium: Any, file: Path) -> None:
        self.chromium = chromium
        self.file, self.source, self.shelf = file, Source(), Shelf(24 * HOUR_MS)
        self.token = tokens.make(file, "visitor", "marketing", round(time.time() * 1000) + HOUR_MS)
        metrics = ApiMetrics(CollectorRegistry())
        self.api = Api("marketing", self.shelf, tokens.Tokens(file), self.source, Limits(9, 9_999, 99, 99), metrics)
        self.server = ApiServer(self.api.app())

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    @property
    def link(self) -> str:
        return f"/map/#token={self.token}"

    def opened(self, path: str = "", now: str | None = NOW) -> AbstractAsyncContextManager[browser.Seen]:
        return browser.opened(self.chromium, self.origin, path or self.link, now)

    def tell(self, topic: str, minute: int, **said: object) -> None:
        end_ms = milliseconds(f"2026-03-02T11:{minute:02}:00Z")
        about = {
            "start": rfc3339(end_ms - PANE_MS),
            "end": rfc3339(end_ms),
            "plan": "abc",
            "purpose": "marketing",
            "k": 20,
            "epsilon": 2.0,
        }
        item = item_of(topic, orjson.dumps(about | {"policy": "Test network"} | said), "marketing")
        assert item is not None
        if self.shelf.put(item):
            self.api.told(item)

    def present(self, minute: int, zone: str, people: float | None, **more: object) -> None:
        numbers = (
            {}
            if people is None
            else {"estimate": people, "se": 30.0, "low": people - 59, "high": people + 59, "view_se": 40.0}
        )
        self.tell(
            "footfall", minute, measure="present", level="zone", zone=zone, suppressed=people is None, **numbers, **more
        )

    def trips(self, minute: int, origin: str, destination: str, people: float) -> None:
        said = {"origin": origin, "destination": destination, "estimate": people, "se": 9.0, "low": 0.0, "high": 99.0}
        self.tell("flows", minute, measure="trips_zone", level="zone", **said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Any]:
    async with browser.started() as ready:
        yield ready


@pytest_asyncio.fixture(loop_scope="module")
async def world(chromium: Any, tmp_path: Path) -> AsyncIterator[World]:
    made = World(chromium, tmp_path / "tokens")
    for minute, people in ((0, 900.0), (5, 1000.0), (10, 1210.0)):
        made.present(minute, "station", people)
        made.present(minute, "docks", people / 4)
        made.present(minute, "market", None, speaks_through="old")
    made.trips(0, "station", "docks", 120.0)
    made.tell(
        "dwell",
        0,
        measure="dwell",
        level="zone",
        zone="station",
        suppressed=False,
        bucket="21_60",
        estimate=77.0,
        se=9.0,
    )
    await made.server.start_server(shutdown_timeout=0.1)
    yield made
    await made.server.close()


async def test_whoever_has_a_token_sees_who_is_where_and_where_they_go(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("#clock", "12:10")
        assert "token" not in seen.page.url, "it stays in no history"
        assert await seen.text("#town") == "Town abc"
        rows = [" ".join(row.split()) for row in await seen.page.locator("tbody tr").all_inner_texts()]
        assert rows[0].startswith("Station Old town 1,210 98") and rows[1].startswith("Docks Harbour 303 98")
        assert rows[2].endswith("too few")
        radius = {
            zone: float(await seen.page.locator(f"[data-place={zone}]").get_attribute("r"))
            for zone in ("station", "docks")
        }
        assert radius["station"] == pytest.approx(2 * radius["docks"], rel=0.02), "areas go by people"
        assert "suppressed" in await seen.page.locator("[data-place=market]").get_attribute("class")
        await seen.page.locator("[data-place=station]").click()
        await seen.until("#place", "where they go next")
        said = await seen.text("#place")
        assert "1,210 people, in 19 of 20 cases 1,112 to 1,308" in said
        assert "where they go next Docks 120" in said and "how long they stay 21 to 60 77" in said
        assert await seen.page.locator("#place polyline").count() == 1
        await seen.page.select_option("#between", "trips_zone")
        await seen.page.wait_for_selector("path.trip.near", state="attached")
        assert "epsilon 2" in await seen.text("#terms") and "20 people" in await seen.text("#terms")


async def test_places_are_coloured_by_their_usual_selves_and_the_next_two_hours_are_drawn(world: World) -> None:
    ahead = [
        {"at": f"2026-03-02T11:{minute}:00Z", "minutes": minute - 10, "estimate": 1300.0, "low": 1100.0, "high": 1500.0}
        for minute in (25, 40)
    ]
    compared = {"usual": 605.0, "congestion": "much_busier", "estimate": 1210.0, "se": 30.0, "forecasts": ahead}
    world.tell("outlook", 10, level="zone", zone="station", **compared)
    async with world.opened() as seen:
        await seen.until("#legend", "much busier than usual")
        assert "much_busier" in await seen.page.locator("[data-place=station]").get_attribute("class")
        assert (await seen.text("tbody tr")).endswith("98 605")
        await seen.page.locator("[data-place=station]").click()
        await seen.until("#place", "and the next two hours")
        assert "much busier than usual (605)" in await seen.text("#place")
        assert await seen.page.locator("#place polyline.ahead").count() == 1
        world.present(15, "station", 800.0)  # no outlook yet: what was compared is another pane
        await seen.until("tbody tr", "800")
        assert "much_busier" not in await seen.page.locator("[data-place=station]").get_attribute("class")


async def test_a_district_is_a_place_too(world: World) -> None:
    said = {"measure": "present", "level": "parent", "zone": "old", "estimate": 1500.0, "se": 40.0}
    world.tell("footfall", 10, suppressed=False, covered=0.978, complete=False, **said)
    async with world.opened() as seen:
        await seen.until("tbody tr", "1,210")
        await seen.page.locator("polygon.district").first.focus()
        await seen.page.keyboard.press("Enter")
        await seen.until("#place h2", "Old town")
        await seen.until("#place", "1,500")
        assert "From 97 % of the network" in (told := await seen.text("#place")) and "not everyone was heard" in told


async def test_places_without_a_position_are_in_the_table_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = tuple(msgspec.structs.replace(zone, lat=None, lon=None) for zone in PLANS["abc"].zones)
    monkeypatch.setitem(PLANS, "abc", msgspec.structs.replace(PLANS["abc"], zones=nowhere))
    async with world.opened() as seen:
        await seen.until("tbody tr", "1,210")
        assert not await seen.page.is_visible("#scene") and await seen.page.locator("circle[data-place]").count() == 0


async def test_names_are_text_whatever_is_in_them(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("tbody", MARKUP)
        assert await seen.page.locator("img").count() == 0
        await seen.page.locator("tbody button", has_text="onerror").click()
        await seen.until("#place", "Too few people to be told. It speaks through Old town.")
        assert await seen.page.locator("img").count() == 0 and await seen.page.title() == "throng: where crowds are"


async def test_what_is_released_appears_by_itself_and_a_new_plan_too(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("#state", "live")
        world.present(15, "docks", 2222.0)
        await seen.until("tbody tr", "2,222")
        assert (await seen.text("tbody tr")).startswith("Docks")
        await seen.until("#clock", "12:15")
        world.present(20, "park", 50.0, plan="new")
        await seen.until("#town", "Town new")
        await seen.until("tbody", "Park")


async def test_numbers_that_are_old_are_dated_and_not_called_live(world: World) -> None:
    async with world.opened(now="2026-03-02T11:25:00Z") as seen:
        await seen.until("#state", "live")
        assert await seen.page.get_attribute("#state", "class") == "live"
        assert await seen.text("#clock") == "people present Mon 12:10"
        await seen.page.clock.set_fixed_time("2026-03-02T11:25:01Z")
        await seen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await seen.until("#state", "connected; the newest is 15 min old")
        assert await seen.page.get_attribute("#state", "class") == "old"
        assert await seen.text("#clock") == "people present Mon, 2 Mar 2026, 12:10"
        world.present(15, "docks", 2222.0)
        await seen.until("#state", "live")
        await seen.until("#clock", "people present Mon 12:15")
        for now, age in (("2026-03-02T16:15:00Z", "5 hours"), ("2026-11-30T09:00:00Z", "272 days")):
            await seen.page.clock.set_fixed_time(now)
            await seen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            await seen.until("#state", f"connected; the newest is {age} old")


@pytest.mark.parametrize(
    ("timezone", "shown"),
    [
        (
            "Europe/Berlin",
            {
                "2026-10-24T23:55:00Z": "Sun 01:55",
                "2026-10-25T00:30:00Z": "Sun, 02:30 GMT+2",
                "2026-10-25T01:30:00Z": "Sun, 02:30 GMT+1",
                "2026-10-25T02:00:00Z": "Sun 03:00",
                "2026-03-29T00:55:00Z": "Sun 01:55",
                "2026-03-29T01:00:00Z": "Sun 03:00",
            },
        ),
        ("Australia/Lord_Howe", {"2026-04-04T14:30:00Z": "Sun, 01:30 GMT+11", "2026-04-04T15:30:00Z": "Sun 02:00"}),
        ("Asia/Kathmandu", {"2026-04-04T15:30:00Z": "Sat 21:15"}),
    ],
)
async def test_times_that_the_towns_clock_shows_twice_are_told_apart(
    world: World, timezone: str, shown: dict[str, str]
) -> None:
    clock = "([zone, times]) => import('/map/words.js').then((words) => times.map(words.clock(zone)))"
    async with world.opened() as seen:
        assert await seen.page.evaluate(clock, [timezone, list(shown)]) == list(shown.values())


async def test_an_answer_from_before_takes_back_nothing_that_the_feed_has_told(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("#state", "live")
        answered = asyncio.Event()

        async def slow(route: Any) -> None:
            answer = await route.fetch()
            world.present(15, "docks", 2222.0)
            await seen.until("tbody tr", "2,222")
            await route.fulfill(response=answer)
            answered.set()

        await seen.page.route("**/v1/footfall?measure=present", slow, times=1)
        await seen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        await asyncio.wait_for(answered.wait(), 20)
        await seen.page.wait_for_timeout(500)
        assert (await seen.text("tbody tr")).startswith("Docks Harbour 2,222")


async def test_it_goes_on_where_it_was_once_the_server_is_back(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("#state", "live")
        world.present(15, "station", 1500.0)
        await seen.until("tbody tr", "1,500")
        port = world.server.port
        await world.server.close()
        await seen.until("#state", "does not answer")
        world.present(20, "station", 1700.0)
        world.server = ApiServer(world.api.app(), port=port)
        await world.server.start_server(shutdown_timeout=0.1)
        await seen.until("#state", "live")
        await seen.until("tbody tr", "1,700")


async def test_how_the_feed_is_stays_in_view_wherever_one_reads(world: World) -> None:
    async with world.opened() as seen:
        await seen.page.set_viewport_size({"width": 390, "height": 500})
        await seen.until("tbody tr", "1,210")
        await seen.page.evaluate("scrollTo(0, document.body.scrollHeight)")
        await world.server.close()
        await seen.until("#state", "does not answer")
        assert await seen.page.evaluate(
            """() => {
              const { left, top } = document.querySelector("#state").getBoundingClientRect();
              return scrollY > 0 && document.elementFromPoint(left + 5, top + 5)?.id === "state";
            }"""
        )


async def test_a_feed_that_is_silent_is_opened_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BEAT_S", 60.0)
    async with world.opened("/map/", now=None) as seen:
        await seen.page.clock.install(time=NOW)
        await seen.page.goto(world.origin + world.link)
        await seen.page.reload()
        await seen.until("#state", "live")
        (dead,) = world.api._feeds
        await seen.page.clock.run_for(32_000)
        async with asyncio.timeout(20):
            while dead in world.api._feeds or not world.api._feeds:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        world.present(15, "docks", 2222.0)
        await seen.until("tbody tr", "2,222")


async def test_what_is_withdrawn_leaves_the_screen(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.opened() as seen:
        await seen.until("tbody tr", "1,210")
        monkeypatch.setattr(Source, "withheld", "suspended by the ministry")
        await seen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as whoever comes back to it
        await seen.until("#state", "suspended by the ministry")
        assert "1,210" not in await seen.text("body")


async def test_a_token_is_typed_in_and_a_wrong_or_revoked_one_is_told_so(world: World) -> None:
    async with world.opened("/") as seen:
        await seen.page.fill("#token", "throng_no")
        await seen.page.click("#ask button")
        await seen.until("#refused", "this is none that is known")
        await seen.page.fill("#token", world.token)
        await seen.page.keyboard.press("Enter")
        await seen.until("tbody tr", "1,210")
        await seen.page.reload()
        await seen.until("tbody tr", "1,210")
        tokens.revoke(world.file, "visitor")
        world.present(15, "station", 1500.0)
        await seen.until("#refused", "none that is known")
        assert not await seen.page.is_visible("main") and "1,210" not in await seen.text("body")


COUNTED = """window.added = 0;
for (const [of, name] of [[window, "setInterval"], [document, "addEventListener"]]) {
  const real = of[name].bind(of);
  of[name] = (...given) => { added += 1; return real(...given); };
}
null"""


async def test_nothing_is_left_of_a_token_when_another_one_is_entered(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("#state", "live")
        await seen.page.evaluate(COUNTED)
        for number in range(2):
            tokens.revoke(world.file, f"visitor{number or ''}")
            token = tokens.make(world.file, f"visitor{number + 1}", "marketing", round(time.time() * 1000) + HOUR_MS)
            # It asks for all of it, and so hears of the end before the feed tells it.
            await seen.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            await seen.until("#refused", "none that is known")
            await seen.page.fill("#token", token)
            await seen.page.keyboard.press("Enter")
            await seen.page.keyboard.press("Enter")
            await seen.until("#state", "live")
            world.present(15 + number, "station", 1500.0 + number)  # at which a feed of the old token would end
            await seen.until("tbody tr", f"1,50{number}")
            await seen.page.wait_for_timeout(1500)
            assert await seen.page.is_visible("main") and await seen.text("#state") == "live"
            assert len(world.api._feeds) == 1
        assert await seen.page.evaluate("added") == 0


async def test_the_keyboard_is_enough(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("tbody tr", "1,210")
        await seen.page.focus("[data-place=docks]")
        await seen.page.keyboard.press("Enter")
        await seen.until("#place h2", "Docks")
        assert await seen.page.get_attribute("[data-place=docks]", "aria-label") == "Docks: 303 people, give or take 98"
        box = await seen.page.get_attribute("#scene", "viewBox")
        await seen.page.click("[aria-label=Nearer]")
        nearer = await seen.page.get_attribute("#scene", "viewBox")
        assert float(nearer.split()[2]) == pytest.approx(float(box.split()[2]) / 1.5)


async def held(seen: browser.Seen) -> str:
    """The words of what the keyboard is in."""
    return await seen.page.evaluate("document.activeElement.innerText")


async def test_the_keyboard_stays_in_the_row_that_it_was_in(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("tbody tr", "1,210")
        await seen.page.locator("tbody button", has_text="Docks").focus()
        await seen.page.keyboard.press("Enter")
        await seen.until("#place h2", "Docks")
        assert await held(seen) == "Docks"
        world.present(15, "docks", 2222.0)
        await seen.until("tbody tr", "2,222")
        assert await held(seen) == "Docks", "the row has moved"
        await seen.page.keyboard.press("Tab")
        assert await held(seen) == "Station"


async def test_what_is_chosen_in_the_table_is_brought_into_view(world: World) -> None:
    async with world.opened() as seen:
        await seen.page.set_viewport_size({"width": 390, "height": 240})
        await seen.until("tbody tr", "1,210")
        await seen.page.locator("tbody button").last.click()
        await seen.until("#place", "Too few people to be told")
        top, bottom, page = await seen.page.evaluate(
            """() => {
              const { top, bottom } = document.querySelector("#place h2").getBoundingClientRect();
              return [top, bottom, innerHeight];
            }"""
        )
        assert 0 <= top < bottom <= page


async def test_a_place_is_read_aloud_when_it_says_something_new_alone(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("tbody tr", "1,210")
        await seen.page.locator("tbody button", has_text="Docks").click()
        await seen.until("#place", "lately")
        await seen.page.wait_for_timeout(500)
        await seen.page.evaluate(
            """() => {
              window.told = 0;
              new MutationObserver(() => (told += 1)).observe(document.querySelector("#place"), { childList: true });
              document.dispatchEvent(new Event("visibilitychange"));
            }"""
        )
        await seen.page.wait_for_timeout(1000)
        assert await seen.page.evaluate("told") == 0
        world.present(15, "docks", 2222.0)
        await seen.until("#place", "2,222")
        assert await seen.page.evaluate("told") > 0


# Of text on what is behind it (WCAG 2.2, 1.4.3).
CONTRAST = """(selector) => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[0-9.]+/g).map((each) => each / 255)
      .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const text = document.querySelector(selector);
  let ground = text;
  while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
  const both = [light(getComputedStyle(text).color), light(getComputedStyle(ground).backgroundColor)];
  return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_all_words_stand_out_by_day_and_by_night(world: World, scheme: Literal["light", "dark"]) -> None:
    async with world.opened("/") as seen:
        await seen.page.emulate_media(color_scheme=scheme)
        await seen.page.fill("#token", "throng_no")
        await seen.page.click("#ask button")
        await seen.until("#refused", "none that is known")
        words = ["#refused", "#ask label"]
        assert min([await seen.page.evaluate(CONTRAST, each) for each in words]) >= 4.5
        await seen.page.fill("#token", world.token)
        await seen.page.keyboard.press("Enter")
        await seen.until("tbody tr", "1,210")
        words = ["#clock", "#state", "#legend li", "#place .note", "thead th", "tbody td", "#terms", "#view label"]
        assert min([await seen.page.evaluate(CONTRAST, each) for each in words]) >= 4.5
        await seen.page.locator("polygon.district").first.focus()
        assert await seen.page.locator("polygon.district").first.evaluate("of => getComputedStyle(of).opacity") == "1"


async def sizes(seen: browser.Seen, *selectors: str) -> list[float]:
    """How wide things are on the screen."""
    await seen.page.wait_for_timeout(700)  # circles grow
    wide = "element => element.getBoundingClientRect().width"
    return [await seen.page.locator(selector).first.evaluate(wide) for selector in selectors]


@pytest.mark.parametrize("wide", [390, 844, 1360, 2200])
async def test_the_legend_is_true_and_names_stay_as_large_however_near_and_on_whatever_screen(
    world: World, wide: int
) -> None:
    world.present(15, "station", 1000.0)
    async with world.opened() as seen:
        await seen.page.set_viewport_size({"width": wide, "height": 900})
        await seen.until("tbody tr", "1,000")
        await seen.until("#legend", "1,000")
        looked_for = "[data-place=station]", "#legend circle:last-of-type", ".name.shown"
        station, in_the_legend, name = await sizes(seen, *looked_for)
        assert in_the_legend == pytest.approx(station, rel=0.05)
        for _ in range(3):
            await seen.page.click("[aria-label=Nearer]")
        assert await sizes(seen, *looked_for) == pytest.approx([station, in_the_legend, name], rel=0.05)
        assert await seen.page.evaluate("document.documentElement.scrollWidth") <= wide
        await seen.page.locator("tbody button").first.click()
        await seen.until("#place", "1,000")
        (figure,) = await sizes(seen, "#place .chart")
        assert figure <= 28 * 16, "its letters grow with it"


async def test_two_fingers_look_nearer_and_choose_nothing(world: World) -> None:
    async with world.opened() as seen:
        await seen.until("tbody tr", "1,210")
        await seen.page.evaluate(
            """() => {
              const svg = document.querySelector("#scene");
              const { left, top } = svg.getBoundingClientRect();
              const touch = (name, pointerId, x) => svg.dispatchEvent(new PointerEvent(name,
                { pointerId, buttons: 1, clientX: left + x, clientY: top + 300, bubbles: true }));
              touch("pointerdown", 1, 400), touch("pointerdown", 2, 500);
              for (let by = 10; by <= 100; by += 10) touch("pointermove", 2, 500 + by);
              touch("pointerup", 2, 600), touch("pointerup", 1, 400), touch("pointermove", 1, 900);
              svg.dispatchEvent(new MouseEvent("click", { bubbles: true }));
            }"""
        )
        box = [float(number) for number in (await seen.page.get_attribute("#scene", "viewBox")).split()]
        assert box[2] == pytest.approx(1000 / 2) and box[3] == pytest.approx(700 / 2)
        assert "Choose a place" in await seen.text("#place")


async def test_an_earlier_day_that_goes_on_is_told_apart_from_one_that_stands_still(world: World) -> None:
    async with world.opened(now="2026-11-30T09:00:00Z") as seen:
        await seen.until("#state", "connected; the newest is 272 days old")
        for minute in (15, 20, 25):
            world.present(minute, "docks", 2000.0 + minute)
            await seen.until("tbody tr", f"2,0{minute}")
        await seen.until("#state", "playing an earlier day")
        assert await seen.text("#clock") == "people present Mon, 2 Mar 2026, 12:25"
        await seen.page.clock.set_fixed_time("2026-03-02T16:25:00Z")
        world.present(30, "docks", 2030.0)
        await seen.until("#state", "catching up: 4 hours behind")
