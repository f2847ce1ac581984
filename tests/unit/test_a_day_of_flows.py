"""A morning from sightings to what consumers read: counted, noised by OpenDP, released, and made sense of."""

import random

import msgspec
import numpy as np
import pytest

from schemas.measures import Measure
from schemas.plan import Parent, Plan, Zone
from schemas.released import Flow, FlowSummary, TravelTimes
from streams.api.shelf import item_of
from streams.core.derived.bands import distances
from streams.core.release.budget import rho_of, sensitivity, sigma
from streams.core.release.ledger import Account
from streams.core.release.release import Draw, next_record, publications
from streams.core.release.render import Page
from streams.core.release.sums import Sums
from streams.stores.noise import draw
from tests.oracle.counting import Sighting
from tests.property.test_crowd_against_oracle import MINUTE, frames_of, run
from tests.unit.test_days import DAYS, HOME, PARK, SHOP, START, WORK, at

PEOPLE = 3000
MEASURES = (
    Measure("trips_zone", "trips", "zone", 60 * MINUTE, 32, 0.2),
    Measure("travel_times", "travel_times", "parent", 60 * MINUTE, 32, 0.2),
    Measure("by_pair", "travel_times_by_pair", "zone", 60 * MINUTE, 32, 0.2),
    Measure("passes", "passes", "zone", 60 * MINUTE, 48, 0.2),
)
# 2.2 km from home to work, by way of the shop and the park.
ZONES = (("north", 50.00), ("north", 50.02), ("south", 50.005), ("south", 50.1), ("south", 50.015))
PLAN = Plan(
    1,
    "five",
    "Europe/Berlin",
    (Parent("north", "North"), Parent("south", "South")),
    tuple(Zone(f"z{n}", f"Zone {n}", parent, "shops", lat, 8.0) for n, (parent, lat) in enumerate(ZONES)),
    (),
)
EPOCH = msgspec.structs.replace(DAYS[0], measures=MEASURES, purpose="traffic", plan=PLAN.hash())
# Everyone lives and works alike, each a few seconds after the last: 25 minutes on the way.
WAY = (("7:00", HOME), ("7:40", HOME), ("8:02", SHOP), ("8:06", PARK), ("8:27", WORK), ("8:40", WORK), ("9:20", WORK))


def released() -> dict[str, list[bytes]]:
    """What each measure's panes of the morning have told, as published."""
    moves = [(at(clock) + who * 10, who + 1, zone) for who in range(PEOPLE) for clock, zone in WAY]
    sightings = [Sighting(START + ts, 0, n, 0, who, zone, 0, 0) for n, (ts, who, zone) in enumerate(sorted(moves))]
    _, panes = run(frames_of(sightings, START + at("10:00"), random.Random(1), 4000), [EPOCH])
    account, page = Account(), Page(PLAN, 0.95)
    sums = Sums(account)
    told: dict[str, list[bytes]] = {measure.name: [] for measure in MEASURES}
    for offset, pane in enumerate(panes):
        sums.add(pane, offset, EPOCH)
        whole = sums.first_whole()
        if whole is None:
            assert not EPOCH.due(pane.number)
            continue
        for measure in EPOCH.due(whole.number):
            counted = whole.counts[measure.name]
            assert isinstance(counted, np.ndarray)
            noisy = draw(counted, sensitivity(measure, EPOCH), sigma(measure, EPOCH), rho_of(measure, EPOCH))
            drawn = Draw(EPOCH, measure, whole.number, whole.end_ms, noisy)
            record = next_record(drawn, account.last.get(measure.name), None, page, offset, "me")
            assert account.take(record)
            told[measure.name] += [item.value for item in publications(record)]
        sums.drop(whole)
    return told


def test_a_morning_is_told_by_time_by_the_next_place_and_by_distance() -> None:
    told = released()
    read = [msgspec.json.decode(value, type=TravelTimes) for value in told["travel_times"]]
    bands = {(each.zone, each.band): each for each in read if many(each)}
    assert set(bands) == {("north", None), ("north", "20_40")}
    there = bands["north", "20_40"]
    assert there.noisy is not None and abs(there.noisy - PEOPLE) < 8 * sigma(MEASURES[1], EPOCH)
    assert (there.end, there.from_min, there.to_min) == ("2026-03-02T08:00:00Z", 20, 40)

    (there,) = [flow for flow in flows(told["by_pair"]) if many(flow)]
    assert (there.origin, there.destination, there.band, there.from_min, there.to_min) == ("z0", "z1", "20_40", 20, 40)
    assert there.noisy is not None and abs(there.noisy - PEOPLE) < 8 * sigma(MEASURES[2], EPOCH)
    (last,) = [msgspec.json.decode(told["by_pair"][-1], type=FlowSummary)]
    assert last.published_pairs + last.suppressed_pairs == 5 * 5 * 6

    passes = [flow for flow in flows(told["passes"]) if many(flow)]
    assert {(flow.origin, flow.destination) for flow in passes} == {("z2", "z4"), ("z4", "z1")}
    assert all(flow.estimate == pytest.approx(PEOPLE, abs=8 * flow.se) for flow in passes)

    trips = [flow for flow in flows(told["trips_zone"]) if many(flow)]
    (line,) = distances(trips, PLAN.places())
    assert [(band.from_km, band.to_km, band.share) for band in line.bands if band.pairs] == [(2.0, 5.0, 1.0)]
    assert (line.purpose, line.flows) == ("traffic", 1)

    shelved = [item_of("flows", value, "traffic") for value in told["travel_times"] + told["passes"]]
    places = {(item.measure, item.place, item.destination) for item in shelved if item is not None}
    assert {("travel_times", "north", ""), ("passes", "z2", "z4")} <= places


def flows(values: list[bytes]) -> list[Flow]:
    return [msgspec.json.decode(value, type=Flow) for value in values if b'"destination"' in value]


def many(record: Flow | TravelTimes) -> bool:
    """Of 3,000 people, and not of noise that looked like 100."""
    return (record.estimate or 0.0) > PEOPLE / 2
