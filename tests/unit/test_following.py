"""Outlooks that follow from the ledger: the same as the command's, the same whoever makes them."""

from math import isnan
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from schemas.epochs import Epoch
from schemas.ledger import BROUGHT, LedgerRecord
from schemas.outlook import Outlook
from schemas.released import Footfall
from schemas.topics import LEDGER, OUTLOOK, PUBLISHED
from streams.agents.health import Readiness
from streams.agents.release import Releaser
from streams.agents.roles import LogRange
from streams.core.derived.following import AT_HAND, BLOCK_MS, Following, since_ms
from streams.core.derived.outlook import Outlooks
from streams.core.derived.usual import A_WEEK, QUARTER_MS
from streams.core.release.release import publications
from streams.core.release.render import Pages
from streams.core.rules.rules import Told
from streams.core.times import rfc3339
from streams.metrics import ReleaseMetrics
from streams.stores.ledger import Ledger
from streams.stores.released import Publisher
from tests.support.ledgers import present
from tests.support.rules import SettledRules
from tests.support.turns import ALONE
from tests.support.world import PLAN
from tests.unit.test_outlook import PLACES, pane, taken
from tests.unit.test_release_role import NO_NOISE, Epochs, Logs, Reader
from tests.unit.test_usual import MONDAY


def quarter(number: int, panes_offset: int = 0) -> LedgerRecord:
    return present(number + 1, MONDAY + number * QUARTER_MS, pane(number), panes_offset)


WEEK = [quarter(number) for number in range(A_WEEK)]
NEXT = [quarter(number) for number in range(A_WEEK, A_WEEK + 12)]


def after(*records: LedgerRecord) -> Following:
    following = Following("UTC")
    for record in (*WEEK, *records):
        following.take(record)
    return asked(following)


def asked(following: Following) -> Following:
    following.work_out(following.waiting())
    return following


def test_they_say_what_the_command_says() -> None:
    outlooks = Outlooks(PLACES)
    for number in range(A_WEEK):
        assert taken(outlooks, pane(number)) == []
    following = after(NEXT[0])
    made = following.of(NEXT[0])
    assert [msgspec.json.decode(item.value, type=Outlook) for item in made] == taken(outlooks, pane(A_WEEK))
    assert {(item.topic, item.key) for item in made} == {(OUTLOOK, b"a"), (OUTLOOK, b"b"), (OUTLOOK, b"north")}
    assert not following.of(WEEK[-1])


def test_for_another_purpose_nothing_is_usual_yet() -> None:
    """What those were counted for who agreed to one is not told for another."""
    other = present(
        A_WEEK + 1, NEXT[0].end_ms, [msgspec.structs.replace(each, purpose="public") for each in pane(A_WEEK)]
    )
    assert after(NEXT[0]).of(NEXT[0]) and not after(other).of(other)


def test_whoever_reads_the_ledger_makes_the_same_bytes() -> None:
    one, other = after(*NEXT[:2]), after(*NEXT[:3])
    assert len(one.of(NEXT[1])) == 3
    assert one.of(NEXT[1]) == other.of(NEXT[1]) != one.of(NEXT[0])


def test_what_is_usual_goes_back_four_to_eight_weeks_whoever_reads() -> None:
    weeks = BLOCK_MS // QUARTER_MS // A_WEEK
    first = -(-MONDAY // BLOCK_MS) * BLOCK_MS

    def of_block(block: int, week: int) -> LedgerRecord:
        end_ms = first + block * BLOCK_MS + week * A_WEEK * QUARTER_MS
        said = [msgspec.structs.replace(each, estimate=100.0 * (block + 1), end=rfc3339(end_ms)) for each in pane(0)]
        return present(4 * block + week + 1, end_ms, said)

    records = [of_block(block, week) for block in range(3) for week in range(weeks)]
    always, begun_late, asked_each_time = Following("UTC"), Following("UTC"), Following("UTC")
    for record in records:
        always.take(record)
        asked_each_time.take(record)
        said = asked(asked_each_time).of(record)
        if record.end_ms >= first + BLOCK_MS:
            begun_late.take(record)
    assert said and said == asked(always).of(records[-1]) == asked(begun_late).of(records[-1])
    # Nothing of the first block's hundred is left in the third's: four weeks of 200, three of 300.
    assert 200.0 < msgspec.json.decode(said[0].value, type=Outlook).usual < 300.0
    outlooks = Outlooks(PLACES)
    words = [msgspec.json.decode(item.value, type=Footfall) for each in records[weeks:] for item in publications(each)]
    assert [msgspec.json.decode(item.value, type=Outlook) for item in said] == taken(outlooks, words)[-3:]


def test_what_matters_began_with_the_block_before_the_one_that_is_at_hand() -> None:
    for at_hand_ms in (5 * BLOCK_MS, 6 * BLOCK_MS - 1):
        assert since_ms(at_hand_ms) == 4 * BLOCK_MS


def test_who_begins_just_after_a_block_did_says_of_the_one_before_what_was_said_then() -> None:
    first = -(-MONDAY // BLOCK_MS) * BLOCK_MS
    of_block = -(-BLOCK_MS // QUARTER_MS)
    # A pane a day at 23:30, and each of the last two hours of the second block and the first of the third.
    numbers = [*range(94, 2 * of_block - 8, 96), *range(2 * of_block - 8, 2 * of_block + 4)]
    records = [
        present(number, first + number * QUARTER_MS, [
            msgspec.structs.replace(each, estimate=float(number % 3001), end=rfc3339(first + number * QUARTER_MS))
            for each in pane(0)
        ])
        for number in numbers
    ]  # fmt: skip
    always, begins = Following("UTC"), Following("UTC")
    for record in records:
        always.take(record)
        asked(always)
        begins.take(record)
    waiting = begins.waiting()
    for each in waiting:
        begins.work_out([each], waiting[-AT_HAND:])
    assert [each.number for each in begins.recent()] == numbers[-AT_HAND:]
    assert begins.recent()[0].end_ms < first + 2 * BLOCK_MS - QUARTER_MS
    said = [begins.of(record) for record in begins.recent()]
    assert any(said) and said == [always.of(record) for record in always.recent()]


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(["UTC", "Europe/Berlin"]))
def test_they_say_what_the_reference_says_whatever_is_told_of_places(chance: Random, timezone: str) -> None:
    places = msgspec.structs.replace(PLACES, timezone=timezone)
    following, outlooks = Following(timezone), Outlooks(places)
    for number in (*range(3), *range(A_WEEK - 2, A_WEEK + 6), *range(2 * A_WEEK - 3, 2 * A_WEEK)):
        whole = [
            chance.choice([
                each,
                each,
                msgspec.structs.replace(each, estimate=None, se=None, suppressed=True),
                msgspec.structs.replace(each, complete=False),
                msgspec.structs.replace(each, covered=0.9),
                msgspec.structs.replace(each, measure="arrivals"),
            ])
            for each in pane(number)
        ]  # fmt: skip
        if number:
            chance.shuffle(whole)
            whole = whole[chance.choice([0, 0, 1]) :]
        else:
            whole = pane(number)
        record = quarter(number)
        record = present(record.number, record.end_ms, whole)
        following.take(record)
        said = asked(following).of(record)
        expected = [*taken(outlooks, whole), *outlooks.close()]
        assert [item.value for item in said] == [msgspec.json.encode(each) for each in expected]


def test_what_is_no_release_of_people_present_at_a_quarter_changes_nothing() -> None:
    strange = present(A_WEEK + 1, NEXT[0].end_ms, pane(40))
    other = msgspec.structs.replace(strange, measure="present_cohort")
    void = msgspec.structs.replace(strange, kind="void")
    between = present(9, MONDAY + A_WEEK * QUARTER_MS + 300_000, pane(A_WEEK))
    older = present(9, NEXT[0].end_ms, [msgspec.structs.replace(pane(0)[0], schema="footfall/0")])  # type: ignore[arg-type]
    following = after(other, void, between, NEXT[0])
    assert after(older, NEXT[1]).of(NEXT[1]) == after(NEXT[1]).of(NEXT[1])
    assert following.of(NEXT[0]) == after(NEXT[0]).of(NEXT[0]) == after(NEXT[0], strange).of(NEXT[0])
    assert not following.of(other) and not following.of(between)


def test_the_last_ones_are_at_hand_and_all_that_a_replay_has_brought() -> None:
    following = after(*NEXT)
    assert [bool(following.of(record)) for record in NEXT] == [False] * (len(NEXT) - AT_HAND) + [True] * AT_HAND
    one_by_one = Following("UTC")
    for record in (*WEEK, *NEXT):
        one_by_one.take(record)
    assert one_by_one.behind_ms() == (len(WEEK) + len(NEXT)) * QUARTER_MS
    assert one_by_one.waiting(msgspec.structs.replace(NEXT[0], measure="present_cohort")) == [], (
        "nothing follows from it"
    )
    said = []
    for record in NEXT:
        one_by_one.work_out(one_by_one.waiting(record))
        said.append(one_by_one.of(record))
        assert len(one_by_one._said) <= AT_HAND
    assert all(said) and said[-AT_HAND:] == [following.of(record) for record in NEXT[-AT_HAND:]]
    assert one_by_one.behind_ms() == 0 and one_by_one.waiting() == []


def test_a_new_plan_keeps_the_places_that_it_keeps() -> None:
    changed = [
        msgspec.structs.replace(each, plan="other", zone="c" if each.zone == "b" else each.zone)
        for each in pane(A_WEEK)
    ]
    record = present(A_WEEK + 1, NEXT[0].end_ms, changed)
    assert [item.key for item in after(record).of(record)] == [b"a", b"north"]


def releaser(logs: Logs, rules: SettledRules | None = None) -> Releaser:
    following = Following("UTC")
    return Releaser(
        Pages(lambda _: PLAN, 0.95),
        Epochs(),  # type: ignore[arg-type]
        Ledger(Reader(logs), logs, LEDGER, following.take),  # type: ignore[arg-type]
        Publisher(logs, logs, {name: name for name in PUBLISHED}, dict.fromkeys(PUBLISHED, 1), ""),  # type: ignore[arg-type]
        NO_NOISE,
        ReleaseMetrics(CollectorRegistry()),
        Readiness(),
        rules or SettledRules(),
        ALONE,
        following,
    )


@pytest.fixture
def logs() -> Logs:
    logs = Logs()
    logs.values[OUTLOOK] = []
    logs.values[LEDGER] = [msgspec.msgpack.encode(record) for record in (*WEEK, *NEXT[:3])]
    return logs


async def begun(logs: Logs, rules: SettledRules | None = None) -> list[bytes]:
    """What a release that begins adds to the topic."""
    before = len(logs.values[OUTLOOK])
    role = releaser(logs, rules)
    await role.positions({0: LogRange(0, 0)})
    while not role.following_up.waiting.empty():
        await role.following_up.follow(role.following_up.waiting.get_nowait())
    return logs.values[OUTLOOK][before:]


def told_of(*records: LedgerRecord) -> list[bytes]:
    following = after(*NEXT[:3])
    return [item.value for record in records for item in following.of(record)]


async def test_a_release_publishes_its_ledgers_last_outlooks_once_more(logs: Logs) -> None:
    once = await begun(logs)
    assert set(once) == set(told_of(*NEXT[:3]))
    assert await begun(logs) == once


async def test_all_that_a_replay_has_brought_is_told_and_how_good_the_forecasts_were(logs: Logs) -> None:
    brought = [msgspec.structs.replace(record, panes_offset=BROUGHT) for record in (*WEEK, *NEXT)]
    logs.values[LEDGER] = [msgspec.msgpack.encode(record) for record in brought]
    role = releaser(logs)
    count = role._metrics.outlook_error.labels("15")._value
    assert isnan(count.get())
    await role.positions({0: LogRange(0, 0)})
    assert role._metrics.outlook_behind._value.get() == (len(WEEK) + len(NEXT)) * QUARTER_MS / 1000
    while not role.following_up.waiting.empty():
        await role.following_up.follow(role.following_up.waiting.get_nowait())
    ends = {msgspec.json.decode(value, type=Outlook).end for value in logs.values[OUTLOOK]}
    assert ends == {rfc3339(record.end_ms) for record in NEXT}
    assert 0 < count.get() < 3 and 0 <= role._metrics.outlook_covered.labels("15")._value.get() <= 1
    assert role._metrics.outlook_behind._value.get() == 0


async def test_a_record_that_is_void_since_it_came_second_changes_nothing(logs: Logs) -> None:
    second = msgspec.structs.replace(NEXT[2], publish=WEEK[0].publish, writer="a zombie")
    logs.values[LEDGER].append(msgspec.msgpack.encode(second))
    assert set(await begun(logs)) == set(told_of(*NEXT[:3]))


async def test_what_the_rules_forbid_to_tell_is_not_told_in_outlooks_either(logs: Logs) -> None:
    class Forbidding(SettledRules):
        def of(self, epoch: Epoch) -> Told:
            return Told(epoch, "suspended", 0)

    assert await begun(logs, Forbidding()) == []
