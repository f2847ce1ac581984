"""Brokers that take what they are asked and say nothing, on real sockets."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError, RequestTimedOutError
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v0

from streams.agents.answers import read_in_place
from streams.agents.producing import Producer
from streams.stores import silent
from streams.stores.connection import sentence_of
from streams.stores.silent import Order
from tests.support.broker import METADATA, Broker

SHORT_S = 0.3
LONG_MS = 120_000


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(silent, "ANSWER_S", SHORT_S)
    silent.silent.clear()
    yield
    silent.silent.clear()


@asynccontextmanager
async def broker() -> AsyncIterator[Broker]:
    made = Broker()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


@asynccontextmanager
async def client_of(*brokers: Broker) -> AsyncIterator[AIOKafkaClient]:
    """One that waits for two minutes, and has asked nothing of its own accord."""
    servers = [f"127.0.0.1:{each.port}" for each in brokers]
    client = AIOKafkaClient(bootstrap_servers=servers, request_timeout_ms=LONG_MS)
    await client.bootstrap()
    try:
        yield client
    finally:
        await client.close()


def place(broker: Broker) -> tuple[str, int]:
    return "127.0.0.1", broker.port


async def test_an_answer_that_a_broker_has_at_once_is_not_waited_for_long() -> None:
    async with broker() as asked, client_of(asked) as client:
        await client.send(0, MetadataRequest([]))
        asked.silent = True
        with pytest.raises(RequestTimedOutError):
            async with asyncio.timeout(LONG_MS / 4000):
                await client.send(0, MetadataRequest([]))
        assert place(asked) in silent.silent
        assert not any(connection.connected() for connection in client._conns.values())

        asked.silent = False
        await client.send(0, MetadataRequest([]))
        assert not silent.silent


@pytest.mark.parametrize("in_place", [False, True])
async def test_an_answer_is_waited_for_while_it_comes(in_place: bool) -> None:
    async with broker() as asked, client_of(asked) as client:
        if in_place:
            read_in_place(client)
        await client.ready(0)
        asked.piece_s = SHORT_S / 3
        begun = time.monotonic()
        await client.send(0, MetadataRequest([]))
        assert time.monotonic() - begun > 2 * SHORT_S  # or it shows nothing
        assert not silent.silent


async def test_what_a_broker_may_hold_back_is_waited_for() -> None:
    async with broker() as asked:
        producer = Producer(f"127.0.0.1:{asked.port}", LONG_MS)
        await producer.start()
        try:
            await (await producer.send("t", b"one", partition=0))
            asked.deaf = True
            waiting = await producer.send("t", b"two", partition=0)
            await asyncio.sleep(4 * SHORT_S)
            assert not waiting.done()
            assert producer.waiting_s() > 3 * SHORT_S
            assert place(asked) in silent.silent  # all the same it is asked last for anything else
        finally:
            producer._patient.give_up(ConnectionError())
            await producer.stop()


async def test_who_takes_a_connection_and_no_more_is_not_waited_for_long() -> None:
    async with AsyncExitStack() as stack:
        mute = await asyncio.start_server(lambda _, writer: stack.callback(writer.close), "127.0.0.1", 0)
        stack.callback(mute.close)
        port = mute.sockets[0].getsockname()[1]
        async with broker() as answering, client_of(answering) as client:
            client.cluster.update_metadata(MetadataResponse_v0([(5, "127.0.0.1", port)], []))
            async with asyncio.timeout(LONG_MS / 4000):
                assert not await client.ready(5)
        assert ("127.0.0.1", port) in silent.silent


async def test_the_silent_ones_are_asked_last() -> None:
    async with broker() as first, broker() as second, client_of(first, second) as client:
        both = MetadataResponse_v0([(1, *place(first)), (2, *place(second))], [])
        client.cluster.update_metadata(both)
        assert {client.get_random_node() for _ in range(60)} == {1, 2}
        assert {client.hosts[0][1] for _ in range(60)} == {first.port, second.port}

        silent.silent.add(place(first))
        assert {client.get_random_node() for _ in range(60)} == {2}
        assert {client.hosts[0][1] for _ in range(60)} == {second.port}
        first.asked.clear()
        second.asked.clear()
        for _ in range(20):
            client.cluster.update_metadata(both)
            assert await client._metadata_update(client.cluster, [])
        assert (first.asked[METADATA], second.asked[METADATA]) == (0, 20)

        silent.silent.add(place(second))
        client.cluster.update_metadata(both)
        assert {client.get_random_node() for _ in range(60)} == {1, 2}
        silent.silent.clear()
        for _ in range(60):
            client.cluster.update_metadata(both)
            assert await client._metadata_update(client.cluster, [])
        assert first.asked[METADATA] > 0 < second.asked[METADATA] - 20


async def test_nobody_is_known_before_the_first_answer() -> None:
    async with broker() as only, client_of(only) as client:
        assert not Order(client)._silent("bootstrap-0")


async def test_who_takes_no_connection_is_not_waited_for_long() -> None:
    """A queue that is full: what comes next gets no answer, as from a machine that is gone."""
    with socket.socket() as gone, ExitStack() as waiting:
        gone.bind(("127.0.0.1", 0))
        gone.listen(0)
        port = gone.getsockname()[1]
        for _ in range(3):
            early = waiting.enter_context(socket.socket())
            early.setblocking(False)
            early.connect_ex(("127.0.0.1", port))
        async with broker() as answering, client_of(answering) as client:
            client.cluster.update_metadata(MetadataResponse_v0([(5, "127.0.0.1", port)], []))
            async with asyncio.timeout(LONG_MS / 4000):
                assert not await client.ready(5)
        assert ("127.0.0.1", port) in silent.silent


async def test_all_clients_ask_anew_once_one_has_found_a_broker_silent() -> None:
    async with broker() as found, broker() as other, client_of(found) as client, client_of(other):
        assert other.asked[METADATA] == 1
        await client.ready(0)
        found.silent = True
        with pytest.raises(RequestTimedOutError):
            await client.send(0, MetadataRequest([]))
        async with asyncio.timeout(30):
            while other.asked[METADATA] < 2:  # noqa: ASYNC110 - on the other side of a socket
                await asyncio.sleep(0.02)
        assert place(other) not in silent.silent

        await asyncio.sleep(0)
        silent.found_silent(*place(found))  # as all know by now
        await asyncio.sleep(SHORT_S)
        assert other.asked[METADATA] == 2


async def test_clients_of_other_threads_hear_of_it() -> None:
    async def listen(port: int, begun: threading.Event, over: threading.Event) -> None:
        client = AIOKafkaClient(bootstrap_servers=f"127.0.0.1:{port}", metadata_max_age_ms=LONG_MS)
        await client.bootstrap()
        begun.set()
        await asyncio.to_thread(over.wait, LONG_MS / 1000)
        await client.close()

    begun, over = threading.Event(), threading.Event()
    async with broker() as other:
        elsewhere = threading.Thread(target=lambda: asyncio.run(listen(other.port, begun, over)))
        elsewhere.start()
        try:
            assert await asyncio.to_thread(begun.wait, 30)
            await asyncio.sleep(SHORT_S)  # its loop sleeps, and must be woken
            asked = other.asked[METADATA]
            silent.found_silent("127.0.0.1", 1)
            async with asyncio.timeout(30):
                while other.asked[METADATA] == asked:  # noqa: ASYNC110 - in another thread
                    await asyncio.sleep(0.02)
        finally:
            over.set()
            await asyncio.to_thread(elsewhere.join)


def test_who_asks_a_broker_that_is_silent_by_a_command_hears_what_to_do() -> None:
    said = sentence_of(NodeNotReadyError("Attempt to send a request to node which is not ready (node id 1)."))
    assert said == "Kafka: one of its brokers does not answer: try again, or see to it"
