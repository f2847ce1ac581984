"""The records of home and work: what is told of whom, in which form, and what it says of itself."""

import msgspec
import numpy as np
import orjson
import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry

from schemas.access import measures_for, scopes_for, topics_for
from schemas.measures import Measure
from schemas.panes import Pane, from_dense, sealed
from schemas.topics import AREAS, RELEASED
from streams.agents.health import Readiness
from streams.agents.release import Releaser
from streams.agents.transport import LogRange
from streams.core.release.budget import rho_within, sigma
from streams.core.release.release import Draw, next_record, publications, shut_record
from streams.core.release.render import Page, Pages
from streams.metrics import ReleaseMetrics
from streams.recording.panes import places_of
from streams.stores.ledger import Ledger
from streams.stores.released import Publisher, redis_values
from tests.support.rules import SettledRules
from tests.support.turns import ALONE
from tests.support.world import PLAN, epochs_at
from tests.unit.test_release_role import NO_NOISE, Epochs, Logs, Reader, chunk
from tests.unit.test_schemas import validator

HOME = Measure("home", "home", "zone", 3_600_000, 16, 0.05)
WORK = Measure("work_areas", "work", "parent", 3_600_000, 16, 0.05)
EPOCH = replace(epochs_at(1_772_420_400_000)[0], measures=(HOME, WORK))
PAGE = Page(PLAN, 0.95)


def drawn(measure: Measure, noisy: list[list[int]]):
    """A pane of places by area: north, south, not known."""
    draw = Draw(EPOCH, measure, 84, EPOCH.start_ms + 84 * EPOCH.pane_ms, np.array(noisy, np.int64).ravel())
    return next_record(draw, None, None, PAGE, 0, "me")


def said(record) -> list[dict]:
    for item in publications(record):
        validator("areas").validate(orjson.loads(item.value))
    return [orjson.loads(item.value) for item in publications(record)]


def test_visitors_of_a_zone_are_told_by_district_of_home_with_all_of_them() -> None:
    record = drawn(HOME, [[0, 0, 0], [3000, 2000, 1000], [0, 0, 0], [90, 0, 0], [0, 0, 0], [0, 0, 0]])
    assert {item.topic for item in publications(record)} == {AREAS}
    whole, *areas = [each for each in said(record) if each["zone"] == "z1"]
    assert (whole["noisy"], whole["kind"], whole["suppressed"]) == (6000, "home", False)
    assert not {"area", "unknown"} & whole.keys()
    assert whole["se"] == pytest.approx(sigma(HOME, EPOCH) * 3**0.5, abs=0.1)
    assert [(each.get("area"), each.get("unknown", False), each["noisy"]) for each in areas] == [
        ("north", False, 3000),
        ("south", False, 2000),
        (None, True, 1000),
    ]
    (small,) = [each for each in said(record) if each["zone"] == "z3"]
    assert small["suppressed"] and "noisy" not in small
    # A district's visitors are those of its zones together, who live in the same one or another.
    district = next(each for each in said(record) if each["level"] == "parent" and each.get("area") == "north")
    assert district["zone"] == PLAN.zones[1].parent


def test_a_small_zone_speaks_through_its_district() -> None:
    record = drawn(HOME, [[3000, 0, 0], [10, 0, 0], *([[0, 0, 0]] * 4)])
    assert PLAN.zones[0].parent == PLAN.zones[1].parent
    (small,) = [each for each in said(record) if each["zone"] == "z1"]
    assert small["suppressed"] and small["speaks_through"] == PLAN.zones[0].parent


def test_places_visited_may_be_districts_too() -> None:
    record = drawn(WORK, [[3000, 0, 0], [0, 0, 0]])
    found = [(each["zone"], each["kind"], each["level"], each.get("area")) for each in said(record)]
    assert found == [
        ("north", "work", "parent", None),
        ("north", "work", "parent", "north"),
        ("south", "work", "parent", None),
    ]


def test_pairs_that_come_from_the_data_are_told_alone_and_no_place_as_a_whole() -> None:
    vast = replace(EPOCH, zones=20_000, parents=100, rho=rho_within(2.0, 2e-9, keyed=True))
    assert HOME.keys_from_data(20_000, 100) and vast.keyed == (HOME,) and not HOME.keys_from_data(6, 2)
    keys = np.array([1 * 3 + 1, 4 * 3 + 2, 5 * 3], np.uint32)
    draw = Draw(EPOCH, HOME, 84, EPOCH.start_ms + 84 * EPOCH.pane_ms, np.array([900, 800, 1], np.int64), keys)
    *told, summary = said(next_record(draw, None, None, PAGE, 0, "me"))
    assert [(each["zone"], each.get("area"), each.get("unknown", False), each["noisy"]) for each in told] == [
        ("z1", "south", False, 900),
        ("z4", None, True, 800),
    ]
    assert (summary["published_pairs"], summary["suppressed_pairs"], summary["kind"]) == (2, 16, "home")


def test_a_pane_that_lost_its_state_is_told_to_be_so() -> None:
    found = said(shut_record(EPOCH, HOME, 84, PAGE, 0, "me"))
    assert [each["zone"] for each in found] == [*(f"z{n}" for n in range(6)), "north", "south"]
    assert all(each["suppressed"] and each["state_lost"] and not each["complete"] for each in found)
    assert [each["zone"] for each in said(shut_record(EPOCH, WORK, 84, PAGE, 0, "me"))] == ["north", "south"]


def test_redis_holds_all_records_of_a_pane_together() -> None:
    record = drawn(HOME, [[3000, 2000, 1000], *([[0, 0, 0]] * 5)])
    values = redis_values(publications(record), "home")
    assert list(values) == ["released:areas:home"]
    assert orjson.loads(values["released:areas:home"]) == said(record)


def test_only_market_research_and_marketing_may_ask() -> None:
    for purpose in ("market_research", "marketing"):
        assert measures_for(purpose, (HOME, WORK)) == (HOME, WORK) and AREAS in topics_for(purpose)
        assert f"{purpose}:areas:read" in scopes_for(purpose)
    for purpose in ("traffic", "public"):
        assert measures_for(purpose, (HOME, WORK)) == () and AREAS not in topics_for(purpose)
        assert not any("areas" in scope for scope in scopes_for(purpose))


def test_a_count_is_named_by_place_and_area() -> None:
    assert places_of(HOME, 4 * 3 + 1, PLAN) == ("z4", None, None, None, "south")
    assert places_of(WORK, 1 * 3 + 2, PLAN) == ("south", None, None, None, "")


async def test_a_release_counts_what_it_withheld() -> None:
    """Also of records that are no flows of the topic of that name."""
    times = Measure("times", "travel_times", "parent", 3_600_000, 32, 0.1)
    epoch = replace(EPOCH, partitions=2, measures=(HOME, times))
    logs, registry = Logs(), CollectorRegistry()
    role = Releaser(
        Pages(lambda _: PLAN, 0.95),
        Epochs(epoch),
        Ledger(Reader(logs), logs, "ledger"),  # type: ignore[arg-type]
        Publisher(logs, logs, {name: name for name in RELEASED}, dict.fromkeys(RELEASED, 1), ""),  # type: ignore[arg-type]
        NO_NOISE,
        ReleaseMetrics(registry),
        Readiness(),
        SettledRules(),
        ALONE,
    )
    await role.positions({0: LogRange(0, 24)})
    panes = []
    for number in range(1, 13):
        end = epoch.start_ms + number * epoch.pane_ms
        counts = {m.name: from_dense(np.zeros(m.keys(6, 2), np.int64)) for m in epoch.due(number)}
        panes += [sealed(Pane(epoch.epoch, part, 2, number, end - epoch.pane_ms, end, 1, counts, 0)) for part in (0, 1)]
    await role.handle(chunk(panes, 0))
    withheld = {
        name: registry.get_sample_value("throng_release_suppressed_keys", {"measure": name})
        for name in ("home", "times")
    }
    assert withheld == {"home": 8.0, "times": 2.0}
    assert [msgspec.json.decode(value)["measure"] for value in logs.values[AREAS]] == ["home"] * 8
