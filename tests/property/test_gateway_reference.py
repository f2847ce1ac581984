"""The compiled screening and its plain reference give the same for every batch, context and reason."""

from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.attach import AHEAD_MS, pack_cell, pack_imsi
from schemas.plan import Cell
from schemas.policy import Policy
from schemas.registry import PURPOSES, Subscriber
from schemas.rejects import Reason
from streams.core.epochs import EpochTable, make_epoch
from streams.core.events.decode import Events
from streams.core.events.machines import MachineTable
from streams.core.events.records import Records
from streams.core.gateway import gateway, gateway_reference, standing
from streams.core.gateway.gateway import NEVER_MS, Context, screen
from streams.core.gateway.gateway_reference import screen_reference
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import key_state
from streams.core.gateway.registry import RegistryTable, pack
from streams.core.gateway.screening import BLOCK, Tables
from streams.core.gateway.zones import CellTable
from tests.support.world import PLAN, TERMS, epochs_at, salt_of

START = 1_772_420_400_000 + 23 * 3_600_000  # an hour before pseudonyms change
DAY = 86_400_000
LATENESS = 10_000
IMSIS = [f"{prefix}{n:0{digits - len(prefix)}d}" for prefix in ("00101", "00102", "001015", "262", "310", "232")
         for digits in (14, 15) for n in range(3)]  # fmt: skip
PACKED = [pack_imsi(imsi) for imsi in IMSIS]
# The same cells in other zones, fewer of them, and one that the first plan doesn't have.
MOVED = msgspec.structs.replace(
    PLAN,
    cells=(
        *(Cell(cell.cell, f"z{5 - n}") for n, cell in enumerate(PLAN.cells[:6])),
        Cell("001-01-000FFFF", "z1"),
    ),
)
CELLS = [pack_cell(cell.cell) for cell in PLAN.cells] + [pack_cell("001-01-000FFFF")]
CHANGE = START + 3_600_000
# Record times, and an event's time against its record's.
TIMES = [START, START, START + 5_000, CHANGE - 1, CHANGE, CHANGE + LATENESS, START + DAY, START + 2 * DAY]
SHIFTS = [0] * 12 + [-1, 1, -LATENESS, -LATENESS - 1, AHEAD_MS, AHEAD_MS + 1, -DAY]
GOOD = Policy("G", ("001",), "active", "opt_in", ("marketing", "traffic"), 18, False, (), 5, 2.0, 2e-9, ("001-01",))

POLICY = st.builds(
    Policy,
    country=st.just("T"),
    mccs=st.sampled_from([("001",), ("262",), ("310", "232"), ("001", "262")]),
    state=st.sampled_from(["active", "active", "active", "suspended"]),
    basis=st.sampled_from(["opt_in", "opt_out"]),
    purposes=st.sampled_from([("marketing",), ("marketing", "traffic"), ("public",)]),
    minimum_age=st.sampled_from([0, 18, 120]),
    inbound_roamers=st.booleans(),
    excluded_zones=st.sampled_from([(), ("hospital",)]),
    k=st.just(5),
    epsilon=st.just(2.0),
    delta=st.just(2e-9),
    home=st.sampled_from([(), ("001-01",), ("001-01", "262-02"), ("001-015",)]),
)
PERSON = st.fixed_dictionaries(
    {
        "birth_year": st.sampled_from([None, 1899, 1900, 1907, 1950, 2007, 2008, 2009, 2020, 2154]),
        "gender": st.sampled_from([None, "female", "male", "other"]),
        "consent": st.dictionaries(st.sampled_from(PURPOSES), st.sampled_from(["granted", "denied", "pending"])),
        "opted_out": st.sampled_from([False, False, False, True]),
        "machine": st.sampled_from([False, False, False, True]),
    }
)
# More of those who may be counted, so that all the rest is reached.
EVENT = st.tuples(
    st.sampled_from([Reason.OK] * 9 + [Reason.BEAT, Reason.bad_imsi]),
    st.sampled_from([*PACKED, *PACKED[:6] * 5]),
    st.sampled_from(SHIFTS),
    st.sampled_from(CELLS),
    st.integers(0, 4),
    st.sampled_from([0, 0, 1, 2, 3, 100_000_000]),
)
RECORD = st.tuples(st.sampled_from(TIMES), st.lists(EVENT, min_size=1, max_size=4))
RECORDS = st.one_of(st.lists(RECORD, max_size=20), st.lists(RECORD, min_size=6, max_size=20).map(sorted))
SALTS = ["there"] * 20 + ["gone", "missing"]


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    table = EpochTable()
    purpose = draw(st.sampled_from(["marketing"] * 3 + ["traffic"]))
    plans = draw(st.sampled_from([[PLAN], [PLAN, MOVED], [MOVED, PLAN]]))
    for ts in draw(
        st.sampled_from([[START, CHANGE, START + DAY, START + 2 * DAY]] * 4 + [[START], [CHANGE, START], []])
    ):
        if table.find(ts) is None:
            plan = draw(st.sampled_from([*plans, *plans, MOVED])).hash()
            of = draw(st.sampled_from([purpose] * 6 + ["", "public"]))
            table.add(make_epoch(ts, TERMS._replace(plan=plan, purpose=of), table))
    salts = {epoch.epoch: draw(st.sampled_from(SALTS)) for epoch in table.epochs}
    people = RegistryTable()
    usual = {imsi: {"birth_year": 1990, "consent": {"marketing": "granted"}} for imsi in IMSIS[1::2] + IMSIS[::4]}
    known = usual | draw(st.dictionaries(st.sampled_from(IMSIS), PERSON))
    people.take((imsi.encode(), msgspec.json.encode({"imsi": imsi, **person})) for imsi, person in known.items())
    return Context(
        table,
        {epoch: key_state(salt_of(epoch)) for epoch, state in salts.items() if state == "there"},
        PolicyTable([GOOD, *draw(st.lists(POLICY, max_size=3))], purpose),
        people,
        CellTable(plans, draw(st.sampled_from([(), ("hospital",)]))),
        draw(st.sampled_from([1, 2, 4, 64, 257])),
        draw(st.sampled_from([0, LATENESS, LATENESS, DAY])),
        {epoch for epoch, state in salts.items() if state == "gone"},
        MachineTable(draw(st.sampled_from([(), (), (2,), (1, 3, 100_000_000)]))),
    )


def batch_of(records: list[tuple[int, list[tuple[Any, ...]]]], first_offset: int) -> tuple[Records, Events]:
    times = [time for time, _ in records]
    rows = [
        (number, index, status, imsi, time + shift, cell, kind, tac)
        for number, (time, events) in enumerate(records)
        for index, (status, imsi, shift, cell, kind, tac) in enumerate(events)
    ]
    columns = list(zip(*rows, strict=True)) or [()] * 8
    types = (np.int32, np.uint32, np.uint8, np.uint64, np.int64, np.uint64, np.uint8, np.uint32)
    record, index, status, imsi, ts, cell, kind, tac = (np.array(c, t) for c, t in zip(columns, types, strict=True))
    empty = np.zeros(len(rows), np.int64)
    place = np.zeros(len(records), np.int64)
    offsets = first_offset + 2 * np.arange(len(records))
    return (
        Records(offsets, np.array(times, np.int64), place, place, np.empty(0, np.uint8)),
        Events(record, index, status, imsi, ts, cell, kind, np.zeros(len(rows), np.uint8), tac, empty, empty),
    )


@settings(max_examples=400, deadline=None)
@given(
    contexts(),
    RECORDS,
    st.sampled_from([1, 1, 3, BLOCK // 4]),
    st.sampled_from([NEVER_MS, NEVER_MS, START, START + DAY]),
)
def test_any_batch_is_screened_alike(context: Context, records: Any, times: int, running_max: int) -> None:
    raw, events = batch_of(records * times, 5)
    fast, plain = screen(raw, events, running_max, context), screen_reference(raw, events, running_max, context)
    assert fast.needs_epoch == plain.needs_epoch
    if plain.needs_epoch is not None:
        return
    for name, one, other in zip(fast._fields, fast, plain, strict=True):
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype, name
            np.testing.assert_array_equal(one, other, err_msg=name)
    for one, other in zip(fast.rejected, plain.rejected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert (fast.dropped, fast.running_max) == (plain.dropped, plain.running_max)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PACKED), PERSON)), st.lists(POLICY, max_size=3), st.integers(1999, 2160))
def test_who_may_be_used_is_decided_alike(people: list[Any], policies: list[Policy], year: int) -> None:
    imsi = np.array([packed for packed, _ in people], np.uint64)
    bits = np.array([pack(msgspec.convert({"imsi": "", **p}, Subscriber)) for _, p in people], np.uint32)
    table = PolicyTable(policies, "marketing")
    expected = gateway_reference.refusals(imsi, bits, gateway_reference.ages_in(bits, year), table)
    assert standing.refusals(imsi, bits, year, table).tolist() == expected.tolist()


def test_no_copy_of_a_key_state_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    # A destroyed salt is wiped in the context; it must not be read from memory elsewhere.
    seen: list[Tables] = []

    def spy(batch: Any, rules: Any, tables: Tables, *rest: Any) -> Any:
        assert tables.states.any()
        seen.append(tables)
        return screen_rows(batch, rules, tables, *rest)

    screen_rows = gateway.screen_rows
    monkeypatch.setattr(gateway, "screen_rows", spy)
    epochs = epochs_at(START)
    context = Context(
        EpochTable(epochs),
        {epochs[0].epoch: key_state(salt_of(1))},
        PolicyTable([], "marketing"),
        RegistryTable(),
        CellTable(PLAN),
        1,
        0,
    )
    screen(*batch_of([(START, [(Reason.OK, PACKED[0], 0, CELLS[0], 0, 0)])], 0), NEVER_MS, context)
    assert not seen[0].states.any()
