"""What `throng simulate` promises: same seed, same bytes; a day as people live it; every fault as it is called."""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np
import pytest

from schemas.plan import Plan
from streams.simulate import Rates, Slice, Town, generate, make_town, parse_rates, plan, registry
from streams.simulate.people import birth_years, imsis, populate
from streams.simulate.registry import counted
from streams.simulate.render import FAULTS
from streams.simulate.town import radiation
from streams.stores.policies import load_policies

START = 1_772_420_400_000  # Monday 2026-03-02 04:00 in the town
HOUR = 3_600_000
MINUTE = 60_000
CLEAN = Rates(duplicates=0, late=0, clock_error=0, malformed=0)


@pytest.fixture(scope="module")
def town() -> Town:
    return make_town(7, 600)


def records(slices: Iterator[Slice], partition: int) -> list[tuple[int, bytes | None]]:
    return [record for piece in slices for record in piece.values(partition)]


def events(town: Town, start: int, end: int, rates: Rates = CLEAN, partitions: int = 2) -> list[dict[str, object]]:
    found = []
    for piece in generate(town, start, end, partitions, rates=rates):
        for p in range(partitions):
            found += [json.loads(value) for _, value in piece.values(p) if value]
    return [event for event in found if event["kind"] != "beat"]


def fingerprint(town: Town, batch: int, slice_ms: int, partition: int) -> str:
    digest = hashlib.blake2b()
    slices = generate(town, START + 3 * HOUR, START + 4 * HOUR, 3, batch, Rates(malformed=0.02, late=0.02), slice_ms)
    for at, value in records(slices, partition):
        digest.update(b"%d %d %s" % (at, -1 if value is None else len(value), value or b""))
    return digest.hexdigest()


@pytest.mark.parametrize("batch", [1, 7])
def test_the_bytes_do_not_depend_on_how_time_is_sliced(town: Town, batch: int) -> None:
    assert {fingerprint(town, batch, s * 1000, 1) for s in (1, 60, 317, 4000)} == {fingerprint(town, batch, 60_000, 1)}


def test_the_bytes_of_a_seed_are_these(town: Town) -> None:
    assert fingerprint(make_town(7, 600), 1, 60_000, 0) == fingerprint(town, 1, 60_000, 0)
    assert fingerprint(make_town(8, 600), 1, 60_000, 0) != fingerprint(town, 1, 60_000, 0)


def test_a_subscriber_does_the_same_however_many_others_there_are() -> None:
    def ways(subscribers: int) -> list[str]:
        some = {f"{n:015d}" for n in imsis(make_town(3, 100)).tolist()}
        made = events(make_town(3, subscribers), START + 4 * HOUR, START + 5 * HOUR)
        return sorted(json.dumps(event) for event in made if event["imsi"] in some)

    assert ways(100) == ways(180)


@pytest.mark.parametrize("batch", [1, 5])
def test_record_times_never_go_back_and_no_source_is_silent_for_more_than_a_second(town: Town, batch: int) -> None:
    for p in range(3):
        times = [at for at, _ in records(generate(town, START, START + HOUR, 3, batch), p)]
        gaps = np.diff([START - 1000, *times, START + HOUR])
        assert gaps.min() >= 0
        assert gaps.max() <= 1000


def test_a_cell_always_reports_to_the_same_partition(town: Town) -> None:
    where: dict[str, set[int]] = {}
    for piece in generate(town, START + 4 * HOUR, START + 5 * HOUR, 3, rates=CLEAN):
        for p in range(3):
            for _, value in piece.values(p):
                if value and b'"cell"' in value:
                    where.setdefault(json.loads(value)["cell"], set()).add(p)
    assert len(where) > 100
    assert all(len(partitions) == 1 for partitions in where.values())


def test_arrays_hold_the_same_events_in_the_same_order_as_single_records(town: Town) -> None:
    span = START + 5 * HOUR, START + 5 * HOUR + 20 * MINUTE

    def flat(batch: int) -> list[object]:
        found: list[object] = []
        for _, value in records(generate(town, *span, 1, batch, CLEAN), 0):
            element = json.loads(value or b"")
            found += element if isinstance(element, list) else [element]
        return [event for event in found if event["kind"] != "beat"]  # type: ignore[index, call-overload]

    assert flat(1) == flat(9)


def test_every_event_keeps_to_the_raw_contract(town: Town) -> None:
    cells = set(town.cell_text)
    shapes = r"001-01-([0-9a-f]{4}-[0-9a-f]{4}|[0-9a-f]{7}|[0-9a-f]{9})"
    assert all(re.fullmatch(shapes, cell) for cell in cells)
    assert len(cells) == len(town.cell_text) == 300
    made = events(town, START, START + 8 * HOUR)
    assert all(re.fullmatch(r"00101[0-9]{10}", str(e["imsi"])) for e in made)
    assert all(re.fullmatch(r"[0-9a-f]{16}", str(e["event_id"])) for e in made)
    assert all(re.fullmatch(r"001[0-9]{5}", str(e["tac"])) for e in made)
    assert all(re.fullmatch(r"\+999[0-9]{10}", str(e["msisdn"])) for e in made if e["kind"] == "attach")
    assert {e["cell"] for e in made} <= cells
    assert {e["kind"] for e in made} == {"update", "attach", "handover", "service", "detach"} - {"detach"}
    assert {e["rat"] for e in made} == {"gsm", "lte", "nr"}
    assert len({e["event_id"] for e in made}) == len(made)
    assert 140 < np.mean([len(json.dumps(e, separators=(",", ":"))) for e in made]) < 160


def test_a_weekday_has_about_115_events_a_subscriber_most_of_them_by_day() -> None:
    crowd = make_town(1, 4000)
    kinds: Counter[str] = Counter()
    night = 0
    for piece in generate(crowd, START, START + 24 * HOUR, 1, rates=CLEAN):
        values = piece.payload.tobytes()
        for kind in ("update", "attach", "handover", "service", "detach"):
            kinds[kind] += values.count(b'"kind":"%s"' % kind.encode())
        night += piece.counts["events"] if piece.start_ms >= START + 21 * HOUR else 0
    each = {kind: count / 4000 for kind, count in kinds.items()}
    assert 108 < sum(each.values()) < 122
    assert each["service"] > each["handover"] > each["update"] > each["attach"]
    assert 0.08 < each["detach"] < 0.2
    assert night / 4000 < 6  # the three hours before 04:00


def test_an_update_comes_54_minutes_after_the_last_event_at_the_latest(town: Town) -> None:
    heard: dict[object, int] = {}
    asleep: set[object] = set()
    first: set[object] = set()
    for e in sorted(events(town, START, START + 6 * HOUR), key=lambda e: (e["ts"], e["imsi"], e["event_id"])):
        who, ts = e["imsi"], int(str(e["ts"]))
        if who in heard and who not in asleep:
            assert ts - heard[who] <= 54 * MINUTE
        if who not in first and e["kind"] != "attach":
            assert ts <= START + 54 * MINUTE
        first.add(who)
        heard[who] = ts
        (asleep.add if e["kind"] == "detach" else asleep.discard)(who)


def test_people_sleep_at_home_and_the_stadium_fills_when_something_is_on() -> None:
    crowd = make_town(5, 1500)
    saturday = START + 5 * 24 * HOUR
    stretches = np.concatenate([s.truth for s in generate(crowd, saturday, saturday + 24 * HOUR, 1)])
    people = populate(crowd)[0]

    def there(hour: float) -> np.ndarray:
        at = saturday + int(hour * HOUR)
        now = stretches[(stretches["begin"] <= at) & (stretches["end"] > at)]
        assert now.size == 1500  # everybody is somewhere, once
        return now

    asleep = there(0.5)
    assert (asleep["zone"] == people["home"][asleep["who"]]).mean() > 0.99
    at_match = (there(13)["zone"] == crowd.stadium).mean()
    assert 0.03 < at_match < 0.12
    assert (there(4)["zone"] == crowd.stadium).mean() < 0.015


def test_working_people_are_at_work_on_a_weekday_morning() -> None:
    crowd = make_town(5, 1500)
    people = populate(crowd)[0]
    stretches = np.concatenate([s.truth for s in generate(crowd, START, START + 7 * HOUR, 1)])
    now = stretches[(stretches["begin"] <= START + 6 * HOUR) & (stretches["end"] > START + 6 * HOUR)]
    works = people["work"][now["who"]]
    assert (now["zone"] == works)[works != 0xFFFF].mean() > 0.75


def test_the_radiation_law_is_that_of_the_paper() -> None:
    discs = np.array([[0, 0, 1], [10, 0, 1], [0, 30, 1], [50, 0, 1]], np.int64)
    opportunities = np.array([4, 3, 2, 5], np.int64)
    table = radiation(discs, opportunities, opportunities)
    m = 4.0
    expected = np.array([m * n / ((m + s) * (m + n + s)) for n, s in ((3, 0), (2, 3), (5, 5))])
    assert np.diff(table[0], prepend=0)[1:] / 2**32 == pytest.approx(expected / expected.sum(), abs=1e-6)
    assert table[0, 0] == 0


def is_fault(name: str, value: bytes | None) -> bool:
    """Whether a record is spoilt in just the way that the fault's name says."""
    if value is None:
        return name == "null_value"
    if not value:
        return name == "empty"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return name == "encoding"
    try:
        pairs = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except json.JSONDecodeError:
        return name == "not_json"
    if not isinstance(pairs, list):
        return name == "not_an_object"
    if len({key for key, _ in pairs}) < len(pairs):
        return name == "duplicate_key"
    e = dict(pairs)
    ts = e.get("ts")
    wrong = {
        "missing_field": not {"event_id", "imsi", "ts", "cell"} <= e.keys(),
        "wrong_type": not isinstance(e.get("imsi"), str),
        "bad_imsi": isinstance(e.get("imsi"), str) and not re.fullmatch(r"001[0-9]{11,12}", e["imsi"]),
        "bad_msisdn": not re.fullmatch(r"\+?[0-9]{5,15}", e.get("msisdn", "00000")),
        "bad_tac": not re.fullmatch(r"[0-9]{8}", e["tac"]),
        "bad_cell": not re.fullmatch(r"001-01-[0-9a-f-]{7,9}", e.get("cell", "001-01-0000000")),
        "unknown_cell": e.get("cell") == "001-01-fffffff",
        "bad_kind": e["kind"] == "roam",
        "bad_rat": e["rat"] not in ("gsm", "lte", "nr"),
        "bad_time": isinstance(ts, str),
        "out_of_range": isinstance(ts, int) and ts < 946_684_800_000,
        "bad_event_id": len(e["event_id"]) > 64,
    }
    return [key for key, is_wrong in wrong.items() if is_wrong] == [name]


def test_each_fault_is_what_it_is_called_and_counted_by_its_name(town: Town) -> None:
    seen: Counter[str] = Counter()
    told: Counter[str] = Counter()
    rates = Rates(duplicates=0, late=0, clock_error=0, malformed=1.0)
    for piece in generate(town, START + 6 * HOUR, START + 7 * HOUR, 1, rates=rates):
        for _, value in piece.values(0):
            if value and b'"beat"' in value:
                continue
            names = [name for name in FAULTS if is_fault(name, value)]
            assert len(names) == 1, value
            seen[names[0]] += 1
        told.update({k.removeprefix("fault_"): n for k, n in piece.counts.items() if k.startswith("fault_")})
    assert set(seen) == set(FAULTS)
    assert seen == told


def test_faults_that_spoil_a_record_travel_alone_and_others_keep_good_company(town: Town) -> None:
    rates = Rates(malformed=0.2)
    lone = mixed = 0
    for _, value in records(generate(town, START + 6 * HOUR, START + 7 * HOUR, 1, 50, rates), 0):
        if not value or not value.startswith(b"["):
            lone += 1
            continue
        mixed += any(len(e["event_id"]) > 64 for e in json.loads(value))
    assert lone > 0 < mixed


def test_late_duplicate_and_wrong_clocks_come_at_their_rates(town: Town) -> None:
    rates = Rates(duplicates=0.1, late=0.05, clock_error=0.04, malformed=0.0)
    counts: Counter[str] = Counter()
    told: list[str] = []
    late = ahead = behind = 0
    for piece in generate(town, START + 4 * HOUR, START + 8 * HOUR, 1, rates=rates):
        counts.update(piece.counts)
        for at, value in piece.values(0):
            e = json.loads(value or b"")
            if e["kind"] != "beat":
                told.append(e["event_id"])
                ahead += e["ts"] > at + 60_000
                behind += e["ts"] <= at - 299_000
                late += at - 299_000 < e["ts"] < at - 10_000
    made = len(set(told))
    assert counts["duplicate"] / made == pytest.approx(0.1, rel=0.15)
    assert len(told) - made == counts["duplicate"]
    assert (counts["clock_ahead"] + counts["clock_behind"]) / made == pytest.approx(0.04, rel=0.25)
    assert ahead == counts["clock_ahead"]
    assert counts["clock_behind"] <= behind <= counts["clock_behind"] + counts["late"] // 10
    assert counts["late"] / made == pytest.approx(0.05, rel=0.25)
    assert late >= counts["late"] * 0.9


def test_times_can_be_told_as_text(town: Town) -> None:
    made = events(town, START, START + HOUR, Rates(duplicates=0, late=0, clock_error=0, malformed=0, rfc3339=1.0))
    assert made
    assert all(re.fullmatch(r"2026-03-02T03:[0-5]\d:[0-5]\d\.\d{3}Z", str(e["ts"])) for e in made)


def test_the_plan_is_one_that_workers_load(town: Town) -> None:
    loaded = msgspec.json.decode(json.dumps(plan(town)), type=Plan)
    assert len(loaded.zones) == 60
    assert {"shopping", "station", "stadium", "park", "hospital", "church", "residential"} <= {
        z.kind for z in loaded.zones
    }
    for policy in load_policies():
        assert {"hospital", "church"} <= {z.kind for z in loaded.zones} & set(policy.excluded_zones)
    assert {c.zone for c in loaded.cells} == {z.id for z in loaded.zones}
    assert len(loaded.zone_parents()) == 60
    assert len({c.cell for c in loaded.cells}) == 300


def test_the_registry_holds_every_standing_and_leaves_some_out() -> None:
    crowd = make_town(2, 20_000)
    held = {key.decode(): json.loads(value) for key, value in registry(crowd)}
    missing = 1 - len(held) / 20_000
    consent = [person["consent"]["marketing"] for person in held.values()]
    assert 0.007 < missing < 0.013
    assert 0.95 < consent.count("granted") / 20_000 < 0.97  # the opted-out among them
    assert consent.count("denied") > consent.count("revoked") > 0
    assert 0.005 < sum(person["opted_out"] for person in held.values()) / 20_000 < 0.015
    assert all(key == person["imsi"] for key, person in held.items())
    assert {person["gender"] for person in held.values()} == {"female", "male", "other", None}
    assert 0.04 < (2026 - birth_years(crowd) < 18).mean() < 0.1
    assert 0.85 < counted(crowd).mean() < 0.92


def test_imsis_are_of_the_test_network_and_not_in_a_row() -> None:
    numbers = imsis(make_town(2, 5000)).astype(np.int64)
    assert np.unique(numbers).size == 5000
    assert np.all(numbers // 10**10 == 101)
    assert np.median(np.abs(np.diff(numbers))) > 10**9


def test_roamers_come_from_another_test_network_and_are_not_counted() -> None:
    crowd = make_town(2, 5000, roamers=0.1)
    away = imsis(crowd) // np.uint64(10**10) == 102
    assert 0.08 < away.mean() < 0.12
    assert not counted(crowd)[away].any()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["nonsense=1"], "nonsense"),
        (["late=much"], "late"),
        (["late=2"], "late"),
        (["late=0.9", "malformed=0.9"], "late"),
    ],
)
def test_a_rate_that_can_not_be_is_refused_by_name(words: list[str], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        parse_rates(words)


@pytest.mark.parametrize("zones", [20, 21, 60, 133])
def test_towns_of_any_size_have_a_plan_without_gaps(zones: int) -> None:
    small = make_town(4, 50, zones)
    document = msgspec.json.decode(json.dumps(plan(small)), type=Plan)
    assert len(document.zones) == zones
    assert len({z.name for z in document.zones}) == zones
    assert len({z.id for z in document.zones}) == zones
    assert document.zone_parents()
    assert list(itertools.islice(generate(small, START, START + MINUTE), 1))


def test_a_phone_is_mostly_served_by_a_cell_of_the_zone_that_it_is_in() -> None:
    crowd = make_town(9, 800)
    index = {text: int(zone) for text, zone in zip(crowd.cell_text, crowd.cell_zone, strict=True)}
    who = {f"{n:015d}": i for i, n in enumerate(imsis(crowd).tolist())}
    start, end = START + 6 * HOUR, START + 7 * HOUR
    stays: dict[int, list[tuple[int, int, int]]] = {}
    pieces = list(generate(crowd, START, end, 1, rates=CLEAN))
    for row in np.concatenate([piece.truth for piece in pieces]):
        if row["mode"] == 1:
            stays.setdefault(int(row["who"]), []).append((int(row["begin"]), int(row["end"]), int(row["zone"])))
    right = total = 0
    for piece in pieces:
        for _, value in piece.values(0):
            e = json.loads(value or b"")
            if e["kind"] == "beat" or e["ts"] < start:
                continue
            for begin, finish, zone in stays[who[e["imsi"]]]:
                if begin <= e["ts"] < finish:
                    right, total = right + (index[e["cell"]] == zone), total + 1
    assert total > 1000
    assert 0.9 < right / total < 1.0
