"""What throng didn't write in the topics that its workers read whole: passed over; what it may have: refused."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import msgspec
import orjson
import pytest

from schemas import epochs, ledger, salts
from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.salts import WrappedSalt
from streams.errors import ThrongError
from streams.stores.epochs import EpochReader
from streams.stores.ledger import Ledger
from streams.stores.ledger_history import History
from streams.stores.own import Own
from streams.stores.salts import SaltLog
from tests.support.world import epochs_at

EPOCH = epochs_at(1_772_420_400_000)[0]
SALT = WrappedSalt(EPOCH.epoch, "key", b"nonce", b"sealed")
DRAWN = [
    LedgerRecord(EPOCH.epoch + day, "present", number, 0, 1, "release", b"", 1.0, b"", b"", 0, 0.01, "one")
    for day in range(4)
    for number in (1, 2)
]
ATTACH = {"imsi": "001010000000001", "ts": 1_772_427_600_000, "cell": "001-01-0000001"}
FOREIGN = {
    "no value": None,
    "nothing": b"",
    "text": b"a trial",
    "zeros": bytes(8),
    "an event": orjson.dumps(ATTACH),
    "an event, packed": msgspec.msgpack.encode(ATTACH),
    "an empty map": b"\x80",
    "an empty object": b"{}",
    "an array that nests deep": b"\x91" * 100_000,
    "a map that nests deep": b"\x81\xa1a" + b"\x91" * 100_000,
    "an object that nests deep": b'{"a":' + b"[" * 100_000,
    "a name that is no text": b"\x81\xa1\xff\x01",
    "an object's name that is no text": b'{"\xff": 1}',
    "a map that ends early": b"\x82\xa5epoch\x01",
    "an object that ends early": b'{"epoch": 20260302',
}


class Record(NamedTuple):
    value: bytes | None
    offset: int
    topic: str = "north.topic"
    partition: int = 0


class Log:
    """In place of a reader of a topic."""

    def __init__(self, *values: bytes | None, start: int = 0) -> None:
        self.values = values
        self._begin = self._at = start

    async def start(self) -> None: ...

    async def bounds(self) -> tuple[int, int]:
        return self._begin, len(self.values)

    async def find(self, _: int) -> int:
        return self._begin

    def seek(self, offset: int) -> None:
        self._at = offset

    async def read_to_end(self, until: int | None = None) -> AsyncIterator[list[Record]]:
        first, self._at = self._at, len(self.values[:until])
        yield [Record(value, first + n) for n, value in enumerate(self.values[first:until])]


async def read_epochs(log: Log) -> tuple[list[Epoch], Own[Epoch]]:
    reader = EpochReader(log)  # type: ignore[arg-type]
    await reader.start()
    return reader.records, reader.own


async def read_salts(log: Log) -> tuple[list[WrappedSalt], Own[WrappedSalt]]:
    reader = SaltLog(log)  # type: ignore[arg-type]
    await reader.read()
    return list(reader.first.values()), reader.own


async def read_ledger(log: Log) -> tuple[list[LedgerRecord], Own[LedgerRecord]]:
    reader = Ledger(log, None, "ledger")  # type: ignore[arg-type]
    return await reader.read(), reader.own


Reading = Callable[[Log], Awaitable[tuple[list[object], Own[object]]]]
TOPICS: dict[str, tuple[Reading, bytes]] = {
    "epochs": (read_epochs, msgspec.json.encode(EPOCH)),  # type: ignore[dict-item]
    "salts": (read_salts, msgspec.msgpack.encode(SALT)),  # type: ignore[dict-item]
    "ledger": (read_ledger, msgspec.msgpack.encode(DRAWN[0])),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("value", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("topic", TOPICS)
async def test_what_no_release_wrote_is_passed_over_told_once_and_counted(
    topic: str, value: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    read, written = TOPICS[topic]
    found, own = await read(Log(value, written, value))
    assert len(found) == 1 and own.passed_over == 2
    (line,) = caplog.messages
    assert line.startswith("north.topic, partition 0, offset ") and line.endswith("more are only counted")
    assert value is None or "trial" not in line


@pytest.mark.parametrize("topic", TOPICS)
async def test_what_another_release_may_have_written_is_refused_by_its_place_without_what_it_says(topic: str) -> None:
    read, written = TOPICS[topic]
    decode, encode = (
        (msgspec.json.decode, msgspec.json.encode)
        if topic == "epochs"
        else (msgspec.msgpack.decode, msgspec.msgpack.encode)
    )
    fields = decode(written)
    for name in {"epochs": epochs, "salts": salts, "ledger": ledger}[topic].NAMED:
        for changed in ({name: fields[name], "other": "secret"}, fields | {name: {"secret": "secret"}}):
            with pytest.raises(
                ThrongError, match="north.topic, partition 0, offset 1: the record is not as this"
            ) as told:
                await read(Log(written, encode(changed), written))
            assert told.value.code == topic and "secret" not in told.value.sentence


def test_every_record_has_the_names_by_which_it_is_told_from_others() -> None:
    assert set(msgspec.json.decode(TOPICS["epochs"][1])) >= epochs.NAMED
    assert set(msgspec.msgpack.decode(TOPICS["salts"][1])) >= salts.NAMED
    assert set(msgspec.msgpack.decode(TOPICS["ledger"][1])) >= ledger.NAMED


async def test_foreign_records_change_nothing_of_the_ledgers_account_wherever_they_stand() -> None:
    async def written(*values: bytes | None, start: int = 0) -> tuple[Log, Ledger]:
        log = Log(*values, start=start)
        reader = Ledger(log, None, "ledger")  # type: ignore[arg-type]
        await reader.read()
        return log, reader

    values: list[bytes | None] = []
    for record in DRAWN:  # each names where reading begins, as a writer does
        _, reader = await written(*values)
        values += [None, msgspec.msgpack.encode(msgspec.structs.replace(record, begins=reader.account.begins())), b"x"]
    values += [b"x"] * 20
    for start in (0, 12):  # all of it, and shortened
        log, reader = await written(*values, start=start)
        assert reader.began_at == 13
        for record in DRAWN:
            assert not reader.account.take(record), "it would be drawn again"
        past = History(log).between(0, reader.began_at)  # type: ignore[arg-type]
        told = [(each.epoch, each.number) async for part in past for each in part]
        assert told == ([(each.epoch, each.number) for each in DRAWN[:4]] if start == 0 else [])
