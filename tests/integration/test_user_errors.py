"""What a user can get wrong on the command line: one line that says what to do next, no traceback, not 0."""

import os
import socket
from pathlib import Path

import orjson
import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from schemas.topics import PANES, TOPICS
from streams.local.ports import free_ports
from streams.settings import load_settings
from streams.simulate import make_town, plan
from streams.stores.admin import open_admin
from streams.stores.topics import create, differing
from tests.support.processes import throng_in

pytestmark = pytest.mark.integration


async def throng(environ: dict[str, str], *arguments: str) -> tuple[int, str]:
    """Exit code, and what went to standard error."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("THRONG_")}
    done = await throng_in(others | environ, *arguments)
    return done.returncode, done.stderr


@pytest.fixture
def environ(stack: object, namespace: str, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "plan.json").write_bytes(orjson.dumps(plan(make_town(1, 100, 20))))
    return {
        "THRONG_KAFKA_BOOTSTRAP": stack.kafka,  # type: ignore[attr-defined]
        "THRONG_REDIS_URL": stack.redis,  # type: ignore[attr-defined]
        "THRONG_KAFKA_NAMESPACE": namespace,
        "THRONG_GATEWAY_PLAN": str(tmp_path / "plan.json"),
        "THRONG_GATEWAY_KEYS": str(tmp_path / "keys"),
        "THRONG_WORKER_HTTP_PORT": "0",
    }


def check(found: tuple[int, str], code: int, *words: str) -> None:
    got, said = found
    assert "Traceback" not in said, said
    last = said.strip().splitlines()[-1]
    assert last.startswith("throng: "), said
    for word in words:
        assert word in last
    assert got == code


@pytest.mark.parametrize(
    "command",
    [
        ["worker", "crowd"],
        ["worker", "api"],
        ["topics", "create"],
        ["simulate", "--hours", "0.01"],
        ["salts", "list"],
        ["audit", "verify"],
        ["policy", "show"],
        ["policy", "suspend", "Germany"],
    ],
)
async def test_no_broker(environ: dict[str, str], command: list[str]) -> None:
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    code, said = await throng(environ | {"THRONG_KAFKA_BOOTSTRAP": nowhere}, *command)
    check((code, said), 1, "no Kafka broker answers", nowhere, "throng up")
    assert "nclosed" not in said


async def test_rights_are_given_where_the_command_says_and_it_tells_why_not(environ: dict[str, str]) -> None:
    nowhere, here = f"127.0.0.1:{free_ports(1)[0]}", environ.pop("THRONG_KAFKA_BOOTSTRAP")
    check(await throng(environ, "topics", "acls", "--apply", "--kafka", nowhere), 1, "no Kafka broker answers", nowhere)
    refused = await throng(environ, "topics", "acls", "--apply", "--kafka", here)
    check(refused, 1, "Kafka gives no rights: No Authorizer is configured")
    assert "as a user" not in refused[1], "no user could"


async def test_missing_topics(environ: dict[str, str]) -> None:
    check(await throng(environ, "worker", "gateway"), 1, "is missing", "throng topics create")


async def test_a_topic_that_keeps_the_last_record_where_the_first_counts(environ: dict[str, str]) -> None:
    settings = load_settings(None, {}, environ)
    await create(settings)
    admin = await open_admin(settings)
    try:
        topic = settings.topic(PANES)
        changed = ConfigResource(ConfigResourceType.TOPIC, topic, {"cleanup.policy": "compact"})
        await admin.alter_configs([changed])
    finally:
        await admin.close()
    check(await throng(environ, "worker", "release"), 1, topic, "cleanup.policy is compact: set delete")


@pytest.mark.parametrize(("role", "setting"), [("release", "THRONG_WORKER_HTTP_PORT"), ("api", "THRONG_API_PORT")])
async def test_a_taken_port(environ: dict[str, str], role: str, setting: str) -> None:
    settings = load_settings(None, {}, environ)
    await create(settings)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        found = await throng(environ | {setting: port}, "worker", role)
    check(found, 1, port, setting)


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"THRONG_GATEWAY_PLAN": "nowhere.json"}, 1, ("zone plan", "nowhere.json", "No such file")),
        ({"THRONG_CROWD_SNAPSHOT_MS": "soon"}, 2, ("crowd.snapshot_ms", "int")),
        ({"THRONG_CROWD_SNAPSHOTS": "1"}, 2, ("THRONG_CROWD_SNAPSHOTS",)),
        ({"THRONG_GATEWAY_POLICIES": "nowhere"}, 1, ("no policy", "nowhere")),
    ],
)
async def test_wrong_settings(
    environ: dict[str, str], change: dict[str, str], code: int, words: tuple[str, ...]
) -> None:
    check(await throng(environ | change, "worker", "gateway"), code, *words)


async def test_all_topics_are_made_once(environ: dict[str, str]) -> None:
    settings = load_settings(None, {}, environ)
    assert await create(settings) == [topic.name for topic in TOPICS]
    assert await create(settings) == []
    assert await differing(settings) == []
    others = load_settings(None, {"kafka.raw_partitions": 1, "kafka.partitions": 7}, environ)
    assert await create(others) == []
    assert [line.split(" partitions")[0].rsplit(".", 1)[1] for line in await differing(others)] == [
        f"attach has {settings.kafka.raw_partitions}",
        f"sightings has {settings.kafka.partitions}",
    ]
    admin = await open_admin(settings)
    try:
        assert {settings.topic(topic.name) for topic in TOPICS} <= set(await admin.list_topics())
    finally:
        await admin.close()
