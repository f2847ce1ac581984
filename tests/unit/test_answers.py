"""Answers read in place: the same as aiokafka's own reader gives, however they are cut on their way."""

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v4
from hypothesis import example, given
from hypothesis import strategies as st

from streams.agents.answers import AT_ONCE, LENGTH_BYTES, MOST_KEPT, Answers, Memory, take_over

SIZES = st.sampled_from([0, 1, 3, 4, 700, AT_ONCE - 5, AT_ONCE - 4, AT_ONCE - 3, AT_ONCE, 3 * AT_ONCE + 1])
FETCH = 1, 4  # key and version


class Asked(SimpleNamespace):
    """Stands for a connection: what it is handed."""

    def __init__(self) -> None:
        requests = deque([(1, None, None)])
        super().__init__(_protocol=SimpleNamespace(), _reader=object(), _requests=requests, handed=[], closed=None)

    def _handle_frame(self, answer: bytes) -> None:
        self.handed.append(answer)

    def close(self, reason: object, exc: Exception) -> None:
        self._reader, self.closed = None, exc


def put(answers: Answers, data: bytes, most: int) -> None:
    """As an event loop does: as much as there is room for, `most` at once."""
    while data:
        room = answers.get_buffer(-1)
        taken = min(len(room), most, len(data))
        room[:taken] = data[:taken]
        answers.buffer_updated(taken)
        data = data[taken:]


@given(st.lists(SIZES, max_size=6), st.sampled_from([1_000, AT_ONCE - 1, AT_ONCE, 1 << 20]))
@example([3 * AT_ONCE, 0, 5, 2 * AT_ONCE], AT_ONCE)
def test_answers_arrive_whole_and_in_order_however_they_are_cut(sizes: list[int], most: int) -> None:
    wanted = [np.random.default_rng(size).bytes(size) for size in sizes]
    asked = Asked()
    put(Answers(asked), b"".join(struct.pack(">i", len(each)) + each for each in wanted), most)
    assert asked.handed == wanted
    assert asked.closed is None


def test_a_length_below_zero_closes_the_connection() -> None:
    asked = Asked()
    put(Answers(asked), struct.pack(">i", -7), 100)
    assert isinstance(asked.closed, ValueError)


def test_what_comes_after_the_end_is_dropped() -> None:
    asked = Asked()
    asked._reader = None
    put(Answers(asked), struct.pack(">i", 3) + b"abc", 100)
    assert asked.handed == []


def test_memory_is_used_again_only_when_nobody_looks_at_it() -> None:
    memory = Memory()
    first = memory.unused(100)
    assert first is not None
    part = first[10:20]
    first[:] = bytes(range(100))
    del first
    others = [memory.unused(100) for _ in range(MOST_KEPT)]
    assert others.pop() is None
    for other in others:
        assert other is not None
        other[:] = bytes(100)
    assert part == bytes(range(10, 20))
    kept = np.frombuffer(part, np.uint8).__array_interface__["data"][0] - 10
    del part
    again = {np.frombuffer(memory.unused(100) or b"", np.uint8).__array_interface__["data"][0] for _ in range(3)}
    assert again == {kept}
    assert len(memory.unused(1_000) or b"") == 1_000


def answer_of(records: list[bytes]) -> bytes:
    partitions = [(number, 0, 9, 9, [(5, 6)], each) for number, each in enumerate(records)]
    return FetchResponse_v4.SCHEMA.encode([0, [("attach", partitions)]])


@asynccontextmanager
async def broker(answer: Callable[[int], bytes | None]) -> AsyncIterator[int]:
    """A broker's port; it answers the nth fetch, or hangs up at None."""
    fetches = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal fetches
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(LENGTH_BYTES))
                key, _, number = struct.unpack_from(">hhi", await reader.readexactly(size))
                said: bytes | None = struct.pack(">hihhh", 0, 1, FETCH[0], 0, FETCH[1])
                if key == FETCH[0]:
                    said = answer(fetches)
                    fetches += 1
                if said is None:
                    break
                writer.write(struct.pack(">ii", len(said) + 4, number) + said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def connected(port: int) -> AIOKafkaConnection:
    connection = await create_conn("127.0.0.1", port)
    take_over(connection)
    return connection


def fetch() -> FetchRequest:
    return FetchRequest(100, 1, 1 << 20, 1, [("attach", [(0, 0, 1 << 20)])])


async def test_a_fetch_is_answered_as_by_aiokafkas_own_reader_and_long_records_are_not_copied() -> None:
    records = [b"", b"short", np.random.default_rng(1).bytes(500_000), bytes(2_000)]
    async with broker(lambda number: answer_of(records[: number + 1] if number < 4 else [b"later"] * 9)) as port:
        connection = await connected(port)
        stock = await create_conn("127.0.0.1", port)
        before = [await connection.send(fetch()) for _ in range(4)]
        # What came later lies elsewhere.
        later = await stock.send(fetch()), await connection.send(fetch())
        assert later[0].topics == later[1].topics
        for number, response in enumerate(before):
            assert [tuple(each) for each in response.topics[0][1]] == [
                (place, 0, 9, 9, [(5, 6)], each) for place, each in enumerate(records[: number + 1])
            ]
        assert isinstance(before[3].topics[0][1][2][-1], memoryview)
        connection.close()
        stock.close()


async def test_records_that_wait_for_long_keep_no_whole_answers_but_a_few() -> None:
    records = [np.random.default_rng(size).bytes(size) for size in (3_000, 200_000)]
    async with broker(lambda _: answer_of(records)) as port:
        connection = await connected(port)
        waiting = [(await connection.send(fetch())).topics[0][1][0][-1] for _ in range(MOST_KEPT + 3)]
        assert [type(each) for each in waiting] == [memoryview] * MOST_KEPT + [bytes] * 3
        assert {bytes(each) for each in waiting} == {records[0]}
        del waiting[0]
        assert type((await connection.send(fetch())).topics[0][1][1][-1]) is memoryview
        connection.close()


async def test_whoever_waits_when_the_broker_hangs_up_is_told_and_the_connection_is_closed() -> None:
    async with broker(lambda _: None) as port:
        connection = await connected(port)
        with pytest.raises(KafkaConnectionError):
            await asyncio.wait_for(connection.send(fetch()), 5)
        assert not connection.connected()
        with pytest.raises(KafkaConnectionError):
            await connection.send(fetch())


async def test_an_answer_that_cannot_be_read_closes_the_connection() -> None:
    async with broker(lambda _: answer_of([bytes(2 * AT_ONCE)])[:-1]) as port:
        connection = await connected(port)
        with pytest.raises(KafkaConnectionError):
            await asyncio.wait_for(connection.send(fetch()), 5)
        assert not connection.connected()


async def test_closing_ends_the_connection() -> None:
    async with broker(lambda _: answer_of([b"x"])) as port:
        connection = await connected(port)
        await connection.send(fetch())
        await asyncio.wait_for(connection.close(), 5)
        assert not connection.connected()


def test_aiokafka_still_names_what_is_exchanged() -> None:
    assert {"io", "BytesIO"} <= set(AIOKafkaConnection._handle_frame.__code__.co_names)
    assert "create_conn" in AIOKafkaClient._get_conn.__code__.co_names
    assert AIOKafkaConnection._handle_frame.__closure__ is AIOKafkaClient._get_conn.__closure__ is None
