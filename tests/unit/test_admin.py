"""Questions to a cluster of which one broker is gone, and still in the metadata."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v1

from streams.local.ports import free_ports
from streams.settings import load_settings
from streams.stores import silent
from streams.stores.admin import Admin, open_admin
from tests.support.broker import Broker

GONE = 7
TIMES = 20


@pytest.fixture
async def admin() -> AsyncIterator[Admin]:
    broker = Broker()
    await broker.start()
    made = await open_admin(load_settings(None, {"kafka.bootstrap": f"127.0.0.1:{broker.port}"}, {}))
    try:
        yield made
    finally:
        await made.close()
        await broker.stop()
        silent.silent.clear()


def one_is_gone(admin: Admin, controller: int) -> None:
    """Nobody knows yet that it is, as in the first seconds."""
    silent.silent.clear()
    (there,) = (broker for broker in admin._client.cluster.brokers() if broker.nodeId != GONE)
    gone = (GONE, "127.0.0.1", free_ports(1)[0], None)
    admin._client.cluster.update_metadata(
        MetadataResponse_v1([(there.nodeId, there.host, there.port, None), gone], controller, [])
    )


async def test_another_broker_is_asked_where_one_is_gone(admin: Admin) -> None:
    for _ in range(TIMES):
        one_is_gone(admin, controller=0)
        assert await admin.list_topics() == ["t"]
        await asyncio.sleep(0)


async def test_a_broker_that_must_answer_itself_is_asked_and_no_other(admin: Admin) -> None:
    one_is_gone(admin, controller=0)
    with pytest.raises(NodeNotReadyError):
        await admin._send_request(MetadataRequest(None), GONE)


async def test_a_controller_that_is_gone_is_replaced_by_who_is_named_next(admin: Admin) -> None:
    one_is_gone(admin, controller=GONE)
    assert admin._client.cluster.controller.nodeId == GONE
    async with asyncio.timeout(10):  # of the 20 s that it has
        await admin._send_to_controller(MetadataRequest(None))
    assert admin._client.cluster.controller.nodeId == 0


async def test_a_controller_that_nobody_knows_is_asked_for(admin: Admin) -> None:
    one_is_gone(admin, controller=GONE + 1)
    assert admin._client.cluster.controller is None
    async with asyncio.timeout(10):
        await admin._send_to_controller(MetadataRequest(None))


async def test_a_controller_is_waited_for_no_longer_than_for_an_answer(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody_is_named(*_: object) -> bool:
        one_is_gone(admin, controller=GONE)
        return False

    monkeypatch.setattr(admin._client, "_metadata_update", nobody_is_named)
    monkeypatch.setattr(admin._client, "_request_timeout_ms", 500)
    one_is_gone(admin, controller=GONE)
    async with asyncio.timeout(10):
        with pytest.raises(TimeoutError):
            await admin._send_to_controller(MetadataRequest(None))


async def test_who_refuses_a_connection_is_asked_last(admin: Admin) -> None:
    one_is_gone(admin, controller=0)
    client = admin._client
    gone = client.cluster.broker_metadata(GONE)
    assert {client.get_random_node() for _ in range(60)} == {0, GONE}
    assert not await client.ready(GONE)
    assert (gone.host, gone.port) in silent.silent
