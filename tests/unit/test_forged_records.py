"""What the API makes of records that somebody else wrote into released topics: well-formed, and no release's."""

import logging
from typing import Any, NamedTuple

import msgspec
import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.outlook import OUTLOOK_SCHEMA, Ahead, Outlook
from schemas.topics import AREAS, DWELL, FLOWS, FOOTFALL, HOUR_MS, OUTLOOK, VISITS
from streams.api.edge import MOST_BYTES, Edge, Foreign, Unopened
from streams.api.intake import Intake
from streams.api.shelf import Shelf
from streams.core.epochs import EpochTable
from streams.core.release.release import Draw, next_record, publications, shut_record
from streams.core.release.render import Page
from streams.core.times import milliseconds, rfc3339
from streams.metrics import ApiMetrics
from streams.stores.published import end_told
from tests.support.world import PLAN, epochs_at
from tests.unit.test_own_records import FOREIGN

START = 1_772_420_400_000
DAY_MS = 24 * HOUR_MS
MEASURES = (
    *DEFAULT_MEASURES,
    Measure("travel_times", "travel_times", "parent", HOUR_MS, 32, 0.1),
    Measure("by_pair", "travel_times_by_pair", "zone", HOUR_MS, 32, 0.1),
    Measure("home", "home", "zone", HOUR_MS, 32, 0.1),
    Measure("homes", "home", "zone", HOUR_MS, 32, 0.1),
)
EPOCH = msgspec.structs.replace(epochs_at(START)[0], measures=MEASURES)
PAGE = Page(PLAN, 0.95)
NUMBER = 24
END_MS = EPOCH.start_ms + NUMBER * EPOCH.pane_ms


class Written(NamedTuple):
    """A record as Kafka's client has it."""

    value: bytes | None
    timestamp: int = END_MS
    timestamp_type: int = 0
    topic: str = "north.footfall"
    partition: int = 2
    offset: int = 7


def edge(*epochs: Epoch, plans: tuple[Any, ...] = (PLAN,)) -> Edge:
    return Edge("marketing", EpochTable(epochs or (EPOCH,)), plans)


def drawn(measure: Measure, present: LedgerRecord | None = None) -> LedgerRecord:
    keys = measure.keys(6, 2)
    occurring = np.arange(keys, dtype=np.uint32) if measure.name == "homes" else None
    return next_record(
        Draw(EPOCH, measure, NUMBER, END_MS, np.full(keys, 9_000, np.int64), occurring), None, present, PAGE, 0, "me"
    )


def outlook(end_ms: int = END_MS) -> Outlook:
    ahead = Ahead(at=rfc3339(end_ms + 900_000), minutes=15, estimate=90.0, se=9.0, low=70.0, high=110.0, scored=0.0)
    return Outlook(
        schema=OUTLOOK_SCHEMA,
        end=rfc3339(end_ms),
        level="zone",
        zone="z3",
        estimate=88.0,
        se=3.0,
        usual=120.0,
        usual_se=9.0,
        weeks=2.0,
        ratio=0.7,
        deviation=-3.5,
        congestion="quieter",
        forecasts=(ahead,),
        plan=PLAN.hash(),
        purpose="marketing",
    )


def written() -> list[tuple[str, bytes]]:
    """A pane of every measure, told and lost."""
    present = drawn(MEASURES[0])
    records = [drawn(measure, present if measure.name == "arrivals" else None) for measure in MEASURES]
    records += [shut_record(EPOCH, measure, NUMBER, PAGE, 0, "me") for measure in MEASURES]
    said = [(item.topic, item.value) for record in records for item in publications(record)]
    return [*said, (OUTLOOK, msgspec.json.encode(outlook()))]


WRITTEN = written()


def genuine(topic: str, **like: object) -> dict[str, Any]:
    """The first record that says this."""
    said = (orjson.loads(value) for name, value in WRITTEN if name == topic)
    return next(each for each in said if like.items() <= each.items())


def test_all_that_releases_write_is_taken_as_they_wrote_it() -> None:
    assert {topic for topic, _ in WRITTEN} == {FOOTFALL, FLOWS, DWELL, VISITS, AREAS, OUTLOOK}
    reads, shelf = edge(), Shelf(DAY_MS)
    found = [(topic, reads.read(topic, Written(value))) for topic, value in WRITTEN]
    assert [(topic, item.value) for topic, item in found if item] == WRITTEN
    # Of a pane that was told and one that was lost each is of its own kind: none takes another's place.
    told = [item for _, item in found if item and b'"state_lost":true' not in item.value]
    assert len(told) > 200 and all(shelf.put(item) for item in told) and not any(map(shelf.contradicts, told))


def test_what_a_later_release_adds_is_no_reason_nor_is_a_plan_that_is_not_at_hand() -> None:
    value = orjson.dumps(genuine(FOOTFALL, measure="present") | {"mood": {"joy": [1]}})
    assert edge().read(FOOTFALL, Written(value))
    assert edge(plans=()).read(FOOTFALL, Written(value))


def test_of_another_purpose_it_is_nobodys_business() -> None:
    assert edge().read(FOOTFALL, Written(orjson.dumps(genuine(FOOTFALL) | {"purpose": "traffic"}))) is None


PRESENT = genuine(FOOTFALL, measure="present", suppressed=False)
TRIP = genuine(FLOWS, measure="trips_zone", noisy=9_000)
SUMMARY = genuine(FLOWS, measure="trips_zone", state_lost=True)
FORGED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (FOOTFALL, PRESENT, {"start": rfc3339(END_MS - HOUR_MS)}),
    (FOOTFALL, PRESENT, {"start": "0001-01-01T00:00:00Z"}),
    (FOOTFALL, PRESENT, {"window_s": 900, "start": rfc3339(END_MS - 900_000)}),
    (FOOTFALL, PRESENT, {"window_s": -300}),
    (FOOTFALL, PRESENT, {"end": rfc3339(END_MS).replace("Z", "+00:00")}),
    (FOOTFALL, PRESENT, {"end": "9999-12-31T23:59:59-23:00"}),
    (FOOTFALL, PRESENT, {"end": rfc3339(END_MS - 60_000), "start": rfc3339(END_MS - 360_000)}),
    (FOOTFALL, PRESENT, {"plan": "other"}),
    (FOOTFALL, PRESENT, {"measure": "crowding"}),
    (FOOTFALL, PRESENT, {"measure": "dwell", "window_s": 3600, "start": rfc3339(END_MS - HOUR_MS)}),
    (FOOTFALL, PRESENT, {"zone": "z9"}),
    (FOOTFALL, PRESENT, {"zone": "north"}),
    (FOOTFALL, PRESENT, {"zone": ""}),
    (FOOTFALL, PRESENT, {"level": "country"}),
    (FOOTFALL, PRESENT, {"origin": "z1", "destination": "z2"}),
    (FOOTFALL, PRESENT, {"schema": "flows/1"}),
    (FOOTFALL, PRESENT, {"suppressed": True}),
    (FOOTFALL, PRESENT, {"suppressed": "no"}),
    (FOOTFALL, PRESENT, {"low": None}),
    (FOOTFALL, PRESENT, {"estimate": None}),
    (FOOTFALL, PRESENT, {"estimate": "many"}),
    (FOOTFALL, PRESENT, {"estimate": 1e300}),
    (FOOTFALL, PRESENT, {"noisy": 1.5}),
    (FOOTFALL, PRESENT, {"noisy": 2**63}),
    (FOOTFALL, PRESENT, {"mood": "m" * MOST_BYTES}),
    (FLOWS, TRIP, {"estimate": None}),
    (FLOWS, TRIP, {"destination": "z9"}),
    (FLOWS, TRIP, {"origin": ""}),
    (FLOWS, TRIP, {"zone": "z5"}),
    (FLOWS, TRIP, {"measure": "trips_parent", "window_s": 900, "start": rfc3339(END_MS - 900_000)}),
    (FLOWS, SUMMARY, {"zone": "z1"}),
    (FLOWS, SUMMARY, {"published_pairs": 1e300}),
    (OUTLOOK, msgspec.to_builtins(outlook()), {"forecasts": [{"at": "soon"}]}),
    (OUTLOOK, msgspec.to_builtins(outlook()), {"end": rfc3339(END_MS - 300_000)}),
    (OUTLOOK, msgspec.to_builtins(outlook()), {"usual": 1e308}),
]


@pytest.mark.parametrize(("topic", "said", "forged"), FORGED)
def test_what_no_release_can_have_written_is_told_apart(
    topic: str, said: dict[str, Any], forged: dict[str, Any]
) -> None:
    assert edge().read(topic, Written(orjson.dumps(said)))
    with pytest.raises(Foreign):
        edge().read(topic, Written(orjson.dumps(said | forged)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b',"k"', b',\n\n"k"'),
        (b',"k"', b',\r"k"'),
        (b',"k"', b',"mood":"\xff","k"'),
        (b'"se":', b'"se":1e999,"x":'),
        (b'"se":', b'"se":NaN,"x":'),
    ],
)
def test_it_is_one_line_of_json_in_utf_8(before: bytes, after: bytes) -> None:
    value = orjson.dumps(PRESENT).replace(before, after, 1)
    with pytest.raises(Foreign):
        edge().read(FOOTFALL, Written(value))


def test_nothing_is_of_a_time_after_its_own_in_kafka() -> None:
    value = orjson.dumps(PRESENT)
    assert edge().read(FOOTFALL, Written(value, END_MS + DAY_MS))
    with pytest.raises(Foreign):
        edge().read(FOOTFALL, Written(value, END_MS - 1))
    # Where brokers stamp the topic, their clocks may be apart.
    assert edge().read(FOOTFALL, Written(value, END_MS - HOUR_MS, 1))
    with pytest.raises(Foreign):
        edge().read(FOOTFALL, Written(value, END_MS - HOUR_MS - 1, 1))


class Epochs:
    """Those that have been written, of which some are read only by now."""

    def __init__(self, *later: Epoch) -> None:
        self.table, self.records, self.later = EpochTable(), list[Epoch](), list(later)

    async def refresh(self) -> list[Epoch]:
        found, self.later = self.later, []
        self.records += found
        for epoch in found:
            self.table.add(epoch)
        return found


class World:
    def __init__(self, *epochs: Epoch) -> None:
        self.epochs, self.shelf, self.registry = Epochs(*epochs), Shelf(DAY_MS), CollectorRegistry()
        reads = Edge("marketing", self.epochs.table, (PLAN,))
        self.intake = Intake(reads, self.shelf, self.epochs, ApiMetrics(self.registry))

    @property
    def foreign(self) -> float:
        return self.registry.get_sample_value("throng_api_foreign_records_total", {"topic": FOOTFALL}) or 0.0


def at(end_ms: int, **more: object) -> bytes:
    times = {"start": rfc3339(end_ms - EPOCH.pane_ms), "end": rfc3339(end_ms)}
    return orjson.dumps(PRESENT | times | more)


async def test_what_is_no_released_record_is_passed_over_and_told_by_its_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(EPOCH)
    values = [*FOREIGN.values(), b'{"end":"soon","plan":"p","purpose":"marketing"}', at(END_MS)]
    assert [item.value for item in await world.intake.take(FOOTFALL, [Written(value) for value in values])] == values[
        -1:
    ]
    assert world.foreign == len(values) - 1
    (line,) = caplog.messages
    assert line.startswith(
        "north.footfall, partition 2, offset 7: passed over, as no release of throng wrote it; so are "
    )


async def test_a_far_end_leaves_the_history_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    world = World(EPOCH)
    panes = [Written(at(END_MS + number * EPOCH.pane_ms), END_MS + DAY_MS) for number in range(3)]
    assert len(await world.intake.take(FOOTFALL, panes)) == 3
    far = [Written(at(milliseconds(f"{year}-01-01T00:00:00Z"), mood="secret"), 2**60) for year in (2027, 9999)]
    # Within the epoch it is its time in Kafka that tells.
    far.append(Written(at(EPOCH.end_ms), END_MS + HOUR_MS))
    assert await world.intake.take(FOOTFALL, far) == [] and world.foreign == 3
    assert len(list(world.shelf.of(FOOTFALL, PRESENT["zone"], 0, world.shelf.newest_ms))) == 3
    assert world.shelf.plan == PLAN.hash()
    assert "north.footfall, partition 2, offset 7: passed over" in caplog.text and "secret" not in caplog.text


async def test_what_was_released_stands_and_what_contradicts_it_is_passed_over() -> None:
    world = World(EPOCH)
    (first,) = await world.intake.take(FOOTFALL, [Written(at(END_MS))])
    assert await world.intake.take(FOOTFALL, [Written(at(END_MS, noisy=7)), Written(at(END_MS))]) == []
    assert world.foreign == 1
    assert list(world.shelf.of(FOOTFALL, PRESENT["zone"], 0, END_MS)) == [first]


async def test_an_outlook_that_another_version_has_worked_out_takes_the_place_of_the_first() -> None:
    world = World(EPOCH)
    versions = [msgspec.json.encode(msgspec.structs.replace(outlook(), usual=usual)) for usual in (120.0, 119.9, 119.9)]
    assert len(await world.intake.take(OUTLOOK, [Written(value) for value in versions])) == 2
    assert [item.value for item in world.shelf.every(OUTLOOK, 0, END_MS)] == [versions[1]]


async def test_of_an_epoch_that_is_opened_later_it_is_told_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    next_day = msgspec.structs.replace(epochs_at(START, START + DAY_MS)[1], measures=MEASURES)
    world = World(EPOCH)
    early = Written(at(END_MS + DAY_MS), END_MS + DAY_MS)
    with pytest.raises(Unopened):
        edge().read(FOOTFALL, early)
    assert await world.intake.take(FOOTFALL, [early]) == [] and world.foreign == 1
    assert [item.end_ms for item in await world.intake.take(FOOTFALL, [Written(at(END_MS))])] == [END_MS]
    world.epochs.later = [next_day]
    other = Written(at(END_MS + DAY_MS, zone="z4"), END_MS + DAY_MS)
    assert [item.place for item in await world.intake.take(FOOTFALL, [other])] == ["z4", PRESENT["zone"]]
    assert world.foreign == 1


def test_by_what_ends_after_its_time_in_kafka_no_ledger_is_taken_for_an_older_one() -> None:
    assert end_told(Written(at(END_MS))) == rfc3339(END_MS)
    assert end_told(Written(at(END_MS + DAY_MS))) is None
    assert end_told(Written(at(END_MS + DAY_MS), timestamp_type=1)) is not None, "by a broker's clock alone it may be"
    assert [end_told(Written(value)) for value in FOREIGN.values()] == [None] * len(FOREIGN)
