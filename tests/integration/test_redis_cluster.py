"""A whole deployment on a Redis Cluster over TLS, each role as its own user, one master killed and a crowd after it."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from redis.exceptions import NoPermissionError

from schemas.topics import FOOTFALL
from streams.api import tokens
from streams.cli.main import cli
from streams.local.ports import free_ports
from streams.local.stack import Stack
from streams.settings import Settings, load_settings
from streams.stores.redis_client import connect
from tests.support.api_answers import api_shows_newest
from tests.support.deployment import Workers, deployment, make_world, read_topic
from tests.support.redis_cluster import PASSWORD, LocalCluster, Unbuildable
from tests.support.secured import as_environ
from tests.support.windows import windows_in_redis_are_right

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ROLES = ("crowd", "release", "api")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[LocalCluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    try:
        with LocalCluster(folder) as ready:
            yield ready
    except Unbuildable:
        pytest.skip("this Redis is built without TLS")


async def give_users(cluster: LocalCluster, namespace: str) -> dict[str, dict[str, str]]:
    """Their rights by the command, and passwords by hand on every node; the settings of each."""
    about = {**cluster.settings_of("default", PASSWORD), "kafka.namespace": namespace}
    operator = load_settings(None, about, {})
    clean = {name: None for name in os.environ if name.startswith("THRONG_")}
    words = ("topics", "acls", "--redis-users", "--apply")
    said = await asyncio.to_thread(CliRunner().invoke, cli, words, env=clean | as_environ(about))
    assert said.output.endswith(" are in force on 6 nodes; one that joins later needs them too\n")
    found = {}
    async with connect(operator) as redis:
        for role in ROLES:
            user, password = f"throng-{role}", f"secret-of-{role}-5b1e"
            nodes = (await redis.initialize()).get_nodes()  # type: ignore[union-attr]
            await redis.execute_command("ACL", "SETUSER", user, f">{password}", target_nodes=nodes)
            found[role] = cluster.settings_of(user, password)
    return found


async def test_a_deployment_on_a_cluster_goes_on_when_a_master_dies(
    stack: Stack, cluster: LocalCluster, namespace: str, tmp_path: Path
) -> None:
    users = await give_users(cluster, namespace)
    (api_port,) = free_ports(1)
    users["api"] |= {"api.port": str(api_port), "api.tokens": str(tmp_path / "tokens")}
    environs = {role: as_environ(settings) for role, settings in users.items()}
    environs["gateway"] = as_environ({"redis.url": "", "redis.nodes": ""})
    log = tmp_path / "crowd-0.log"

    async def lose_a_master(workers: Workers) -> None:
        await snapshot_of_each(workers.settings)
        await asyncio.to_thread(cluster.fail_over, 0)
        await asyncio.sleep(2)
        await workers.kill("crowd-0")
        await workers.start("crowd-0", environs["crowd"])

    overrides = {**cluster.settings_of("default", PASSWORD), "redis.cluster": True}
    roles = {"gateway": 1, "crowd": 1, "release": 1, "api": 1}
    async with deployment(
        stack, namespace, make_world(600, 1.5), tmp_path, roles, 4, 180.0, lose_a_master, overrides, environs
    ) as run:
        assert run.panes == {name: +counts for name, counts in run.result.panes.items()}
        await windows_in_redis_are_right(run)
        released = await read_topic(run.settings, FOOTFALL)
        await api_shows_newest(api_port, tokens.make(tmp_path / "tokens", "a test", "marketing", 2**42), released)
        await who_reads_what_is_released_reads_nothing_else(run.settings, users["api"])
    restarts = [line for line in log.read_text().splitlines() if "goes on from offset" in line]
    assert len(restarts) == 8
    assert any("from snapshot" in line for line in restarts[4:])
    assert "secret-of" not in "".join(path.read_text() for path in tmp_path.glob("*.log"))  # noqa: ASYNC240


async def snapshot_of_each(settings: Settings) -> None:
    async with connect(settings) as redis, asyncio.timeout(180):
        for partition in range(settings.kafka.partitions):
            key = f"{settings.kafka.namespace}:{{p{partition}}}:snapshot"
            while not await redis.hget(key, "offset"):  # type: ignore[misc]  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)


async def who_reads_what_is_released_reads_nothing_else(settings: Settings, user: dict[str, str]) -> None:
    name = settings.kafka.namespace
    reader = load_settings(None, {**user, "kafka.namespace": name}, {})
    async with connect(reader) as redis:
        flows = f"{name}:released:flows:trips_zone"
        assert orjson.loads(await redis.hget(flows, "record") or b"")  # type: ignore[misc]
        assert await redis.ttl(flows) > 0
        for words in (("HGETALL", f"{name}:{{p0}}:snapshot"), ("HSET", flows, "record", "[]")):
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*words)
