"""Snapshots in planes of bytes: as small as promised, and whole."""

import random

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.attach import DETACH
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.sightings import OPT_IN, OPT_OUT
from streams.core.crowd import slots
from streams.core.crowd.crowd import Crowd
from streams.core.crowd.departures import DEPARTURE, HEAD, TAIL, Departures, of_records
from streams.core.crowd.listed import Listed, joined
from streams.core.crowd.packing import by_owner, numbers_of, pack, unpack
from streams.core.crowd.planes import from_planes, to_planes
from streams.core.crowd.snapshot import Header, restore, to_columns
from streams.stores.snapshots import compress
from tests.oracle.counting import Sighting
from tests.property.test_crowd_against_oracle import EPOCHS, MINUTE, START, ZONES, frames_of, fresh, run, sightings_of
from tests.support.departures import in_order

TABLES = (
    "subscriber_planes",
    "used_planes",
    "known_planes",
    "departed_planes",
    "chain_lengths",
    "chain_planes",
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


@pytest.mark.parametrize("owners", ["times", "who"])
def test_the_snapshots_of_earlier_releases_are_read(owners: str) -> None:
    """They had departures as they lay in the ring, rows in the order of the table; and each key's subscriber beside it,
    in the order of the list, or later how many keys each has."""
    columns, crowd = listing()
    population = crowd.population
    assert population is not None
    table, span = population.slots, population.departures.span
    places = np.flatnonzero(table.rows["pseudonym"])
    rows = table.rows[places]
    rows["pseudonym"] *= slots.FACTOR
    rows["stayed"] ^= rows["zone"]
    columns["subscriber_planes"] = to_planes(rows)
    columns |= {
        f"{name}_planes": to_planes(column[places])
        for name, column in zip(("used", "known", "departed", "areas"), table[1:], strict=True)
    }
    del columns["chain_lengths"], columns["chain_planes"]
    columns["departure_planes"] = to_planes(in_order(population.departures))
    header = msgspec.msgpack.decode(columns["header"], type=Header)
    header = msgspec.structs.replace(header, span=tuple(span.tolist()))
    columns["header"] = msgspec.msgpack.encode(header)
    for number, parts in enumerate(population.listed):
        listed = joined(parts)
        who = numbers_of(places, len(table.rows))[listed.who]
        keys, times = by_owner(listed.keys, who, len(places))
        if owners == "who":
            keys, columns[f"who_{number}"] = listed.keys, to_planes(who)
            del columns[f"times_{number}"]
        else:
            columns[f"times_{number}"] = to_planes(times)
        columns[f"listed_{number}"] = to_planes(keys)
    again = fresh(EPOCHS)
    restore(again, columns)
    assert again.population is not None
    assert people(again) == people(crowd)
    for before, after in zip(population.listed, again.population.listed, strict=True):
        assert sorted(names(before, table.rows)) == sorted(names(after, again.population.slots.rows))


def names(parts: list[Listed], rows: NDArray[np.void]) -> list[tuple[int, int]]:
    """The keys of a list, and the pseudonyms of whose they are."""
    listed = joined(parts)
    return list(zip(listed.keys.tolist(), rows["pseudonym"][listed.who].tolist(), strict=True))


def people(crowd: Crowd) -> dict[int, tuple[object, ...]]:
    """All that is known of each subscriber, by pseudonym, with the departures newest first; but for what no sighting
    can ask for any more."""
    population = crowd.population
    assert population is not None
    opened, ping_pong = int(population.tally.opened[0]), population.rules.ping_pong
    table = population.slots
    return {
        int(row["pseudonym"]): (
            remembered(row, opened, ping_pong),
            chain(row, population.departures),
            *(column[at].tolist() for column in table[1:]),
        )
        for at, row in enumerate(table.rows)
        if row["pseudonym"] != 0
    }


def remembered(row: np.void, opened: int, ping_pong: int) -> dict[str, int]:
    known = {name: int(row[name]) for name in slots.ROW.names or () if name not in ("pseudonym", "left")}
    if known["before"] != slots.BARRED and known["start"] + ping_pong < opened:
        known["before"] = slots.NOWHERE
        known["flags"] &= ~(slots.BEFORE_STAY | slots.BEFORE_BEGUN_BEFORE)
    if known["before"] >= slots.BARRED:
        known["before_start"] = 0
    if known["zone"] == slots.NOWHERE:
        known |= {"start": 0, "last": 0, "cohort": 0}
    return known


def chain(row: np.void, departures: Departures) -> list[tuple[int, ...]]:
    ring, span = departures
    found, number = [], int(row["left"])
    while number >= span[TAIL]:
        gone = ring[number % len(ring)]
        assert number < span[HEAD]
        assert int(gone["older"]) < number, "older ones have smaller numbers"
        found.append(tuple(int(gone[name]) for name in ("end", "zone", "cohort", "live")))
        number = int(gone["older"])
    return found


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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 120), st.integers(1, 6))
def test_what_can_still_matter_comes_back_as_it_was(seed: int, minutes: int, people_: int) -> None:
    rng = random.Random(seed)
    ways = []
    for _ in range(40 * people_):
        kind = rng.choices([0, 1, DETACH, OPT_OUT, OPT_IN], [20, 10, 2, 1, 1])[0]
        gap = rng.choice([0, 0, 1_000, 20_000, MINUTE, 5 * MINUTE])
        ways.append((gap, 1 + rng.randrange(people_), rng.randrange(ZONES), rng.randrange(3), kind))
    sightings = sightings_of(ways)
    crowd, _ = run(frames_of(sightings, START + minutes * MINUTE, rng, 9), EPOCHS)
    if crowd.population is None:
        return
    again = fresh(EPOCHS)
    restore(again, to_columns(crowd))
    assert again.population is not None
    assert people(again) == people(crowd)
    ends = again.population.departures.ring["end"][1 : int(again.population.departures.span[HEAD])]
    assert (np.diff(ends) > -(3 * 60 * MINUTE >> 16)).all(), "what ended first is forgotten first, to 16 bits"
    np.testing.assert_array_equal(again.population.running.counts, crowd.population.running.counts)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(0, 60))
def test_rows_and_departures_as_no_crowd_would_have_them_come_back_too(seed: int, number: int) -> None:
    """Any values in any field, as far as times go forward: zones at the upper end, departures of other zones than the
    one before, ends that fall together."""
    rng = random.Random(seed)
    some = (0, 1, 2, 0xFF, 0xFF00, 0xFFFD)
    table = slots.new_slots(256, [96])
    rows = table.rows
    places = rng.sample(range(256), number)
    tail = rng.randrange(1, 400)
    records, chains = np.zeros(4 * number, DEPARTURE), dict[int, list[int]]()
    for at in places:
        start = rng.choice([0, 1, 3_600_000, slots.LONGEST_EPOCH_MS - 1])
        zone = rng.choice((*some, slots.NOWHERE))
        before = slots.NOWHERE if zone == slots.NOWHERE else rng.choice((*some, slots.NOWHERE))
        bucket, began = rng.randrange(8), rng.choice([0, start // 2, start])
        rows[at] = (
            *(rng.getrandbits(64) or 1, start, start + rng.choice([0, 7]), began << slots.OF_START | bucket),
            *(0, zone, before, rng.choice((*some, slots.NOWHERE)), rng.randrange(28), rng.randrange(256)),
        )
        chains[at] = []
    for place in range(len(records)):
        at = rng.choice(places)
        end = rng.choice([0, 5, int(rows[at]["start"]), slots.LONGEST_EPOCH_MS])
        if chains[at]:
            end = max(end, int(records[chains[at][-1]]["end"]))
        older = chains[at][-1] + tail if chains[at] else rng.randrange(tail)
        records[place] = (end, older, rng.choice(some), rng.randrange(28), rng.randrange(2))
        chains[at].append(place)
        rows[at]["left"] = place + tail
    departures = of_records(records, np.array([tail, tail + len(records)]), len(records) + 64)
    packed = pack(rows, departures, opened=0, ping_pong=0)
    assert rows["pseudonym"][packed.places].tolist() == sorted(
        rows["pseudonym"][places].tolist(), key=lambda pseudonym: pseudonym * int(slots.FACTOR) % (1 << 64)
    )
    planes = (to_planes(column) for column in (packed.rows, packed.times, packed.departures))
    again, gone = unpack(number, *planes)
    for row, back in zip(rows[packed.places], again, strict=True):
        assert back["pseudonym"] == row["pseudonym"]
        assert remembered(back, 0, 0) == remembered(row, 0, 0)
        assert chain(back, gone) == chain(row, departures)


def test_departures_that_nobody_has_any_more_are_left_out() -> None:
    """A ping-pong annuls what was left in between; a newer departure replaces one from the same zone."""
    way = [(MINUTE, 0), (MINUTE, 1), (MINUTE // 2, 0), *((6 * MINUTE, zone) for zone in (1, 0, 1, 0))]
    to_and_fro = [(step, 1, zone, 0, 0) for step, zone in way]
    crowd, _ = run(frames_of(sightings_of(to_and_fro), START + 28 * MINUTE, random.Random(1), 9), EPOCHS)
    assert crowd.population is not None
    span = crowd.population.departures.span
    assert span[HEAD] - span[TAIL] == 5
    again = fresh(EPOCHS)
    restore(again, to_columns(crowd))
    assert again.population is not None
    assert again.population.departures.span.tolist() == [1, 3], "one from each zone"


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
