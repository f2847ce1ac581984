"""The audit log as a worker follows it: how old its knowledge is, and what it does about a log that is not the one."""

from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from schemas.audit import GENESIS, Entry
from schemas.measures import DEFAULT_MEASURES
from schemas.policy import Rulebook
from streams.core.rules.audit import canonical, sealed
from streams.errors import ThrongError
from streams.stores import audit
from streams.stores.audit import AuditReader, adopt, append
from tests.support.world import POLICIES

BOOK = Rulebook(tuple(POLICIES), DEFAULT_MEASURES, "marketing")


class Record(NamedTuple):
    value: bytes
    timestamp: int
    offset: int
    topic: str = "audit"
    partition: int = 0


class Topic:
    """The topic in memory, its reader and its producer; reading it takes `takes_s` of the clock's time."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.before: list[bytes] = []  # what somebody else appends just before the next record
        self.read = 0
        self.now = 100.0
        self.takes_s = 0.0

    async def start(self) -> None: ...

    async def read_to_end(self) -> AsyncIterator[list[Record]]:
        self.now += self.takes_s
        new = [Record(value, 0, number) for number, value in enumerate(self.values)][self.read :]
        self.read = len(self.values)
        if new:
            yield new

    async def send_and_wait(self, _: str, value: bytes, **__: object) -> None:
        self.values += [*self.before, value]
        self.before = []


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Topic:
    made = Topic()
    monkeypatch.setattr(audit.time, "monotonic", lambda: made.now)
    return made


async def following(topic: Topic) -> AuditReader:
    reader = AuditReader(topic)  # type: ignore[arg-type]
    await reader.start()
    return reader


async def test_knowledge_is_as_old_as_the_question_that_was_answered(topic: Topic) -> None:
    reader = await following(topic)
    assert reader.fresh() and reader.age_s() == 0
    topic.now += 3.9
    assert reader.fresh()
    topic.now += 0.2
    assert not reader.fresh()
    topic.takes_s = 10.0
    await reader.read()
    # What came while it was read for 10 s is not known.
    assert reader.age_s() == 10 and not reader.fresh()


async def test_nothing_is_done_by_a_log_that_is_not_the_one_that_was_written(topic: Topic) -> None:
    reader = await following(topic)
    topic.values.append(canonical(sealed(Entry("", "", "apply", "", "", BOOK, "a" * 64))))
    topic.now += 5
    with pytest.raises(ThrongError, match="record 0 of the audit log does not follow .* see 'throng audit verify'"):
        await reader.read()
    assert not reader.fresh()


async def test_of_those_who_adopt_at_once_the_first_counts(topic: Topic) -> None:
    reader = await following(topic)
    other = replace(BOOK, purpose="traffic")
    topic.before = [canonical(sealed(Entry("", "another", "adopt", "", "", other, GENESIS)))]
    await adopt(reader, topic, "audit", BOOK, "me")  # type: ignore[arg-type]
    assert (reader.chain.rules, reader.chain.void) == (other, 1)
    await adopt(reader, topic, "audit", BOOK, "me")  # type: ignore[arg-type]
    assert len(topic.values) == 2


async def test_who_comes_second_is_told_so(topic: Topic) -> None:
    reader = await following(topic)
    await adopt(reader, topic, "audit", BOOK, "me")  # type: ignore[arg-type]
    topic.before = [canonical(sealed(Entry("", "another", "apply", "", "", BOOK, reader.chain.head)))]
    assert await append(reader, topic, "audit", ("apply", "", "", BOOK), "me") is None  # type: ignore[arg-type]
    assert await append(reader, topic, "audit", ("apply", "", "", BOOK), "me") is not None  # type: ignore[arg-type]


async def test_what_is_no_entry_is_passed_over_where_one_follows_and_else_nothing_is_done(
    topic: Topic, caplog: pytest.LogCaptureFixture
) -> None:
    reader = await following(topic)
    await adopt(reader, topic, "audit", BOOK, "me")  # type: ignore[arg-type]
    topic.before = [b"a trial", b""]
    assert await append(reader, topic, "audit", ("apply", "", "", BOOK), "me") is not None  # type: ignore[arg-type]
    assert reader.chain.foreign == 2
    assert "audit, partition 0, offset 1: passed over up to the next entry" in caplog.text
    topic.values.append(b"a trial")
    topic.now += 5
    for _ in range(2):
        with pytest.raises(
            ThrongError, match="audit, partition 0, offset 4: the record is no entry, and none follows it"
        ):
            await reader.read()
    assert not reader.fresh() and "a trial" not in caplog.text
    # Somebody's decision that came second says nothing of what was there.
    topic.values.append(canonical(sealed(Entry("", "", "apply", "", "late", BOOK, GENESIS))))
    with pytest.raises(ThrongError, match="audit, partition 0, offset 4: the record is no entry, and none follows it"):
        await reader.read()
