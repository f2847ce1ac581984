"""Purposes bind: on a broker with an authorizer, and a Redis with users, nobody gets more than their part, and no less.

The expected rights are written down here once more, from the design, so that a right too many in `schemas.access` is
found as well as one too few.
"""

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)
from aiokafka.protocol.metadata import MetadataRequest
from click.testing import CliRunner
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

from schemas.topics import TOPICS
from streams.api import tokens
from streams.cli.main import cli
from streams.errors import ThrongError
from streams.local.ports import free_ports
from streams.local.processes import wait_for_port
from streams.local.redis_server import find_redis
from streams.local.stack import Stack, start
from streams.settings import Settings, load_settings
from streams.simulate import make_town, plan
from streams.stores.admin import open_admin
from streams.stores.connection import client_options
from streams.stores.ledger_trim import Cut, trim
from streams.stores.log import TailReader
from streams.stores.published import Published
from streams.stores.redis_client import connect
from streams.stores.topics import counts_of
from tests.support.api_answers import api_shows_newest
from tests.support.deployment import deployment, make_world, read_topic
from tests.support.processes import throng_in
from tests.support.secured import ADMIN, Certificate, Guarded, as_environ

pytestmark = pytest.mark.integration

# role: (reads, writes)
RIGHTS = {
    "network": (set(), {"attach"}),
    "consent": (set(), {"registry"}),
    "gateway": (
        {"attach", "registry", "epochs", "salts", "audit"},
        {"attach", "registry", "sightings", "rejects", "epochs", "salts", "audit"},
    ),
    "crowd": ({"sightings", "epochs"}, {"panes"}),
    "release": (
        {"panes", "epochs", "ledger", "audit", "footfall", "flows", "dwell", "visits", "areas"},
        {"ledger", "footfall", "flows", "dwell", "visits", "areas", "outlook"},
    ),
    "operator": ({"audit", "epochs"}, {"audit", "sightings"}),
    "trimmer": ({"ledger"}, set()),
    "api": ({"footfall", "flows", "dwell", "outlook", "epochs", "audit"}, set()),
    "consumer-traffic": ({"footfall", "flows", "dwell", "outlook"}, set()),
}
ALL = [topic.name for topic in TOPICS]
USERS = [ADMIN, *(f"throng-{role}" for role in RIGHTS), "throng-consumer-marketing", "throng-nobody"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Guarded:
    return Guarded(tmp_path_factory.mktemp("guarded"), USERS)


@pytest.fixture(scope="module")
def stack(guarded: Guarded) -> Iterator[Stack]:
    with start(ephemeral=True, kafka_secured=guarded.secured, brief=True) as ready:
        yield ready


def command(environ: dict[str, str], *arguments: str) -> str:
    """What a `throng` command prints, with this environment and no other settings."""
    clean = {name: None for name in os.environ if name.startswith("THRONG_")}
    result = CliRunner().invoke(cli, arguments, env=clean | environ, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


async def make_topics(guarded: Guarded, namespace: str, purpose: str) -> None:
    """A deployment's rights and topics, made by its own operator."""
    about = {"THRONG_KAFKA_NAMESPACE": namespace, "THRONG_GATEWAY_PURPOSE": purpose}
    admin = as_environ(guarded.settings_of(ADMIN, "PLAIN")) | about
    assert "rights are in force, of 9 users" in await asyncio.to_thread(command, admin, "topics", "acls", "--apply")
    operator = as_environ(guarded.settings_of("throng-operator")) | about
    assert "created attach" in await asyncio.to_thread(command, operator, "topics", "create")


async def make(guarded: Guarded, stack: Stack, namespace: str, purpose: str) -> None:
    """The same, and one record in each topic."""
    await make_topics(guarded, namespace, purpose)
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka) as producer:
        for topic in ALL:
            await producer.send_and_wait(f"{namespace}.{topic}", b"here", key=b"here", partition=0)


def of(guarded: Guarded, user: str, namespace: str = "") -> Settings:
    return load_settings(None, guarded.settings_of(user) | {"kafka.namespace": namespace}, {})


async def may_read(settings: Settings, topic: str) -> bool:
    """Whether a fetch brings what is there; who may not even ask where a topic is may not fetch from it."""
    consumer = AIOKafkaConsumer(**client_options(settings.kafka), auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(30):
        await consumer._client.add_topic(topic)
        if topic in consumer._client.cluster.unauthorized_topics:
            return False
        consumer.assign([TopicPartition(topic, 0)])
        try:
            while not await consumer.getmany(timeout_ms=500):
                pass
        except TopicAuthorizationFailedError:
            return False
    return True


async def may_write(settings: Settings, topic: str) -> bool:
    producer = AIOKafkaProducer(**client_options(settings.kafka), enable_idempotence=True)
    try:
        await producer.start()
        await producer.send_and_wait(topic, b"probe", key=b"probe", partition=0)
    except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
        return False  # the second is who may write nowhere
    finally:
        await producer.stop()
    return True


@pytest.mark.timeout(600)
async def test_each_role_reads_and_writes_its_topics_and_no_others(
    guarded: Guarded, stack: Stack, namespace: str
) -> None:
    await make(guarded, stack, namespace, "traffic")
    for role, (reads, writes) in RIGHTS.items():
        settings = of(guarded, f"throng-{role}")
        can_read = await asyncio.gather(*(may_read(settings, f"{namespace}.{topic}") for topic in ALL))
        can_write = await asyncio.gather(*(may_write(settings, f"{namespace}.{topic}") for topic in ALL))
        assert {topic for topic, can in zip(ALL, can_read, strict=True) if can} == reads, role
        assert {topic for topic, can in zip(ALL, can_write, strict=True) if can} == writes, role
        if role == "trimmer":
            await trim(of(guarded, f"throng-{role}", namespace), Cut(0, 1, 1, 1))
        else:
            with pytest.raises(ThrongError, match="takes its right Delete"):
                await trim(of(guarded, f"throng-{role}", namespace), Cut(0, 1, 1, 1))


@pytest.mark.timeout(600)
async def test_a_purposes_consumers_read_neither_another_purposes_numbers_nor_by_others_groups(
    guarded: Guarded, stack: Stack, namespace: str
) -> None:
    other = f"{namespace}x"
    await make(guarded, stack, namespace, "traffic")
    await make(guarded, stack, other, "marketing")
    for purpose, own, foreign in (("traffic", namespace, other), ("marketing", other, namespace)):
        settings = of(guarded, f"throng-consumer-{purpose}")
        assert await may_read(settings, f"{own}.footfall")
        assert not await may_read(settings, f"{foreign}.footfall")
        assert not await may_read(settings, f"{foreign}.flows")
    settings = of(guarded, "throng-consumer-traffic")
    options = client_options(settings.kafka) | {"auto_offset_reset": "earliest"}
    group = f"{namespace}.consumer-traffic-map"
    async with AIOKafkaConsumer(f"{namespace}.footfall", group_id=group, **options) as consumer:
        assert (await asyncio.wait_for(consumer.getone(), 30)).value == b"here"
    with pytest.raises(GroupAuthorizationFailedError):
        async with AIOKafkaConsumer(f"{namespace}.footfall", group_id=f"throng-{namespace}-release", **options):
            pass


async def test_a_release_of_rights_from_before_it_read_what_was_told_says_so_and_goes_on(
    guarded: Guarded, stack: Stack, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    await make(guarded, stack, namespace, "traffic")
    for user, lacks in (("throng-operator", True), ("throng-release", False)):  # the first may ask where topics end
        published = Published(of(guarded, user).kafka, [f"{namespace}.footfall"])
        await published.start()
        try:
            assert await published.later_than(0) is None
        finally:
            await published.stop()
        assert ("this user may not read that; see 'throng topics acls'" in caplog.text) == lacks
        caplog.clear()


async def test_who_gives_a_wrong_password_or_nobodys_user_gets_nowhere(
    guarded: Guarded, stack: Stack, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "wrong").write_text("wrong-password-91")
    wrong = guarded.settings_of("throng-gateway") | {"kafka.password_file": str(tmp_path / "wrong")}
    with pytest.raises(ThrongError, match="correct --kafka, or what it asks for") as refusal:
        await open_admin(load_settings(None, wrong, {}))
    assert "wrong-password-91" not in str(refusal.value) + caplog.text
    untrusted = guarded.settings_of("throng-gateway") | {"kafka.ca_file": ""}
    with pytest.raises(ThrongError, match="correct --kafka, or what it asks for"):
        await open_admin(load_settings(None, untrusted, {}))
    await make(guarded, stack, namespace, "traffic")
    assert not await may_read(of(guarded, "throng-nobody"), f"{namespace}.footfall")
    with pytest.raises(ThrongError, match=r"Kafka does not show .* to throng-nobody: see 'throng topics acls'"):
        await counts_of(of(guarded, "throng-nobody", namespace), ["attach"])
    with pytest.raises(ThrongError, match=r"Kafka does not show .*audit to throng-nobody: see 'throng topics acls'"):
        await TailReader(of(guarded, "throng-nobody", namespace).kafka, f"{namespace}.audit").start()


async def test_who_does_anothers_work_is_told_so_in_one_line(
    guarded: Guarded, stack: Stack, namespace: str, tmp_path: Path
) -> None:
    await make_topics(guarded, namespace, "marketing")
    (tmp_path / "plan.json").write_bytes(orjson.dumps(plan(make_town(1, 100, 20))))
    (free,) = free_ports(1)
    about = {
        "THRONG_KAFKA_NAMESPACE": namespace,
        "THRONG_GATEWAY_PLAN": str(tmp_path / "plan.json"),
        "THRONG_GATEWAY_KEYS": str(tmp_path / "keys"),
        "THRONG_REDIS_URL": stack.redis,
        "THRONG_API_PORT": str(free),
    }

    async def said(user: str, *arguments: str) -> str:
        done = await throng_in(os.environ | as_environ(guarded.settings_of(f"throng-{user}")) | about, *arguments)
        assert done.returncode == 1
        told = done.stderr
        assert "Traceback" not in told and "nclosed" not in told and "Request(" not in told, told
        return told.splitlines()[-1]

    for user, command in (
        ("consumer-marketing", ("worker", "api")),
        ("trimmer", ("policy", "show")),
        ("crowd", ("worker", "release")),
        ("network", ("topics", "trim-ledger")),
        ("crowd", ("topics", "acls", "--apply")),
        ("trimmer", ("topics", "create")),
    ):
        line = await said(user, *command)
        assert line.startswith("throng: ") and ("throng topics acls" in line or "who may alter them" in line)


def test_a_client_over_tls_closes_though_the_broker_overlooks_its_farewell(guarded: Guarded, stack: Stack) -> None:
    async def close_amid_a_request() -> None:
        client = AIOKafkaClient(**client_options(of(guarded, ADMIN).kafka))
        await client.bootstrap()
        connection = await client._get_conn(client.get_random_node())
        # Both go out at once: the broker reads the request and the farewell together, and never looks at the latter.
        answer = connection.send(MetadataRequest([]))
        await asyncio.wait_for(connection.close(), 10)
        with pytest.raises(KafkaConnectionError):
            await answer
        await client.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for _ in range(5):
            runner.run(close_amid_a_request())


@pytest.mark.timeout(600)
async def test_workers_do_the_whole_job_with_their_roles_rights_and_no_others(
    guarded: Guarded, stack: Stack, namespace: str, tmp_path: Path
) -> None:
    about = {"THRONG_KAFKA_NAMESPACE": namespace, "THRONG_GATEWAY_PURPOSE": "marketing"}
    admin = as_environ(guarded.settings_of(ADMIN)) | about
    await asyncio.to_thread(command, admin, "topics", "acls", "--apply")
    said = await asyncio.to_thread(
        command, about | {"THRONG_REDIS_URL": stack.redis}, "topics", "acls", "--redis-users", "--apply"
    )
    assert said == "the rights of throng-crowd, throng-release, throng-api, throng-consumer-marketing are in force\n"
    redis_of = await redis_urls(stack, ["crowd", "release", "api", "consumer-marketing"], guarded)
    (api_port,) = free_ports(1)
    # Three ways to bring a password: a file, over SCRAM; the environment; a file, over PLAIN.
    by_password = guarded.settings_of("throng-crowd") | {
        "kafka.password_file": "",
        "kafka.password": guarded.passwords["throng-crowd"],
    }
    environs = {
        "gateway": as_environ(guarded.settings_of("throng-gateway") | {"redis.url": ""}),
        "crowd": as_environ(by_password | {"redis.url": redis_of["crowd"]}),
        "release": as_environ(guarded.settings_of("throng-release", "PLAIN") | {"redis.url": redis_of["release"]}),
        "api": as_environ(
            guarded.settings_of("throng-api")
            | {"redis.url": redis_of["api"], "api.port": str(api_port), "api.tokens": str(tmp_path / "tokens")}
        ),
    }
    world = make_world(600, 1.0)
    one_each = {"gateway": 1, "crowd": 1, "release": 1, "api": 1}
    async with deployment(stack, namespace, world, tmp_path, one_each, 2, environs=environs) as run:
        assert sum(sum(counts.values()) for counts in run.panes.values()) > 1000
        assert run.panes == {name: +counts for name, counts in run.result.panes.items()}
        released = await read_topic(run.settings, "footfall")
        assert released
        consumer = of(guarded, "throng-consumer-marketing", namespace)
        assert len(await read_topic(consumer, "footfall")) == len(released)
        await api_shows_newest(api_port, tokens.make(tmp_path / "tokens", "a test", "marketing", 2**42), released)
        await redis_keeps_the_roles_apart(redis_of, namespace)
        operator = as_environ(guarded.settings_of("throng-operator")) | about
        await asyncio.to_thread(command, operator, "policy", "suspend", "001", "--by", "a test", "--reason", "a test")
        assert "whole" in await asyncio.to_thread(command, operator, "audit", "verify")
        trimmer = as_environ(guarded.settings_of("throng-trimmer")) | about
        assert "0 of " in await asyncio.to_thread(command, trimmer, "topics", "trim-ledger")
        gateway = as_environ(guarded.settings_of("throng-gateway")) | about
        keys = {"THRONG_GATEWAY_KEYS": str(tmp_path / "keys")}
        assert "sealed" in await asyncio.to_thread(command, gateway | keys, "salts", "list")
    logs = "".join(log.read_text() for log in tmp_path.glob("*.log"))  # noqa: ASYNC240
    assert not any(password in logs for password in guarded.passwords.values())
    assert "passed over" not in logs, "what releases write is theirs to each that reads it"


async def redis_urls(stack: Stack, roles: list[str], guarded: Guarded) -> dict[str, str]:
    """Give the users passwords, as the server's operator would; the URL of each."""
    where, urls = stack.redis.removeprefix("redis://"), {}
    async with Redis.from_url(stack.redis) as redis:
        for role in roles:
            user = f"throng-{role}"
            with pytest.raises(AuthenticationError):
                await Redis.from_url(f"redis://{user}:@{where}").ping()
            await redis.execute_command("ACL", "SETUSER", user, f">{guarded.passwords[user]}")
            urls[role] = f"redis://{user}:{guarded.passwords[user]}@{where}"
    return urls


async def redis_keeps_the_roles_apart(url_of: dict[str, str], namespace: str) -> None:
    """Consumers see what is released, and neither the exact counts nor whose snapshots there are."""
    released = f"{namespace}:released:flows:present"
    inside = f"{namespace}:{{p0}}:snapshot"
    for role, forbidden in (
        (
            "consumer-marketing",
            [("HGETALL", inside), ("SET", released, "0"), ("GET", "other:released:x"), ("SCAN", "0")],
        ),
        ("consumer-marketing", [("KEYS", "*"), ("CONFIG", "GET", "*"), ("FLUSHALL",), ("ACL", "LIST")]),
        *((role, [("MEMORY", "STATS"), ("CLIENT", "TRACKING", "ON", "BCAST"), ("DBSIZE",)]) for role in url_of),
        ("release", [("HGETALL", inside), ("GET", f"{namespace}:{{p0}}:counts:900"), ("FLUSHALL",)]),
        ("crowd", [("SET", released, "0"), ("GET", released), ("KEYS", "*"), ("SCAN", "0")]),
    ):
        async with Redis.from_url(url_of[role]) as redis:
            for words in forbidden:
                with pytest.raises(NoPermissionError):
                    await redis.execute_command(*words)
    async with Redis.from_url(url_of["consumer-marketing"]) as redis:
        await redis.get(released)


async def test_redis_is_reached_over_tls_and_an_unknown_certificate_is_refused(tmp_path: Path) -> None:
    made, (port,) = Certificate(tmp_path), free_ports(1)
    (tmp_path / "redis.conf").write_text(
        f'bind 127.0.0.1\nport 0\ntls-port {port}\ntls-auth-clients no\nsave ""\nuser crowd on >pw ~* +@all\n'
        f"tls-cert-file {made.certificate}\ntls-key-file {made.key}\ntls-ca-cert-file {made.certificate}\n"
    )
    program = [str(find_redis().path), "redis.conf"]
    server = subprocess.Popen(program, cwd=tmp_path)  # noqa: ASYNC220
    try:
        if not await asyncio.to_thread(wait_for_port, server, port, time.monotonic() + 20):
            pytest.skip("this Redis is built without TLS")
        for authority, answers in ((f"?ssl_ca_certs={made.certificate}", True), ("", False)):
            settings = load_settings(None, {"redis.url": f"rediss://crowd:pw@127.0.0.1:{port}/0{authority}"}, {})
            async with connect(settings) as redis:
                if answers:
                    assert await redis.execute_command("ACL", "WHOAMI") == b"crowd"
                else:
                    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
                        await redis.execute_command("PING")
    finally:
        server.kill()
        server.wait()
