"""What brokers answer to fetches, from the socket into one piece of memory, for one client alone.

In: the bytes of a connection. Out: each answer as aiokafka's connection would have given it, but for the records of a
long answer to a fetch: those are views of the memory that the kernel wrote them to, which is used again once nobody
looks at them. Stock each byte is copied four times more on its way (the loop's buffer, `StreamReader`'s, the answer,
each partition's records), and a task is woken for every 128 kB. The records of a partition that is held wait, and a
view would keep the whole answer: so no more than `MOST_KEPT` answers of a connection are kept, and what comes while all
of these are looked at is copied as stock.

Kept: the beginning of an answer that is not whole yet. `read_in_place` exchanges one name in one client's
`_get_conn`, and a connection's protocol once it is connected and authenticated; while nothing is asked nothing
comes. Writing, and telling of a connection's end, stay with aiokafka's own protocol.

What can fail: an answer that can't be read, or the connection's end, close the connection as stock; aiokafka connects
anew.
"""

import asyncio
import logging
import time
import weakref
from types import FunctionType, SimpleNamespace
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.protocol.fetch import FetchRequest

from streams.agents.reused import looked_at
from streams.stores.rebound import rebind

log = logging.getLogger(__name__)

LENGTH_BYTES: Final = 4
# What is read at once while no long answer is on its way; live nearly all answers are shorter.
AT_ONCE: Final = 1 << 16
# Shorter fields than this are given as bytes, since names are decoded from them.
LONG_FIELD: Final = 1024
# Of a connection: one that is read while another is looked at; more are there only while partitions are held.
MOST_KEPT: Final = 2


class Memory:
    """Memory for long answers."""

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    def unused(self, size: int) -> memoryview | None:
        """That many bytes that nobody looks at; None while all that may be kept are looked at."""
        for number, kept in enumerate(self._kept):
            if not looked_at(kept):
                if len(kept) < size:
                    self._kept[number] = bytearray(size)
                return memoryview(self._kept[number])[:size]
        if len(self._kept) == MOST_KEPT:
            return None
        self._kept.append(bytearray(size))
        return memoryview(self._kept[-1])


class Fields:
    """Stands for `BytesIO` where aiokafka takes an answer apart: long fields are views."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def read(self, number: int) -> bytes | memoryview:
        """The next bytes, fewer at the end."""
        begin = self._at
        self._at = min(begin + number, len(self._data))
        field = self._data[begin : self._at]
        return field if len(field) >= LONG_FIELD else bytes(field)


# `_handle_frame` names `io.BytesIO` as a global of its module.
_stock = AIOKafkaConnection._handle_frame
_handle_in_place = FunctionType(_stock.__code__, {**_stock.__globals__, "io": SimpleNamespace(BytesIO=Fields)})


class Answers(asyncio.BufferedProtocol):
    """A connection's protocol: cuts what comes into answers, and hands them to the connection."""

    def __init__(self, connection: AIOKafkaConnection) -> None:
        # As aiokafka's reader: a connection that is forgotten must be able to go.
        self._connection = weakref.ref(connection)
        self._stock = connection._protocol
        self._memory = Memory()
        self._short = memoryview(bytearray(AT_ONCE))
        self._filled = 0
        self._long: memoryview | None = None
        self._in_place = False
        self._read = 0

    def get_buffer(self, _: int) -> memoryview:
        """Where the next bytes go."""
        return self._short[self._filled :] if self._long is None else self._long[self._read :]

    def buffer_updated(self, number: int) -> None:
        """So many have come."""
        self._stock.heard_at = time.monotonic()
        try:
            if self._long is None:
                self._filled += number
                self._cut()
            else:
                self._read += number
                self._hand_over_long()
        except Exception as error:  # noqa: BLE001 - the connection tells whoever waits for an answer
            # Not what it says: it may hold a record.
            log.error("an answer could not be read: %s", type(error).__name__)
            self._close(error)

    def eof_received(self) -> None:
        """The broker says no more."""
        self._stock.eof_received()
        self._close(EOFError("the broker closed the connection"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection's end."""
        self._stock.connection_lost(exc)
        self._close(exc)

    def pause_writing(self) -> None:
        """The broker takes no more for now."""
        self._stock.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        self._stock.resume_writing()

    def _cut(self) -> None:
        """Hand the whole answers over; of one that is longer than what is read at once, take what is there."""
        at = 0
        while self._filled - at >= LENGTH_BYTES:
            begin = at + LENGTH_BYTES
            size = int.from_bytes(self._short[at:begin], "big", signed=True)
            if size < 0:
                raise ValueError(f"an answer of {size} bytes")
            if LENGTH_BYTES + size > len(self._short):
                kept = self._memory.unused(size)
                self._in_place = kept is not None
                self._long = memoryview(bytearray(size)) if kept is None else kept
                self._read = self._filled - begin
                self._long[: self._read] = self._short[begin : self._filled]
                at = self._filled
            elif begin + size > self._filled:
                break
            else:
                at = begin + size
                self._hand_over(bytes(self._short[begin:at]))
        left = self._filled - at
        self._short[:left] = self._short[at : self._filled]
        self._filled = left

    def _hand_over_long(self) -> None:
        if self._long is not None and self._read == len(self._long):
            answer, self._long = self._long, None
            self._hand_over(answer if self._in_place else bytes(answer))

    def _hand_over(self, answer: bytes | memoryview) -> None:
        connection = self._connection()
        if connection is None or connection._reader is None:  # closed since it was asked
            return
        _, request, _ = connection._requests[0]
        if isinstance(answer, memoryview) and getattr(request, "API_KEY", None) == FetchRequest.API_KEY:
            _handle_in_place(connection, answer)
        else:
            connection._handle_frame(bytes(answer))

    def _close(self, error: Exception | None) -> None:
        connection = self._connection()
        if connection is not None and connection._reader is not None:
            connection.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)


def read_in_place(client: AIOKafkaClient) -> None:
    """Make the connections that a client opens from now on read like this."""

    async def create(*args: Any, **kwargs: Any) -> AIOKafkaConnection:
        connection = await create_conn(*args, **kwargs)
        take_over(connection)
        return connection

    rebind(client, "_get_conn", create_conn=create)


def take_over(connection: AIOKafkaConnection) -> None:
    """Read a connection, of which nothing has been asked yet, in place of aiokafka's reader."""
    transport = connection._writer.transport
    connection._read_task.cancel()
    transport.set_protocol(Answers(connection))
