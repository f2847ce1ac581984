"""A gateway whose key service doesn't answer says so before an epoch needs it, and goes on once it does."""

import asyncio
import threading
import urllib.error
from http.server import ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

from streams.local.ports import free_ports
from streams.simulate import make_town, plan
from streams.stores.topics import create
from tests.support.deployment import Workers, fetch
from tests.support.small import small
from tests.unit.test_transit_keys import TOKEN, StandIn

pytestmark = pytest.mark.integration


async def reasons(port: int) -> list[str]:
    def ask() -> bytes:
        try:
            return fetch(port, "readyz").encode()
        except urllib.error.HTTPError as error:
            return error.read()

    told: list[str] = orjson.loads(await asyncio.to_thread(ask))["reasons"]
    return told


async def test_it_is_not_ready_and_does_not_end(stack: object, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    (port,) = free_ports(1)
    keys = {"gateway.keys": f"http://127.0.0.1:{port}/v1/transit", "gateway.keys_token": str(tmp_path / "token")}
    settings = small(stack, namespace, tmp_path, plan(make_town(1, 100, 20)), **keys)
    await create(settings)
    workers = Workers(settings, tmp_path)
    await workers.start("gateway")
    try:
        async with asyncio.timeout(120):
            while "health: gateway serves" not in workers.last_words("gateway"):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
            while "not been told yet" in " ".join(told := await reasons(workers.ports["gateway"])):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        assert len(told) == 1
        assert told[0].startswith("keys can't be had, and the next epoch needs one: the key service at 127.0.0.1")
        handler = type("Handler", (StandIn,), {"keys": {}})
        with ThreadingHTTPServer(("127.0.0.1", port), handler) as listening:
            thread = threading.Thread(target=listening.serve_forever)
            thread.start()
            async with asyncio.timeout(60):
                while await reasons(workers.ports["gateway"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            await workers.stop()
            listening.shutdown()
            thread.join()
    finally:
        for process in workers.running.values():
            if process.returncode is None:
                process.kill()
                await process.wait()
