"""A broker of a few requests, for what a real one can't be made to do on time: fall silent, refuse, or lose an answer.

Speaks old versions of ApiVersions, Metadata, InitProducerId and the v2 record format's Produce. One topic `t`
of one partition. Keeps the log as a real one does for an idempotent producer: a batch that it has is not taken again,
one that leaves a hole in the sequence is refused.
"""

import asyncio
import struct
from collections import Counter
from io import BytesIO
from typing import Any

from aiokafka.errors import DuplicateSequenceNumber, OutOfOrderSequenceNumber
from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.metadata import MetadataResponse_v1
from aiokafka.protocol.produce import ProduceRequest_v3, ProduceResponse_v3
from aiokafka.protocol.transaction import InitProducerIdResponse_v0
from aiokafka.record.default_records import DefaultRecordBatch

PIECES = 10
PRODUCE, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 3, 18, 22


class Broker:
    """Attributes: `log`, the values taken; `silent`, questions other than for versions get no answer; `refuse`, the
    error code that a send gets; `leader`, -1 for none; `deaf`, sends are taken, but their answer is lost; `piece_s`, an
    answer comes in pieces, so long one after the other; `asked`, how often for what, by Kafka's number of it."""

    def __init__(self) -> None:
        self.log: list[bytes] = []
        self.silent = self.deaf = False
        self.refuse = 0
        self.leader = 0
        self.port = 0
        self.piece_s = 0.0
        self.asked: Counter[int] = Counter()
        self._sequence = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Gone, with all connections, until `start`."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                body = BytesIO(await reader.readexactly(size))
                key, _, correlation, name = struct.unpack(">hhih", body.read(10))
                body.read(max(name, 0))
                self.asked[key] += 1
                answer = None if self.silent else self._answer(key, body)
                if answer is not None:
                    data = struct.pack(">i", correlation) + answer.encode()
                    await self._write(writer, struct.pack(">i", len(data)) + data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        size = -(-len(data) // PIECES) if self.piece_s else len(data)
        for begin in range(0, len(data), size):
            await asyncio.sleep(self.piece_s)
            writer.write(data[begin : begin + size])

    def _answer(self, key: int, body: BytesIO) -> Any:
        if key == API_VERSIONS:
            versions = [(PRODUCE, 3, 3), (METADATA, 1, 1), (API_VERSIONS, 0, 0), (INIT_PRODUCER_ID, 0, 0)]
            return ApiVersionResponse_v0(0, versions)
        if key == METADATA:
            partitions = [(0, 0, self.leader, [0], [0])]
            return MetadataResponse_v1([(0, "127.0.0.1", self.port, None)], 0, [(0, "t", False, partitions)])
        if key == INIT_PRODUCER_ID:
            return InitProducerIdResponse_v0(0, 0, 7, 0)
        assert key == PRODUCE
        request = ProduceRequest_v3.decode(body)
        ((topic, ((partition, data),)),) = request.topics
        code = self.refuse or self._take(bytes(data))
        return None if self.deaf else ProduceResponse_v3([(topic, [(partition, code, len(self.log), -1)])], 0)

    def _take(self, data: bytes) -> int:
        batch = DefaultRecordBatch(data)
        if batch.base_sequence != self._sequence:
            known = batch.base_sequence < self._sequence
            return int((DuplicateSequenceNumber if known else OutOfOrderSequenceNumber).errno)
        values = [record.value for record in batch]
        self.log += values
        self._sequence += len(values)
        return 0

    def lose_state(self) -> None:
        """As a broker that came back without what it knew of its producers, by an older copy of its disk."""
        self._sequence = 0
