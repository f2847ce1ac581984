"""Questions and orders to a cluster, for whoever of its brokers is there.

aiokafka's own admin client (0.14.0, `admin/client.py`) asks any broker that the metadata names and gives up if that one
is gone, which for some seconds after a loss is one in three; and waits for a lost controller as long as for an answer.
"""

import asyncio
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.settings import Settings
from streams.stores.connection import client_options, no_broker

REQUEST_MS = 20_000


class Admin(AIOKafkaAdminClient):
    """An admin client that asks another broker where one can't be reached.

    Raises:
        KafkaError, OSError: of each request, where none can.
    """

    async def _send_request(self, request: object, node_id: int | None = None) -> Any:
        if node_id is None:
            # One that was not reached is chosen last from then on (`silent.py`).
            for _ in self._client.cluster.brokers():
                node_id = self._client.get_random_node()
                if await self._client.ready(node_id):
                    break
        return await super()._send_request(request, node_id)

    async def _send_to_controller(self, request: object) -> Any:
        # With KRaft it is any broker, which passes on what it is asked: whom others name instead will do.
        async with asyncio.timeout(self._client._request_timeout_ms / 1000):
            while (named := self._client.cluster.controller) is None or not await self._client.ready(named.nodeId):
                await asyncio.sleep(self._client._retry_backoff)
                await self._client.force_metadata_update()
        return await super()._send_to_controller(request)


async def open_admin(settings: Settings) -> Admin:
    """A started admin client.

    Raises:
        ThrongError: `kafka` if no broker answers.
    """
    admin = Admin(**client_options(settings.kafka), request_timeout_ms=REQUEST_MS)
    try:
        await admin.start()
    except (KafkaError, OSError) as error:
        await admin.close()
        raise no_broker(settings.kafka) from error
    return admin
