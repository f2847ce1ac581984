"""How a release begins to read a ledger that is long, or of which the beginning is gone."""

from collections.abc import Awaitable, Callable

import msgspec
import orjson
import pytest
from msgspec.structs import replace

from schemas.ledger import LedgerRecord
from schemas.topics import FOOTFALL, LEDGER
from streams.agents.learning import Learning
from streams.agents.roles import LogRange
from streams.core.derived.following import BLOCK_MS, Following
from streams.core.derived.usual import QUARTER_MS
from streams.core.release.release import seal
from streams.core.times import milliseconds
from streams.errors import ThrongError
from streams.stores.ledger import Ledger
from streams.stores.ledger_history import History
from tests.support.world import epochs_at
from tests.unit.test_following import NEXT, WEEK
from tests.unit.test_release_role import Logs, Reader, both, chunk, releaser

START = 1_772_420_400_000
EPOCH = replace(epochs_at(START)[0], partitions=2)
DAYS = [EPOCH.epoch - 1, EPOCH.epoch, EPOCH.epoch + 1, EPOCH.epoch + 2, EPOCH.epoch + 3]


def entry(epoch: int, number: int, panes_offset: int = 0) -> LedgerRecord:
    nothing = seal(())
    return LedgerRecord(
        epoch, "present", number, 0, number, "release", b"", 1.0, b"", nothing, panes_offset, 0.01, "one"
    )


async def written(logs: Logs, *days: int) -> None:
    """Three panes of each day, as one writer draws them."""
    ledger = Ledger(Reader(logs), logs, LEDGER)  # type: ignore[arg-type]
    await ledger.read()
    for day in days:
        for number in (1, 2, 3):
            await ledger.append(entry(day, number))


async def test_two_epochs_are_read_however_long_the_ledger_is() -> None:
    logs = Logs()
    await written(logs, *DAYS)
    ledger = Ledger(Reader(logs), logs, LEDGER)  # type: ignore[arg-type]
    read = await ledger.read()
    assert {record.epoch for record in read} == {*DAYS[-2:]} and ledger.began_at == 9
    assert ledger.bytes_read < sum(map(len, logs.values[LEDGER])) / 2


async def test_a_pane_older_than_the_ledgers_beginning_is_refused_and_not_released_anew() -> None:
    """The panes of a crowd that fell back for days: what was released of them is known no more."""
    logs = Logs()
    await written(logs, *DAYS)
    logs.start = 9
    role = releaser(logs)
    await role.positions({0: LogRange(0, 6)})
    length = len(logs.ledger())
    await role.handle(chunk(both(1, 2, 3), 0))
    assert len(logs.ledger()) == length and not logs.values[FOOTFALL]
    assert role._epochs.records[0].epoch == DAYS[1]


def told_in(logs: Logs) -> Callable[[int], Awaitable[str | None]]:
    """What `Published.later_than` does, of logs in memory."""

    async def later_than(end_ms: int) -> str | None:
        last = max((orjson.loads(value)["end"] for value in logs.values[FOOTFALL]), default="1970-01-01T00:00:00Z")
        return f"footfall, to {last}" if milliseconds(last) > end_ms else None

    return later_than


@pytest.mark.parametrize("left", [0, 1, 2])
async def test_a_ledger_that_was_put_back_to_before_what_was_told_is_refused(left: int) -> None:
    """A topic that was restored from yesterday's backup, or made anew by hand: all since then would be drawn again."""
    logs = Logs()
    role = releaser(logs, later_than=told_in(logs))
    await role.positions({0: LogRange(0, 6)})
    await role.handle(chunk(both(1, 2, 3), 0))
    kept, told = logs.values[LEDGER][:left], list(logs.values[FOOTFALL])
    assert [record.number for record in logs.ledger() if record.measure == "present"] == [1, 2, 3]
    logs.values[LEDGER] = list(kept)
    with pytest.raises(
        ThrongError, match="footfall, to 2026-03-02T03:15:00Z: that was told, and the ledger ends"
    ) as no:
        await releaser(logs, later_than=told_in(logs)).positions({0: LogRange(0, 6)})
    assert no.value.code == "ledger" and (logs.values[LEDGER], logs.values[FOOTFALL]) == (kept, told)


async def test_what_another_draws_and_tells_while_a_release_begins_is_no_older_ledger() -> None:
    logs = Logs()
    other = releaser(logs)
    await other.positions({0: LogRange(0, 6)})
    await other.handle(chunk(both(1), 0))
    panes = {2: both(2), 3: both(3)}

    async def later_than(end_ms: int) -> str | None:
        for number in list(panes):  # each time that it is asked one more
            await other.handle(chunk(panes.pop(number), 2 * number - 2))
            break
        return await told_in(logs)(end_ms)

    role = releaser(logs, later_than=later_than)
    await role.positions({0: LogRange(0, 6)})
    assert not panes and role._ledger.account.closed_through(EPOCH.epoch, "present") == 3


async def test_a_ledger_without_what_is_still_needed_is_refused() -> None:
    logs = Logs()
    await written(logs, *DAYS)
    for start in (10, 15):
        logs.start = start
        with pytest.raises(ThrongError, match=f"begins at offset {start}"):
            await Ledger(Reader(logs), logs, LEDGER).read()  # type: ignore[arg-type]


async def test_who_has_read_less_than_was_cut_does_not_read_on_and_begins_anew_where_it_may() -> None:
    """A release that had nothing to do for days: of what it missed a paused writer's records may still come."""
    logs = Logs()
    await written(logs, DAYS[0])
    late, waiting = (Ledger(Reader(logs), logs, LEDGER) for _ in "ab")  # type: ignore[arg-type]
    assert len(await late.read()) == len(await waiting.read()) == 3
    await written(logs, *DAYS[1:])
    # Between the epochs' records, that of one who was paused in the first: it would pass for a release.
    logs.values[LEDGER].insert(11, msgspec.msgpack.encode(entry(DAYS[1], 3)))
    logs.start = 9
    with pytest.raises(ThrongError, match="shortened to offset 9 before offset 3 was read"):
        await late.read()
    read = [(record.epoch, record.number) for record in await waiting.reread()]
    assert read == [(epoch, number) for epoch in DAYS[-2:] for number in (1, 2, 3)]
    assert waiting.account.over(DAYS[2]) and waiting.began_at == 9
    assert await waiting.reread() == []


async def test_who_begins_while_the_ledger_is_cut_does_not_take_what_is_left_for_all() -> None:
    logs = Logs()
    await written(logs, *DAYS)
    # The last record is of before there was such a word, so that all would be read.
    logs.values[LEDGER] += [msgspec.msgpack.encode(entry(DAYS[-1], 4))]

    class Slow(Reader):
        async def bounds(self) -> tuple[int, int]:
            found = await super().bounds()
            logs.start = 9
            return found

        def seek(self, offset: int) -> None:
            self._at = offset

    with pytest.raises(ThrongError, match="shortened to offset 9 before offset 0 was read"):
        await Ledger(Slow(logs), logs, LEDGER).read()  # type: ignore[arg-type]


async def test_the_word_of_a_writer_that_was_paused_costs_reading_and_no_more() -> None:
    logs = Logs()
    await written(logs, *DAYS)
    logs.values[LEDGER] += [msgspec.msgpack.encode(entry(DAYS[0], 4))]
    ledger = Ledger(Reader(logs), logs, LEDGER)  # type: ignore[arg-type]
    await ledger.read()
    assert ledger.began_at == 0 and ledger.account.over(DAYS[2]) and not ledger.account.over(DAYS[3])
    logs.start = 9  # where the whole is not to be had, the words before it are asked
    ledger = Ledger(Reader(logs), logs, LEDGER)  # type: ignore[arg-type]
    await ledger.read()
    assert ledger.began_at == 9 and ledger.account.over(DAYS[2])


async def test_a_place_that_does_not_hold_the_record_it_is_said_to_hold_is_not_begun_at() -> None:
    logs = Logs()
    await written(logs, *DAYS)
    values = logs.values[LEDGER]
    del values[9]
    ledger = Ledger(Reader(logs), logs, LEDGER)  # type: ignore[arg-type]
    await ledger.read()
    assert ledger.began_at == 0
    logs.start = 3  # an earlier word names a place that is as it was
    ledger = Ledger(Reader(logs), logs, LEDGER)  # type: ignore[arg-type]
    await ledger.read()
    assert ledger.began_at == 6


@pytest.mark.parametrize("found", [None, 0, 40])
async def test_what_follows_is_the_same_whether_the_past_is_read_first_or_behind_the_release(found: int | None) -> None:
    """`found`: where the records' times say that the past begins; rightly, or too late."""
    logs = Logs()
    ends = [BLOCK_MS * 734 + (number - 600) * QUARTER_MS for number in range(len(WEEK + NEXT))]
    records = [
        replace(record, end_ms=end_ms, epoch=20260302 + number // 96)
        for number, (record, end_ms) in enumerate(zip(WEEK + NEXT, ends, strict=True))
    ]
    writing = Ledger(Reader(logs), logs, LEDGER)  # type: ignore[arg-type]
    for record in records:
        await writing.append(record)
    whole = Following("Europe/Berlin")
    for record in records:
        whole.take(record)
    whole.work_out(whole.waiting())

    class Past(Reader):
        async def find(self, _: int) -> int | None:
            return found

    following = Following("Europe/Berlin")
    learning = Learning(following, History(Past(logs)), lambda: ledger.began_at)  # type: ignore[arg-type]
    ledger = Ledger(Reader(logs), logs, LEDGER, learning.take)  # type: ignore[arg-type]
    await ledger.read()
    assert ledger.began_at > 100
    await learning.learn()
    following.work_out(following.waiting())
    assert [record.number for record in following.recent()] == [record.number for record in whole.recent()]
    assert [following.of(record) for record in records[-8:]] == [whole.of(record) for record in records[-8:]]
    assert any(following.of(record) for record in records[-8:])
