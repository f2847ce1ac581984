"""Registry records as rows of sightings."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.attach import pack_imsi
from schemas.registry import BEAT_KEY
from schemas.sightings import OPT_IN, OPT_OUT
from streams.core.gateway.consents import JUST_BEFORE_MS, Barred, RegistryRecord, announce
from streams.core.gateway.gateway import NEVER_MS
from streams.core.gateway.pseudonyms import pseudonym
from streams.core.gateway.registry import RegistryTable, read
from tests.support.world import context_of, epochs_at, salt_of

HOUR = 3_600_000
NOON = 1_772_449_200_000
TODAY, TOMORROW = epochs_at(NOON, NOON + 24 * HOUR)
IMSI = "001010000000001"
GOOD = {"imsi": IMSI, "birth_year": 1980, "consent": {"marketing": "granted"}}


def record(offset: int, at_ms: int, value: object = GOOD, key: str = IMSI) -> RegistryRecord:
    encoded = value if value is None or isinstance(value, bytes) else msgspec.json.encode(value)
    return RegistryRecord(offset, at_ms, key.encode(), encoded)


def rows_of(
    records: list[RegistryRecord], epochs=(TODAY, TOMORROW), live: bool = False, barred: Barred | None = None
) -> list[tuple]:
    screened = announce(records, NEVER_MS, context_of(list(epochs), {}), live=live, barred=barred)
    columns = (screened.pseudonym, screened.ts, screened.offset, screened.index, screened.kind)
    return sorted(zip(*(column.tolist() for column in columns), strict=True), key=lambda row: row[2:4])


def test_a_record_is_a_row_under_the_pseudonym_of_every_epoch_that_is_known_and_not_over() -> None:
    names = [pseudonym(IMSI.encode(), salt_of(epoch.epoch)) for epoch in (TODAY, TOMORROW)]
    assert rows_of([record(7, NOON + 5, GOOD | {"opted_out": True})]) == [
        (names[0], NOON + 5, 7, 0, OPT_OUT),
        (names[1], TOMORROW.start_ms, 7, 1, OPT_OUT),
    ]
    assert rows_of([record(7, TOMORROW.start_ms)]) == [(names[1], TOMORROW.start_ms, 7, 1, OPT_IN)]
    assert rows_of([record(7, NOON)], (TODAY,)) == [(names[0], NOON, 7, 0, OPT_IN)]
    assert rows_of([record(7, TOMORROW.end_ms)]) == []


def test_who_comes_of_age_in_a_year_is_in_from_its_first_epoch_on() -> None:
    """Ages are counted to the year of the epoch's number, whatever the record's time is by then."""
    new_year = 1_798_761_600_000  # 2027-01-01T00:00:00Z, in the epoch of the day before
    old, new = epochs_at(new_year, new_year + 12 * HOUR)
    assert (old.epoch, new.epoch) == (20261231, 20270101)
    rows = rows_of([record(7, new_year, GOOD | {"birth_year": 2009})], (old, new))
    assert [row[4] for row in rows] == [OPT_OUT, OPT_IN]


@pytest.mark.parametrize("kind", [OPT_OUT, OPT_IN])
def test_a_load_of_the_registry_in_the_night_does_not_tell_who_is_who_the_day_after(kind: int) -> None:
    """Who reads `sightings` sees which rows are of one record: two pseudonyms of one are one person's."""
    said = GOOD | {"opted_out": kind == OPT_OUT}
    today, tomorrow = (pseudonym(IMSI.encode(), salt_of(epoch.epoch)) for epoch in (TODAY, TOMORROW))

    def names(at_ms: int, live: bool) -> list[tuple[int, int, int]]:
        return [(row[0], row[1], row[4]) for row in rows_of([record(7, at_ms, said)], live=live)]

    half_past_three, late = TODAY.end_ms - HOUR // 2, TODAY.end_ms - JUST_BEFORE_MS
    assert names(half_past_three, live=True) == [(today, half_past_three, kind)]
    assert names(late - 1, live=True) == [(today, late - 1, kind)]
    # Of later ones a gateway may not know when the next epoch's first events come. Only who is out today, and not there
    # tomorrow, has a row under both: an opt-in waits for the next epoch.
    both = [(today, late, kind), (tomorrow, TOMORROW.start_ms, kind)]
    assert names(late, live=True) == (both if kind == OPT_OUT else both[1:])
    assert names(TODAY.end_ms - 1, live=True)[-1:] == both[1:]
    assert rows_of([record(7, late, said)], (TODAY,), live=True) == [(today, late, 7, 0, kind)]
    assert names(TODAY.end_ms, live=True) == [(tomorrow, TODAY.end_ms, kind)]
    # In a replay gateways know of all records from the first event on: the rows tell what held when.
    assert names(half_past_three, live=False) == [(today, half_past_three, kind), (tomorrow, TOMORROW.start_ms, kind)]


def test_who_goes_and_comes_back_in_the_last_minutes_is_back_in_the_next_epoch() -> None:
    gone, back = TODAY.end_ms - 2000, TODAY.end_ms - 1000
    today, tomorrow = (pseudonym(IMSI.encode(), salt_of(epoch.epoch)) for epoch in (TODAY, TOMORROW))
    assert rows_of([record(7, gone, GOOD | {"opted_out": True}), record(8, back)], live=True) == [
        (today, gone, 7, 0, OPT_OUT),
        (tomorrow, TOMORROW.start_ms, 7, 1, OPT_OUT),
        (tomorrow, TOMORROW.start_ms, 8, 1, OPT_IN),
    ]


PEOPLE = [f"00101{n:010d}" for n in range(40)]


def loaded(at_ms: int, out: int = 0) -> list[RegistryRecord]:
    """A whole registry, of which the first so many are out."""
    return [record(n, at_ms + n, GOOD | {"imsi": imsi, "opted_out": n < out}, imsi) for n, imsi in enumerate(PEOPLE)]


def test_a_load_of_every_night_has_no_row_of_anybody_who_was_never_out() -> None:
    """In one order each night, the n-th row of a night would be of the same person as that of the next."""
    barred = Barred(TODAY.start_ms - JUST_BEFORE_MS - 1)
    rows = [rows_of(loaded(NOON + hour * HOUR, out), live=True, barred=barred) for hour, out in enumerate((3, 0, 0))]
    assert [len(each) for each in rows] == [3, 3, 3] and {row[4] for row in rows[0]} == {OPT_OUT}
    assert {row[0] for row in rows[1]} == {row[0] for row in rows[0]} and {row[4] for row in rows[1]} == {OPT_IN}
    assert rows_of(loaded(NOON + 24 * HOUR), live=True, barred=barred) == [], "an epoch begins with nobody out"


def test_of_an_epoch_of_which_others_sent_rows_every_opt_in_has_one() -> None:
    barred = Barred(TODAY.start_ms - JUST_BEFORE_MS)
    assert len(rows_of(loaded(NOON), live=True, barred=barred)) == len(PEOPLE)
    assert rows_of(loaded(NOON + 24 * HOUR), live=True, barred=barred) == []


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 200_000)), max_size=12), st.integers(1, 5))
def test_who_is_out_after_each_record_is_the_same_without_the_rows_that_change_nothing(said, at_once: int) -> None:
    """Around the change of epochs, in stretches of any length."""
    times = np.cumsum([TODAY.end_ms - 2 * JUST_BEFORE_MS, *(after for _, _, after in said)])[1:].tolist()
    records = [
        record(n, at_ms, GOOD | {"imsi": PEOPLE[who], "opted_out": out}, PEOPLE[who])
        for n, ((who, out, _), at_ms) in enumerate(zip(said, times, strict=True))
    ]

    def out_after(barred: Barred | None) -> list[set[int]]:
        rows: list[tuple] = []
        for begin in range(0, len(records), at_once):
            rows += rows_of(records[begin : begin + at_once], live=True, barred=barred)
        found, out = [], set[int]()
        for number in range(len(records)):
            for who, _, _, _, kind in (row for row in rows if row[2] == number):
                out = out | {who} if kind == OPT_OUT else out - {who}
            found.append(out)
        return found

    assert out_after(Barred(NEVER_MS)) == out_after(None)


def test_rows_stand_by_target_in_the_order_of_the_log() -> None:
    records = [record(n, NOON + n, GOOD | {"imsi": imsi}, imsi) for n, imsi in enumerate(PEOPLE * 2)]
    context = context_of([TODAY, TOMORROW], {})
    screened = announce(records, NEVER_MS, context)
    assert len(screened.ts) == 160
    for target in range(context.partitions):
        part = slice(int(screened.starts[target]), int(screened.starts[target + 1]))
        assert set((screened.pseudonym[part] >> np.uint64(32)) * np.uint64(4) >> np.uint64(32)) == {target}
        places = list(zip(screened.offset[part].tolist(), screened.index[part].tolist(), strict=True))
        assert places == sorted(places) and places


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (GOOD, OPT_IN),
        (None, OPT_OUT),
        (b"{", OPT_OUT),
        (GOOD | {"imsi": "001010000000002"}, OPT_OUT),
        (GOOD | {"opted_out": True}, OPT_OUT),
        (GOOD | {"machine": True}, OPT_OUT),
        (GOOD | {"machine": False}, OPT_IN),
        (GOOD | {"consent": {"marketing": "revoked"}}, OPT_OUT),
        (GOOD | {"consent": {"traffic": "granted"}}, OPT_OUT),
        (GOOD | {"birth_year": TODAY.epoch // 10_000 - 17}, OPT_OUT),
        (GOOD | {"birth_year": TODAY.epoch // 10_000 - 18}, OPT_IN),
    ],
)
def test_it_says_out_unless_the_subscriber_may_be_used(value: object, kind: int) -> None:
    assert [row[4] for row in rows_of([record(0, NOON, value)], (TODAY,))] == [kind]


@pytest.mark.parametrize("key", [f'"{IMSI}"', f"imsi-{IMSI}", ""])
def test_a_record_under_a_wrong_key_takes_out_whom_it_names(key: str) -> None:
    """It may be an opt-out; whether it is, a record under the right key says."""
    name = pseudonym(IMSI.encode(), salt_of(TODAY.epoch))
    for value in (GOOD, GOOD | {"opted_out": True}):
        assert rows_of([record(7, NOON + 5, value, key)], (TODAY,)) == [(name, NOON + 5, 7, 0, OPT_OUT)]


def test_what_was_before_the_first_epoch_opened_needs_no_row_but_counts_as_read() -> None:
    records = [
        record(0, TODAY.opens_ms - 1),
        RegistryRecord(1, NOON + 9, BEAT_KEY, b"{}"),
        record(2, NOON, b"{", key="x"),
    ]
    screened = announce(records, NOON, context_of([TODAY], {}))
    assert (len(screened.ts), screened.running_max, screened.needs_epoch) == (0, NOON + 9, None)
    assert screened.starts.tolist() == [0] * 5
    assert announce([], NOON, context_of([], {})).running_max == NOON


def test_a_salt_that_is_not_loaded_is_asked_for_and_one_that_is_gone_left_out() -> None:
    context = context_of([TODAY, TOMORROW], {})
    context.salts.pop(TOMORROW.epoch)  # type: ignore[attr-defined]
    assert announce([record(0, NOON)], NEVER_MS, context).needs_epoch == TOMORROW.start_ms
    assert announce([record(0, NOON)], NEVER_MS, context, live=True).needs_epoch is None
    object.__setattr__(context, "gone", {TOMORROW.epoch})
    assert len(announce([record(0, NOON)], NEVER_MS, context).ts) == 1


def test_the_registry_takes_no_notice_of_beats() -> None:
    table = RegistryTable()
    table.take([(BEAT_KEY, b'{"kind":"beat"}'), (IMSI.encode(), msgspec.json.encode(GOOD))])
    assert (table.subscribers, table.unreadable) == (1, 0)


@pytest.mark.parametrize(
    "value",
    [
        b'{"imsi":"%s","more":' % IMSI.encode() + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"imsi":"\xfc"}',
        b'{"imsi":"%s","consent":{"f\xfcr alles":"granted"}}' % IMSI.encode(),
    ],
    ids=["nested deep", "no UTF-8 in the IMSI", "none in a purpose"],
)
def test_a_record_that_no_decoder_takes_is_unreadable_whatever_the_decoder_raises(value: bytes) -> None:
    """It ended all gateways, and again at each start: the registry keeps it."""
    table = RegistryTable()
    table.take([(IMSI.encode(), msgspec.json.encode(GOOD)), (IMSI.encode(), value)])
    assert (table.subscribers, table.unreadable) == (1, 1) and not table.get(np.array([pack_imsi(IMSI)], np.uint64))[0]
    assert read(b'"%s"' % IMSI.encode(), value)[1] is None
