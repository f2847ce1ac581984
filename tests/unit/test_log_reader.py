"""Readers of control topics end in order while Kafka is away."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.consumer.fetcher import Fetcher

from streams.stores.log import TailReader


@pytest.fixture
async def reader() -> TailReader:
    """One whose fetch waits for its next attempt, as after its broker has gone."""
    reader = TailReader("127.0.0.1:1", "t")
    waiting = [asyncio.create_task(asyncio.sleep(60)) for _ in range(2)]
    await asyncio.sleep(0)
    fetcher = SimpleNamespace(_fetch_task=waiting[0], _fetch_waiters=set(), _pending_tasks={waiting[1]})
    fetcher.close = lambda: Fetcher.close(fetcher)
    reader._consumer._closed, reader._consumer._fetcher = False, fetcher
    return reader


async def test_a_reader_stops_while_its_fetch_waits_for_the_next_attempt(reader: TailReader) -> None:
    await reader.stop()
    assert reader._consumer._closed


async def test_who_is_cancelled_while_it_stops_a_reader_is_cancelled(reader: TailReader) -> None:
    stopping = asyncio.create_task(reader.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
