"""The release role over the end of a day: what it knows of yesterday is what the ledger says, and all of it that may be
told. The noise is none, so two writers' records can be compared."""

import asyncio
import threading
from collections.abc import Iterator

import msgspec
import pytest

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.topics import DAY_MS, LEDGER
from streams.agents import yesterdays
from streams.agents.roles import LogRange, Turn
from streams.core.estimates.estimate import unpack
from streams.core.estimates.models import PRESENT, models_of
from streams.core.estimates.yesterday import Drawn
from streams.core.release.release import Profiles, _state, profiles
from streams.core.release.render import Page
from streams.core.rules.rules import Told
from tests.support.rules import SettledRules
from tests.support.world import epochs_at
from tests.unit.test_release_role import Logs, both, chunk, releaser

MONDAY = 1_772_420_400_000
DAYS = tuple(
    msgspec.structs.replace(epoch, partitions=2, measures=DEFAULT_MEASURES[:1])
    for epoch in epochs_at(MONDAY, MONDAY + DAY_MS, MONDAY + 2 * DAY_MS)
)
YESTERDAY, TODAY, TOMORROW = DAYS
A_DAY, KNOWING = 288, len(PRESENT.models) + 2


@pytest.fixture(scope="module")
def monday() -> list[bytes]:
    """The ledger after a Monday."""

    async def release() -> list[bytes]:
        logs = Logs()
        role = releaser(logs, epochs=DAYS)
        await role.positions({0: LogRange(0, 2 * A_DAY)})
        await role.handle(chunk(both(*range(1, A_DAY + 1), epoch=YESTERDAY), 0))
        return logs.values[LEDGER]

    return asyncio.run(release())


def after(monday: list[bytes]) -> Logs:
    logs = Logs()
    logs.values[LEDGER] = list(monday)
    return logs


async def released(logs: Logs, *numbers: int, rules: SettledRules | None = None, epoch: Epoch = TODAY) -> None:
    """A worker that starts, releases these panes, and ends."""
    role = releaser(logs, rules=rules, epochs=DAYS)
    first = 2 * A_DAY + 2 * (numbers[0] - 1)
    await role.positions({0: LogRange(first, first + 2 * len(numbers))})
    await role.handle(chunk(both(*numbers, epoch=epoch), first))


def models(record: LedgerRecord) -> int:
    state = _state(record)
    assert state is not None
    assert len(unpack(state.districts).trust) == len(unpack(state.belief).trust)
    return len(unpack(state.belief).trust)


async def test_a_second_day_knows_the_first(monday: list[bytes]) -> None:
    logs = after(monday)
    await released(logs, 1, 2, 3)
    first, second = logs.ledger()[:3], logs.ledger()[A_DAY:]
    assert [models(record) for record in first] == [len(PRESENT.models)] * 3
    assert [models(record) for record in second] == [KNOWING] * 3


async def test_of_every_measure_with_public_keys_yesterday_is_known() -> None:
    measures = tuple(measure for measure in DEFAULT_MEASURES if measure.name != "visits")
    days = tuple(msgspec.structs.replace(epoch, measures=measures) for epoch in DAYS)
    logs = Logs()
    role = releaser(logs, epochs=days)
    await role.positions({0: LogRange(0, 2 * (A_DAY + 12))})
    await role.handle(chunk(both(*range(1, A_DAY + 1), epoch=days[0]), 0))
    await role.handle(chunk(both(*range(1, 13), epoch=days[1]), 2 * A_DAY))
    for measure in measures:
        known = len(models_of(measure).models)
        of_epoch = {
            epoch.epoch: {
                len(unpack(state.belief).trust)
                for record in logs.ledger()
                if (record.measure, record.epoch) == (measure.name, epoch.epoch) and (state := _state(record))
            }
            for epoch in days[:2]
        }
        assert of_epoch == {days[0].epoch: {known}, days[1].epoch: {known + 2}}, measure.name


async def test_two_that_read_the_same_ledger_release_the_same_bytes_whenever_they_started(monday: list[bytes]) -> None:
    one, other = after(monday), after(monday)
    await released(one, 1, 2, 3, 4)
    for number in (1, 2, 3, 4):
        await released(other, number)
    ones, others = (
        [msgspec.structs.replace(record, writer="", panes_offset=0, begins=None) for record in logs.ledger()[A_DAY:]]
        for logs in (one, other)
    )
    assert len(ones) == 4 and ones == others


async def test_yesterday_is_looked_at_before_a_pane_needs_it(
    monday: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[int] = []

    def noted(drawn: Drawn, epoch: Epoch, measure: Measure, page: Page) -> Iterator[Profiles | None]:
        looked.append(epoch.epoch)
        return profiles(drawn, epoch, measure, page)

    monkeypatch.setattr(yesterdays, "profiles", noted)
    logs = after(monday[:-1])
    role = releaser(logs, epochs=DAYS)
    await role.positions({0: LogRange(0, 2 * A_DAY)})
    assert looked == []
    await role.handle(chunk(both(A_DAY, epoch=YESTERDAY), 2 * A_DAY - 2))
    assert looked == [TODAY.epoch]
    await role.handle(chunk(both(1, epoch=TODAY), 2 * A_DAY))
    assert models(logs.ledger()[-1]) == KNOWING
    assert looked == [TODAY.epoch]
    again = releaser(logs, epochs=DAYS)
    await again.positions({0: LogRange(0, 2 * A_DAY + 2)})
    assert looked == [TODAY.epoch, TODAY.epoch]


async def test_a_pane_that_waits_for_yesterday_is_left_to_whoever_has_the_partition_next(
    monday: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_out, ours = threading.Event(), True

    def slowly(drawn: Drawn, epoch: Epoch, measure: Measure, page: Page) -> Iterator[Profiles | None]:
        worked_out.wait(30)
        yield from profiles(drawn, epoch, measure, page)

    logs = after(monday)
    with monkeypatch.context() as patched:
        patched.setattr(yesterdays, "profiles", slowly)
        role = releaser(logs, epochs=DAYS, turn=Turn(lambda: ours, lambda: None))
        await role.positions({0: LogRange(2 * A_DAY, 2 * A_DAY + 4)})
        handling = asyncio.ensure_future(role.handle(chunk(both(1, 2, epoch=TODAY), 2 * A_DAY)))
        await asyncio.wait([handling], timeout=0.5)
        assert not handling.done()
        ours = False
        await asyncio.wait([handling], timeout=5)
        assert handling.done() and handling.exception() is None and len(logs.ledger()) == A_DAY
        worked_out.set()
    await released(logs, 1, 2)
    assert [models(record) for record in logs.ledger()[A_DAY:]] == [KNOWING] * 2


async def test_of_a_day_that_another_follows_nothing_is_worked_out_any_more(monday: list[bytes]) -> None:
    logs = after(monday)
    role = releaser(logs, epochs=DAYS)
    await role.positions({0: LogRange(0, 2 * A_DAY)})
    role._yesterdays.expect(TODAY)
    ((_, looking),) = role._yesterdays._known.values()
    role._yesterdays.expect(TOMORROW)
    assert not role._yesterdays._known
    await asyncio.wait([looking])
    assert looking.cancelled()


async def test_of_a_day_that_is_over_nothing_is_looked_at(monday: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    logs = after(monday)
    epochs = (msgspec.structs.replace(YESTERDAY, start_ms=MONDAY - DAY_MS, end_ms=MONDAY, epoch=1), *DAYS)
    role = releaser(logs, epochs=epochs)
    monkeypatch.setattr(role._yesterdays, "of", lambda *_: pytest.fail("its plan may be gone"))
    await role.positions({0: LogRange(0, 2 * A_DAY)})


@pytest.mark.parametrize(
    "then",
    [
        Told(YESTERDAY, "", YESTERDAY.start_ms + 300_000),
        Told(YESTERDAY, "a country may not be counted", 0),
        Told(msgspec.structs.replace(YESTERDAY, measures=()), "", 0),
    ],
    ids=["in part", "wholly", "of the measure"],
)
async def test_a_day_that_the_rules_withhold_is_not_known(monday: list[bytes], then: Told) -> None:
    class Withheld(SettledRules):
        def of(self, epoch: Epoch) -> Told:
            return then if epoch == YESTERDAY else Told(epoch, "", 0)

    logs = after(monday)
    await released(logs, 1, rules=Withheld())
    assert models(logs.ledger()[-1]) == len(PRESENT.models)


async def test_the_day_after_a_day_that_was_not_drawn_knows_none(monday: list[bytes]) -> None:
    logs = after(monday)
    await released(logs, 1, epoch=TOMORROW)
    assert models(logs.ledger()[-1]) == len(PRESENT.models)
