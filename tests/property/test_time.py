"""Time behaves: gateway and crowd in one (`core.inline`) against the oracle, where epochs and clocks change.

A small network's day is drawn at random, in the order of record time, with late, repeated and wrong-clock events; its
panes must be the oracle's whatever happens to the clock on the wall.
"""

import random
from collections import Counter
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import orjson
import pytest

from schemas.epochs import Epoch
from schemas.panes import pairs
from streams.core.epochs import EpochTable, make_epoch
from streams.core.gateway.gateway import Context
from streams.core.gateway.pseudonyms import key_state
from streams.core.inline import Inline
from tests.oracle.counting import count
from tests.oracle.gate import screen
from tests.support.raw import records_of
from tests.support.world import ORACLE_POLICY, PLAN, TERMS, context_of, salt_of

HOUR = 3_600_000
MINUTE = 60_000
BERLIN = ZoneInfo("Europe/Berlin")
PEOPLE = {
    f"00101{n:010d}": {
        "imsi": f"00101{n:010d}",
        "birth_year": 1980,
        "opted_out": False,
        "gender": "female",
        "consent": {"marketing": "granted"},
    }
    for n in range(40)
}
SOURCES = 2


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp() * 1000)


def day(start_ms: int, hours: float, seed: int, gap: tuple[int, int] | None = None) -> list[list[tuple[int, bytes]]]:
    """Records (record time, value) of each source; none in the span `gap`, as when the network was down."""
    rng = random.Random(seed)
    records: list[list[tuple[int, bytes]]] = [[], []]
    now, number = start_ms, 0
    while now < start_ms + hours * HOUR:
        now += rng.choice([1, 500, 4_000, 15_000])
        if gap and gap[0] <= now < gap[1]:
            now = gap[1]
        for source in range(SOURCES):
            who = rng.randrange(len(PEOPLE))
            ts = now - rng.choice([0, 0, 0, 40, 3_000, 9_999, 10_000, 10_001, 200_000, -59_000, -61_000])
            cell = f"001-01-000{(who + (now // (20 * MINUTE)) * (who % 3)) % 12:04X}"
            event = {"event_id": str(number), "imsi": f"00101{who:010d}", "ts": ts, "cell": cell}
            event |= {"kind": rng.choice(["update", "handover", "detach", "attach", "service"])}
            records[source].append((now, orjson.dumps(event)))
            number += 1
    return records


def inline_and_oracle(records: list[list[tuple[int, bytes]]], chunk: int) -> tuple[dict, dict, list[Epoch]]:
    """Panes by (epoch, measure, number), as the core and as the oracle count them."""
    table = EpochTable()
    base = context_of([], PEOPLE)
    salts: dict[int, np.ndarray] = {}
    parts = (table, salts, base.policies, base.registry, base.cells, TERMS.partitions, 10_000)
    context = Context(*parts)

    def provide(ts_ms: int) -> Epoch:
        epoch = table.find(ts_ms) or make_epoch(ts_ms, TERMS, table)
        table.add(epoch)
        salts[epoch.epoch] = key_state(salt_of(epoch.epoch))
        return epoch

    inline = Inline(context, provide, np.array(PLAN.zone_parents(), np.uint16), SOURCES, 1 << 20)
    panes = []
    for first in range(0, max(map(len, records)), chunk):
        for source in range(SOURCES):
            rows = records[source][first : first + chunk]
            if rows:
                inline.take(source, records_of([value for _, value in rows], [time for time, _ in rows]))
        panes += inline.count()
    found: dict = {}
    for pane in panes:
        for name, counts in pane.counts.items():
            keys, values = pairs(counts)
            key = (pane.epoch, name, pane.number)
            found[key] = found.get(key, Counter()) + Counter(dict(zip(keys.tolist(), values.tolist(), strict=True)))
    log = [(s, o, time, value) for s in range(SOURCES) for o, (time, value) in enumerate(records[s])]
    builtins = [msgspec.to_builtins(epoch) for epoch in table.epochs]
    gate = screen(log, PEOPLE, ORACLE_POLICY, msgspec.to_builtins(PLAN), builtins, 10_000)
    result = count(gate.sightings, builtins, PLAN.zone_parents(), gate.until)
    assert sum(inline.rejects.values()) == len(gate.rejects) > 0
    return found, {name: +counts for name, counts in result.panes.items()}, table.epochs


@pytest.mark.parametrize("chunk", [7, 400])
@pytest.mark.parametrize(
    ("start", "hours", "lengths"),
    [
        ("2026-03-02T01:30", 5, [24, 24]),
        ("2026-03-28T23:10", 7, [23, 24]),  # 02:00 becomes 03:00
        ("2026-10-24T23:10", 8, [25, 24]),  # 03:00 becomes 02:00
    ],
    ids=["an epoch change", "clocks go forward", "clocks go back"],
)
def test_counts_over_a_change_of_epoch_and_clock(start: str, hours: int, lengths: list[int], chunk: int) -> None:
    found, wanted, epochs = inline_and_oracle(day(at(start), hours, seed=hours), chunk)
    assert [(epoch.end_ms - epoch.start_ms) // HOUR for epoch in epochs] == lengths
    assert found == wanted
    assert {epoch for epoch, _, _ in found} == {epoch.epoch for epoch in epochs}
    assert sum(sum(counts.values()) for counts in found.values()) > 1_000


def test_a_network_that_was_silent_for_hours_and_over_an_epochs_end() -> None:
    start = at("2026-03-01T22:00")
    found, wanted, epochs = inline_and_oracle(day(start, 8, 3, gap=(start + HOUR, start + 7 * HOUR)), 50)
    assert found == wanted
    silent = [
        found[epochs[0].epoch, "present", number]
        for number in range(1, (epochs[0].end_ms - epochs[0].start_ms) // (5 * MINUTE) + 1)
        if epochs[0].start_ms + number * 5 * MINUTE > start + HOUR + 66 * MINUTE
        and (epochs[0].epoch, "present", number) in found
    ]
    assert silent and all(not counts for counts in silent)


def test_days_without_any_event_need_no_epoch() -> None:
    start = at("2026-03-02T10:00")
    later = at("2026-03-09T10:00")
    records = [one + other for one, other in zip(day(start, 1, 1), day(later, 2, 2), strict=True)]
    found, wanted, epochs = inline_and_oracle(records, 100)
    assert found == wanted
    assert {epoch.epoch for epoch in epochs} >= {20260302, 20260309}


def test_a_silent_source_holds_the_watermark_and_nothing_of_it_is_lost() -> None:
    """With beats only the time goes on; without them no pane closes until it is heard again."""
    start = at("2026-03-02T10:00")
    whole = day(start, 3, 4)
    silent = [record for record in whole[1] if not start + HOUR <= record[0] < start + 2 * HOUR]
    beats = [(now, orjson.dumps({"kind": "beat", "source": "s"})) for now in range(start, start + 3 * HOUR, 1_000)]
    beaten = sorted(silent + beats, key=lambda record: record[0])
    quiet, wanted, _ = inline_and_oracle([whole[0], silent], 60)
    assert quiet == wanted
    found, wanted, _ = inline_and_oracle([whole[0], beaten], 60)
    assert found == wanted
    # One that is silent to the end holds all panes after its last word; one that beats holds none.
    gone = [record for record in whole[1] if record[0] < start + HOUR]
    held, wanted, epochs = inline_and_oracle([whole[0], gone], 60)
    assert held == wanted
    number = (start + HOUR - epochs[0].start_ms) // (5 * MINUTE)
    assert max(pane for _, _, pane in held) == number - 1
    going_on = sorted(gone + beats, key=lambda record: record[0])
    found, wanted, _ = inline_and_oracle([whole[0], going_on], 60)
    assert found == wanted
    assert max(pane for _, _, pane in found) == number + 24 - 1


@pytest.mark.parametrize("wrong_ms", [-5 * MINUTE, 59_000, 5 * MINUTE], ids=["slow", "a little fast", "fast"])
def test_a_source_whose_clock_is_wrong_spoils_its_own_events_only(wrong_ms: int) -> None:
    """Its event times are wrong, record times are the broker's: events are rejected, and hold or close no pane."""
    start = at("2026-03-02T10:00")
    right, other = day(start, 2, 6)
    wrong = [(now, orjson.dumps(event | {"ts": event["ts"] + wrong_ms})) for now, event in map(_parsed, other)]
    found, wanted, _ = inline_and_oracle([right, wrong], 40)
    assert found == wanted
    straight, _, _ = inline_and_oracle([right, other], 40)
    assert found.keys() == straight.keys()
    alone, _, _ = inline_and_oracle([right, [(now, b'{"kind":"beat"}') for now, _ in other]], 40)
    assert (found == alone) == (abs(wrong_ms) == 5 * MINUTE)


def test_a_producer_whose_record_times_jump_ahead_makes_its_own_next_events_late() -> None:
    """Where producers stamp records, one that is an hour ahead moves its source's watermark, not the others'."""
    start = at("2026-03-02T10:00")
    right, jumping = day(start, 2, 8)
    number = len(jumping) // 2
    jumping[number] = (jumping[number][0] + HOUR, jumping[number][1])
    found, wanted, _ = inline_and_oracle([right, jumping], 40)
    assert found == wanted
    silenced = [record if n <= number else (record[0], b'{"kind":"beat"}') for n, record in enumerate(jumping)]
    without, _, _ = inline_and_oracle([right, silenced], 40)
    assert found == without


def test_a_day_with_a_leap_second_counts_as_the_oracle_does() -> None:
    start = round(datetime.fromisoformat("2016-12-31T23:00:00+00:00").timestamp() * 1000)
    records = day(start, 2, 9)
    midnight = start + HOUR
    for source, rows in enumerate(records):
        who = {"event_id": "leap", "imsi": f"00101{source:010d}", "cell": "001-01-0000005", "kind": "handover"}
        leap = [
            (midnight + 1, orjson.dumps(who | {"ts": text}))
            for text in ("2016-12-31T23:59:60Z", "2016-12-31T23:59:60.999Z", "2017-01-01T00:59:60.5+01:00")
        ]
        place = next(n for n, (now, _) in enumerate(rows) if now > midnight)
        rows[place:place] = leap
    found, wanted, _ = inline_and_oracle(records, 30)
    assert found == wanted
    without, _, _ = inline_and_oracle(day(start, 2, 9), 30)
    assert found != without


def _parsed(record: tuple[int, bytes]) -> tuple[int, dict]:
    return record[0], orjson.loads(record[1])


def test_a_leap_second_is_the_first_of_the_next_minute_or_a_reject_and_never_a_crash() -> None:
    from streams.core.events.decode import decode, decode_reference

    texts = ["2016-12-31T23:59:59Z", "2016-12-31T23:59:60Z", "2016-12-31T23:59:60.5Z", "2017-01-01T00:00:00Z"]
    event = {"event_id": "e", "imsi": "001010000000001", "cell": "001-01-0000001"}
    records = records_of([orjson.dumps(event | {"ts": text}) for text in texts])
    fast, plain = decode(records, 1 << 20), decode_reference(records, 1 << 20)
    for one, other in zip(fast, plain, strict=True):
        np.testing.assert_array_equal(one, other)
    good = fast.ts[fast.status == 0].tolist()
    assert good[0] == 1_483_228_799_000 and good[-1] == 1_483_228_800_000
    assert good == sorted(good)
