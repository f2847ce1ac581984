"""Snapshots in planes of bytes: as small as promised, and whole."""

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.measures import DEFAULT_MEASURES, Measure
from streams.core.crowd import slots
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.listed import joined
from streams.core.crowd.packing import from_planes, pack_rows, ranks, to_planes, unpack_rows
from streams.core.crowd.snapshot import restore, to_columns
from streams.stores.snapshots import compress
from tests.oracle.counting import Sighting
from tests.property.test_crowd_against_oracle import EPOCHS, MINUTE, START, ZONES, frames_of, fresh, run, sightings_of

TABLES = (
    "subscriber_planes",
    "used_planes",
    "known_planes",
    "departed_planes",
    "departure_planes",
    "listed_0",
    "times_0",
)


@pytest.mark.parametrize("table", TABLES)
def test_tables_of_another_size_than_the_header_says_are_refused(table: str) -> None:
    sightings = sightings_of([(5 * MINUTE, 1, zone, 0, 0) for zone in (0, 0, 0, 1, 1, 1, 2, 2, 2)])
    crowd, _ = run(frames_of(sightings, START + 46 * MINUTE, random.Random(1), 9), EPOCHS)
    columns = to_columns(crowd)
    assert columns[table]
    with pytest.raises(ValueError, match="bytes of planes"):
        restore(fresh(EPOCHS), {**columns, table: columns[table][:-1]})


def test_lists_that_subscribers_have_more_or_less_of_are_refused() -> None:
    columns, _ = listing()
    name = next(name for name, column in columns.items() if name.startswith("listed_") and column)
    with pytest.raises(ValueError, match=r"snapshot: \d+ keys are listed, subscribers have \d+"):
        restore(fresh(EPOCHS), {**columns, name: columns[name][:-4]})


def test_the_lists_of_an_earlier_release_are_read() -> None:
    """It had the number of each key's subscriber beside it, in the order of the list."""
    columns, crowd = listing()
    assert crowd.population is not None
    for number, parts in enumerate(crowd.population.listed):
        columns[f"who_{number}"] = to_planes(ranks(crowd.population.slots.rows, joined(parts).who))
        columns[f"listed_{number}"] = to_planes(joined(parts).keys)
        del columns[f"times_{number}"]
    again = fresh(EPOCHS)
    restore(again, columns)
    assert again.population is not None
    for before, after in zip(crowd.population.listed, again.population.listed, strict=True):
        np.testing.assert_array_equal(joined(before), joined(after))


def listing() -> tuple[dict[str, bytes], Crowd]:
    """The columns of a crowd in the midst of an hour, and it."""
    rng = random.Random(3)
    ways = [(MINUTE // 10, 1 + n % 9, (n // 60 + n % 2) % ZONES, 0, 0) for n in range(700)]
    crowd, _ = run(frames_of(sightings_of(ways), START + 70 * MINUTE, rng, 9), EPOCHS)
    columns = to_columns(crowd)
    assert crowd.population is not None
    assert sum(len(parts) > 0 for parts in crowd.population.listed) > 1
    return columns, crowd


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 200), st.integers(0, 40), st.integers(0, 1 << 30))
def test_planes_are_the_bytes_transposed(number: int, width: int, seed: int) -> None:
    records = np.random.default_rng(seed).integers(0, 256, (number, width), np.uint8)
    planes = to_planes(records)
    assert planes == records.T.tobytes()
    np.testing.assert_array_equal(from_planes(planes, number, width), records)


def test_what_can_still_matter_comes_back_as_it_was() -> None:
    table = slots.new_slots(64, [96, 16], visited=5, travelled=True, areas=2)
    place = [3, 9, 40, 63]
    table.rows["pseudonym"][place] = [5, 1 << 63, 77, (1 << 64) - 1]
    table.rows["start"][place], table.rows["last"][place] = [95_000, 94_999, 99_999, 5], [99_000, 98_000, 99_999, 6]
    table.rows["before_start"][place], table.rows["left"][place] = [90_000, 80_000, 1, 2], [12, 3, 10, 9]
    table.rows["zone"][place] = [1, 2, 3, slots.NOWHERE]
    table.rows["before"][place] = [2, 1, slots.NOWHERE, slots.BARRED]
    table.rows["stayed"][place] = [slots.NOWHERE, 2, 7, slots.NOWHERE]
    table.rows["flags"][place] = slots.STAY | slots.BEFORE_STAY | slots.BEFORE_BEGUN_BEFORE
    table.used[place] = [[1, 2], [96, 16], [0, 0], [3, 0]]
    table.known[place] = [[8, 0, 0, 0], [0, 0, 0, 0], [9, 14, 20, 24], [65534, 0, 0, 0]]
    table.departed[place] = [[0], [1], [1441], [65535]]
    table.areas[place] = [[0, 1], [600 << 16 | 1, 0], [28_800 << 16 | 2, (1 << 32) - 1], [0, 0]]
    planes, used, known, departed, areas = pack_rows(table, 4, opened=100_000, tail=10, ping_pong=5_000)
    rows = unpack_rows(planes, 4)
    assert rows["pseudonym"].tolist() == [5, 1 << 63, 77, (1 << 64) - 1]
    assert rows["zone"].tolist() == [1, 2, 3, slots.NOWHERE]
    assert rows["stayed"].tolist() == [slots.NOWHERE, 2, 7, slots.NOWHERE]
    assert rows["start"].tolist() == [95_000, 94_999, 99_999, 0], "nobody asks for the start of a presence that is over"
    assert rows["before"].tolist() == [2, slots.NOWHERE, slots.NOWHERE, slots.BARRED], "past and counted"
    assert rows["before_start"].tolist() == [90_000, 0, 0, 0]
    assert rows["left"].tolist() == [12, 0, 10, 0], "departures before the tail are gone"
    assert [bool(flags & slots.BEFORE_STAY) for flags in rows["flags"]] == [True, False, True, True]
    assert [bool(flags & slots.BEFORE_BEGUN_BEFORE) for flags in rows["flags"]] == [True, False, True, True]
    assert from_planes(known, 4, 8).view(np.uint16).tolist() == table.known[place].tolist()
    assert from_planes(departed, 4, 2).view(np.uint16).tolist() == [[0], [1], [1441], [65535]]
    assert from_planes(areas, 4, 8).view(np.uint32).tolist() == table.areas[place].tolist()
    assert np.frombuffer(used, np.uint8).reshape(2, 4).T.tolist() == [[1, 2], [96, 16], [0, 0], [3, 0]]


@pytest.mark.parametrize(("measures", "most"), [(DEFAULT_MEASURES[:-1], 64), (DEFAULT_MEASURES, 78)], ids=["64", "78"])
def test_a_subscriber_takes_at_most_32_bytes_in_redis_and_64_in_memory(
    measures: tuple[Measure, ...], most: int
) -> None:
    """Numbering visits takes 14 more."""
    epochs = [msgspec.structs.replace(epoch, measures=measures) for epoch in EPOCHS]
    rng = random.Random(1)
    people = [rng.getrandbits(63) + 1 for _ in range(20_000)]
    zones = [rng.randrange(5) for _ in people]
    sightings, offsets = [], [0, 0]
    for number in range(120_000):  # every 25 minutes, and every other hour in another zone
        source, who = rng.randint(0, 1), rng.randrange(len(people))
        if rng.random() < 0.2:
            zones[who] = (zones[who] + 1) % 5
        ts = START + number * 150 * MINUTE // 120_000
        sightings.append(Sighting(ts, source, offsets[source], 0, people[who], zones[who], who % 28, 0))
        offsets[source] += 1
    crowd, _ = run(frames_of(sightings, START + 150 * MINUTE, rng, 20_000), epochs)
    population = crowd.population
    assert population is not None
    stored = len(compress(to_columns(crowd))[0])
    assert stored <= 32 * crowd.subscribers
    tables = (*population.slots, population.departures.ring)
    assert sum(table.nbytes for table in tables) <= most * crowd.subscribers
