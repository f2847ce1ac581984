"""Epochs: local days from the change hour, where clocks change too."""

from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.epochs import EpochTable, epoch_bounds, make_epoch
from streams.errors import ThrongError
from tests.support.world import TERMS, epochs_at

HOUR = 3_600_000


def at(text: str, zone: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("time", "zone", "number", "hours"),
    [
        ("2026-03-02T12:00", "Europe/Berlin", 20260302, 24),
        ("2026-03-02T03:59:59", "Europe/Berlin", 20260301, 24),
        ("2026-03-02T04:00", "Europe/Berlin", 20260302, 24),
        # Clocks go forward at 02:00 on 29 March and back at 03:00 on 25 October: inside the day that began before.
        ("2026-03-28T20:00", "Europe/Berlin", 20260328, 23),
        ("2026-10-24T20:00", "Europe/Berlin", 20261024, 25),
        ("2026-03-29T20:00", "Europe/Berlin", 20260329, 24),
        # Half an hour of summer time only.
        ("2026-10-03T20:00", "Australia/Lord_Howe", 20261003, 23.5),
        ("2026-07-01T12:00", "Asia/Kathmandu", 20260701, 24),
    ],
)
def test_an_epoch_is_a_local_day_from_four(time: str, zone: str, number: int, hours: float) -> None:
    ts = at(time, zone)
    bounds = epoch_bounds(ts, zone)
    assert bounds.epoch == number
    assert bounds.start_ms <= ts < bounds.end_ms
    assert bounds.end_ms - bounds.start_ms == hours * HOUR
    for edge in (bounds.start_ms, bounds.end_ms):
        assert datetime.fromtimestamp(edge / 1000, ZoneInfo(zone)).strftime("%H:%M") == "04:00"


@pytest.mark.parametrize(("day", "change"), [("2026-03-29T12:00", 2), ("2026-10-25T12:00", 2)])
def test_a_change_hour_that_is_missing_or_twice(day: str, change: int) -> None:
    bounds = epoch_bounds(at(day, "Europe/Berlin"), "Europe/Berlin", change)
    before = epoch_bounds(bounds.start_ms - 1, "Europe/Berlin", change)
    assert before.end_ms == bounds.start_ms
    assert datetime.fromtimestamp(bounds.start_ms / 1000, ZoneInfo("Europe/Berlin")).hour in (2, 3)


@given(
    st.integers(0, 4_000_000_000_000),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Pacific/Apia", "Africa/Cairo", "Asia/Tehran", "UTC"]),
    st.integers(0, 23),
)
def test_epochs_cover_all_time_without_overlap(ts: int, zone: str, change: int) -> None:
    bounds = epoch_bounds(ts, zone, change)
    assert bounds.start_ms <= ts < bounds.end_ms
    assert epoch_bounds(bounds.end_ms - 1, zone, change) == bounds
    after = epoch_bounds(bounds.end_ms, zone, change)
    assert after.start_ms == bounds.end_ms
    assert after.epoch > bounds.epoch


def test_an_unknown_time_zone_is_told() -> None:
    with pytest.raises(ThrongError, match="unknown time zone 'Europe/Atlantis': use an IANA name"):
        epoch_bounds(0, "Europe/Atlantis")


def test_the_first_record_of_an_epoch_wins() -> None:
    first = make_epoch(at("2026-03-02T09:30", "Europe/Berlin"), TERMS, EpochTable())
    second = make_epoch(at("2026-03-02T11:30", "Europe/Berlin"), TERMS, EpochTable())
    table = EpochTable()
    assert table.add(first)
    assert not table.add(second)
    assert table.epochs == [first]
    assert datetime.fromtimestamp(first.opens_ms / 1000, ZoneInfo("Europe/Berlin")).strftime("%H:%M") == "09:00"


def test_a_day_that_ends_as_a_deployment_opens_is_none_of_its_epochs() -> None:
    """Gateways raced for the first epoch right after the change hour: one had an event of the night."""
    morning = at("2026-03-02T04:10", "Europe/Berlin")
    first, before = make_epoch(morning, TERMS, EpochTable()), make_epoch(morning - 3_600_000, TERMS, EpochTable())
    assert first.opens_ms == first.start_ms == before.end_ms
    table = EpochTable([first])
    assert not table.add(before) and table.epochs == [first]


def test_a_part_that_is_cut_off_opens_no_sooner_than_the_day_did() -> None:
    first = make_epoch(at("2026-03-02T12:00", "Europe/Berlin"), TERMS, EpochTable())
    table = EpochTable([first])
    table.cut(first.opens_ms - 3_600_000)
    assert [part.opens_ms for part in table.epochs] == [first.opens_ms, first.opens_ms]


def test_times_find_their_epochs() -> None:
    noon, next_noon = at("2026-03-28T12:00", "Europe/Berlin"), at("2026-03-29T12:00", "Europe/Berlin")
    epochs = epochs_at(noon, next_noon)
    table = EpochTable(epochs)
    times = np.array([noon, next_noon, epochs[-1].end_ms, epochs[0].start_ms - 1], np.int64)
    assert [int(index) for index in table.find_index(times)][2:] == [-1, -1]
    for ts, index in zip(times[:2].tolist(), table.find_index(times[:2]).tolist(), strict=True):
        found = table.find(ts)
        assert found is not None and table.epochs[index] == found
    assert EpochTable().find_index(times).tolist() == [-1, -1, -1, -1]


def test_a_later_change_hour_makes_no_gap() -> None:
    table = EpochTable(epochs_at(at("2026-03-02T12:00", "Europe/Berlin")))
    later = TERMS._replace(change_hour=6)
    night = at("2026-03-03T05:00", "Europe/Berlin")
    following = make_epoch(night, later, table)
    assert following.start_ms == table.epochs[0].end_ms
    assert following.start_ms <= night < following.end_ms
    assert following.epoch != table.epochs[0].epoch
    assert table.add(following)


def test_the_rest_of_an_epoch_gets_a_part_of_its_own_for_those_who_resolve_salts() -> None:
    today, tomorrow = epochs_at(1_772_449_200_000, 1_772_449_200_000 + 86_400_000)
    table = EpochTable([today, tomorrow])
    noon = today.start_ms + 8 * 3_600_000
    for _ in range(2):  # said twice is done once
        table.cut(noon)
    table.cut(noon + 3_600_000)
    table.cut(noon + 7_200_000)
    table.cut(noon + 10_800_000)  # no number is left for it
    table.cut(tomorrow.end_ms)
    parts = [(part.epoch, part.start_ms - today.start_ms, part.salt) for part in table.epochs]
    hours = [0, 8, 9, 24]
    numbers = [20260302, 20260334, 20260366, 20260303]
    assert parts == [(n, h * 3_600_000, str(n)) for n, h in zip(numbers, hours, strict=True)]
    assert [part.end_ms for part in table.epochs[:-1]] == [part.start_ms for part in table.epochs[1:]]
    assert table.find_index(np.array([noon - 1, noon])).tolist() == [0, 1]
    assert set(table.years.tolist()) == {2026}
    assert not table.add(today)
