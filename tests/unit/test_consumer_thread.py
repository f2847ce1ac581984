"""The consumer's thread ends in order, also where its connections' readers are gone already."""

import asyncio

from aiokafka.client import AIOKafkaClient

from streams.agents.consumer_thread import close


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
