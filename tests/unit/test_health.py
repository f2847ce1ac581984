"""What a worker says of itself over HTTP, and that a worker whose role ends does not stay up."""

import asyncio
import socket

import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry, Counter

from streams.agents import supervisor
from streams.agents.health import HealthServer, Readiness
from streams.errors import ThrongError


async def test_readiness_says_why_not_until_it_is_over() -> None:
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(3)
    readiness = Readiness()
    server = HealthServer("crowd", "127.0.0.1", 0, readiness, registry)
    port = await server.start()
    try:
        async with ClientSession(f"http://127.0.0.1:{port}") as session:

            async def get(path: str) -> tuple[int, dict]:
                async with session.get(path) as answer:
                    return answer.status, await answer.json()

            assert (await get("/healthz"))[0] == 200
            status, said = await get("/readyz")
            assert (status, said["ready"]) == (503, False) and said["reasons"]
            readiness.over("starting")
            assert (await get("/readyz"))[0] == 200
            readiness.waiting("redis", "Redis does not answer")
            assert (await get("/readyz"))[1]["reasons"] == ["Redis does not answer"]
            readiness.over("redis")
            assert (await get("/readyz"))[1] == {"role": "crowd", "ready": True, "reasons": []}
            async with session.get("/metrics") as answer:
                assert "things_total 3.0" in await answer.text()
            Counter("others", "Others.", registry=registry).inc()
            async with session.get("/metrics?name[]=things_total") as answer:
                said = await answer.text()
                assert "things_total 3.0" in said and "others_total" not in said
    finally:
        await server.stop()


async def test_a_taken_port_says_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ThrongError, match=f"port {port} is taken: choose another with THRONG_WORKER_HTTP_PORT"):
            await HealthServer("crowd", "127.0.0.1", port, Readiness(), CollectorRegistry()).start()


async def test_if_one_role_ends_all_end_and_the_code_is_not_zero(capfd: pytest.CaptureFixture[str]) -> None:
    # Two roles whose settings are wrong: they end at once, as a role does that can't go on.
    environs = [{"THRONG_KAFKA_PARTITIONS": "none"}, {"THRONG_KAFKA_PARTITIONS": "none"}]
    async with asyncio.timeout(60):
        assert await supervisor.supervise(["crowd", "release"], environs, asyncio.Event()) == 1
    said = capfd.readouterr().err
    assert "ended with code 2; stopped the others" in said


async def test_an_address_that_is_not_this_machines_is_told_with_its_setting() -> None:
    with pytest.raises(ThrongError, match="cannot listen on 192.0.2.1:0: .*correct THRONG_WORKER_HTTP_HOST"):
        await HealthServer("crowd", "192.0.2.1", 0, Readiness(), CollectorRegistry()).start()
