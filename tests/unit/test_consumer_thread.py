"""The consumer's thread ends in order, also where its connections' readers are gone already."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from streams.agents.consumer_thread import ConsumerThread, close


class Conn:
    """A connection whose reader was cancelled by a close that was cut short."""

    def close(self, reason: object = None) -> "asyncio.Future[None]":
        reader: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        reader.cancel()
        return reader


async def test_a_close_that_was_cut_short_before_cancels_nobody() -> None:
    client = AIOKafkaClient(bootstrap_servers="127.0.0.1:1")
    client._conns[0, 0] = Conn()
    await close(client)
    assert not asyncio.current_task().cancelling()  # type: ignore[union-attr]


async def test_a_start_that_no_broker_answers_is_told_by_the_tenure_and_waits_to_be_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whose broker goes away just then, or who may open no more files, ended with four tracebacks."""
    failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
    stopped = asyncio.Event()
    thread = object.__new__(ConsumerThread)

    async def refused(_: object) -> None:
        raise KafkaConnectionError("Unable to bootstrap")

    monkeypatch.setattr(AIOKafkaConsumerThread, "on_start", refused)
    monkeypatch.setattr(ConsumerThread, "wait_until_stopped", lambda _: stopped.wait())
    thread.parent_loop = asyncio.get_running_loop()
    thread.app = SimpleNamespace(tenure=SimpleNamespace(fail=failure.set_result))
    starting = asyncio.create_task(thread.on_start())
    assert isinstance(await asyncio.wait_for(failure, 10), KafkaConnectionError)
    assert not starting.done()
    stopped.set()
    await starting
