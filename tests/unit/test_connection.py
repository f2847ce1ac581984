"""How clients reach Kafka and Redis: who asks, over what, and that no password is ever shown."""

import ast
import ssl
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner

import streams
from streams.agents.app import make_app
from streams.agents.roles import Role
from streams.cli.access_lists import redis_users
from streams.cli.topics import topics
from streams.errors import ThrongError
from streams.settings import Settings, load_settings, to_environ
from streams.stores.connection import client_options, no_broker
from streams.stores.redis_client import connect
from tests.support.secured import Certificate

SECRET = "s3cret-of-mine"
SASL = {"kafka.bootstrap": "a:1", "kafka.security": "sasl_plaintext", "kafka.user": "u"}


def options(**settings: str) -> dict[str, object]:
    return client_options(load_settings(None, {f"kafka.{name}": value for name, value in settings.items()}, {}).kafka)


def test_a_plain_cluster_is_asked_as_nobody() -> None:
    assert options(bootstrap="a:1,b:2") == client_options("a:1,b:2") == {"bootstrap_servers": "a:1,b:2"}


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_a_user_proves_itself_by_a_password_from_a_file_or_the_environment(tmp_path: Path, mechanism: str) -> None:
    (tmp_path / "p").write_text(f"{SECRET}\n")
    by_file = load_settings(
        None, {**SASL, "kafka.mechanism": mechanism, "kafka.password_file": str(tmp_path / "p")}, {}
    )
    by_environ = load_settings(None, {**SASL, "kafka.mechanism": mechanism}, {"THRONG_KAFKA_PASSWORD": SECRET})
    wanted = {
        "bootstrap_servers": "a:1",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "u",
        "sasl_plain_password": SECRET,
    }
    assert client_options(by_file.kafka) == client_options(by_environ.kafka) == wanted
    (tmp_path / "p").write_text("another")
    assert client_options(by_file.kafka)["sasl_plain_password"] == "another"


def test_tls_checks_certificates_and_names_against_the_systems_or_given_ones(tmp_path: Path) -> None:
    own = Certificate(tmp_path)
    for ca_file, authorities in (("", None), (str(own.certificate), 1)):
        context = options(bootstrap="a:1", security="ssl", ca_file=ca_file)["ssl_context"]
        assert isinstance(context, ssl.SSLContext)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert authorities is None or len(context.get_ca_certs()) == authorities


@pytest.mark.parametrize(
    ("url", "cluster", "says"),
    [
        (f"redis://:{SECRET}@a:1/0?colour=blue", False, "unexpected keyword argument 'colour'"),
        (f"redis://:{SECRET}@a:1/0?colour=blue", True, "unexpected keyword argument 'colour'"),
        (f"redis://:{SECRET}@a:1/0?socket_timeout=long", False, "Invalid value for 'socket_timeout'"),
        (f"rediss://:{SECRET}@a:1/0?ssl_ca_certs=none.pem", False, "no certificates can be read from none.pem"),
        (f"rediss://:{SECRET}@a:1/0?ssl_ca_certs=none.pem", True, "no certificates can be read from none.pem"),
    ],
)
async def test_a_redis_url_that_asks_for_what_is_not_known_is_refused_and_not_repeated(
    url: str, cluster: bool, says: str
) -> None:
    with pytest.raises(ThrongError, match=rf"setting redis\.url: .*{says}") as refusal:
        async with connect(load_settings(None, {"redis.url": url, "redis.cluster": cluster}, {})):
            pass
    assert refusal.value.code == "config" and SECRET not in str(refusal.value)


async def test_the_roles_own_app_asks_as_the_same_user(tmp_path: Path) -> None:
    own = Certificate(tmp_path)

    async def handle(_: object) -> None: ...

    role = Role("crowd", "sightings", handle, handle)  # type: ignore[arg-type]
    for security in ("ssl", "sasl_ssl", "sasl_plaintext"):
        user = {} if security == "ssl" else {"kafka.user": "u", "kafka.password": SECRET, "kafka.mechanism": "PLAIN"}
        tls = {} if security == "sasl_plaintext" else {"kafka.ca_file": str(own.certificate)}
        settings = load_settings(None, {"kafka.bootstrap": "a:1", "kafka.security": security, **user, **tls}, {})
        found = make_app(role, settings.kafka, "n").conf.broker_credentials
        assert found is not None and found.protocol.value == security.upper()
        assert SECRET not in repr(found)
        if user:
            assert (found.username, found.password, found.mechanism.value) == ("u", SECRET, "PLAIN")  # type: ignore[attr-defined]
    assert make_app(role, "a:1", "n").conf.broker_credentials is None


def test_a_password_is_never_shown() -> None:
    url = f"rediss://u:{SECRET}@h:6380/0"
    settings = load_settings(None, SASL | {"redis.url": url}, {"THRONG_KAFKA_PASSWORD": SECRET})
    assert settings.kafka.user in repr(settings) and SECRET not in repr(settings) + str(settings)
    assert load_settings(environ=to_environ(settings)) == settings
    with pytest.raises(ThrongError) as refusal:
        load_settings(None, {**SASL, "kafka.password": 12345}, {})
    assert "kafka.password = ... is not allowed" in str(refusal.value)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"kafka.user": "u", "kafka.password": "p"}, "need kafka.security = sasl_ssl, not plaintext"),
        ({**SASL, "kafka.user": ""}, "needs kafka.user"),
        (SASL, "kafka.user needs kafka.password_file"),
        ({**SASL, "kafka.password": "p", "kafka.password_file": "f"}, "give one of them"),
        ({**SASL, "kafka.password": "p", "kafka.ca_file": "f"}, "kafka.ca_file needs"),
        ({"kafka.security": "tls"}, "kafka.security = 'tls'"),
        ({**SASL, "kafka.password": "p", "kafka.mechanism": "GSSAPI"}, "kafka.mechanism = 'GSSAPI'"),
    ],
)
def test_settings_that_would_not_do_what_they_seem_to_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ThrongError, match=says):
        load_settings(None, settings, {})


def test_what_cannot_be_read_is_refused_by_its_settings_name(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    for settings, says in (
        ({**SASL, "kafka.password_file": str(tmp_path / "none")}, "kafka.password_file: no password can be read"),
        ({**SASL, "kafka.password_file": str(tmp_path / "empty")}, "empty is empty"),
        ({"kafka.security": "ssl", "kafka.ca_file": str(tmp_path / "empty")}, "kafka.ca_file: no certificates"),
    ):
        with pytest.raises(ThrongError, match=says):
            client_options(load_settings(None, settings, {}).kafka)


def test_nobody_is_told_to_start_a_stack_where_none_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    kafka = load_settings(None, {"kafka.bootstrap": "a:1"}, {}).kafka
    assert "'throng up'" in no_broker(kafka).sentence
    monkeypatch.setattr("streams.stores.connection.installed", lambda: False)  # as in the image
    assert no_broker(kafka).sentence == "no Kafka broker answers at a:1: correct THRONG_KAFKA_BOOTSTRAP"


def test_no_client_is_made_past_the_connections_settings() -> None:
    """The local stack's own check apart, which asks a broker without users."""
    (root,) = streams.__path__
    made = []
    for file in Path(root).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and (name := getattr(node.func, "id", getattr(node.func, "attr", ""))) in (
                *("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "AIOKafkaClient"),
            ):
                made.append(name)
                spread = any(keyword.arg is None for keyword in node.keywords)
                assert spread or file.match("local/answers.py"), f"{file}:{node.lineno}"
    assert len(made) >= 10


def test_redis_users_get_their_keys_and_nothing_that_asks_about_the_server() -> None:
    settings = load_settings(None, {"kafka.namespace": "north", "gateway.purpose": "traffic"}, {})
    crowd, release, api, consumer = redis_users(settings, "x-")
    names = ("x-crowd", "x-release", "x-api", "x-consumer-traffic")
    assert (crowd.name, release.name, api.name, consumer.name) == names
    assert api.rules == consumer.rules
    assert "~north:{p*}:*" in crowd.rules and "~north:released:*" in release.rules
    assert "~north:released:*" in consumer.rules and "+@write" not in consumer.rules
    assert all({"resetkeys", "resetchannels", "-@all", "-@dangerous"} <= set(user.rules) for user in (crowd, release))
    for user in (crowd, release, api, consumer):
        assert {"-memory", "-client", "-dbsize"} <= set(user.rules[user.rules.index("+@read") :])
    clustered = load_settings(None, {"redis.cluster": True}, {})
    assert "+cluster|slots" in redis_users(clustered, "")[0].rules


def test_redis_users_are_printed_as_commands_or_json() -> None:
    said = CliRunner().invoke(topics, ["acls", "--redis-users"], catch_exceptions=False).output.splitlines()
    assert len(said) == 4 and all(line.startswith('redis-cli -u "$REDIS" ACL SETUSER throng-') for line in said)
    found = orjson.loads(CliRunner().invoke(topics, ["acls", "--redis-users", "--json"], catch_exceptions=False).output)
    assert [each["user"] for each in found] == [
        *("throng-crowd", "throng-release", "throng-api", "throng-consumer-marketing")
    ]


def test_users_need_a_cluster_that_has_them() -> None:
    environ = {"THRONG_KAFKA_SECURITY": "sasl_plaintext", "THRONG_KAFKA_USER": "u", "THRONG_KAFKA_PASSWORD": SECRET}
    with pytest.raises(ThrongError, match="the local stack asks for no user"):
        CliRunner().invoke(topics, ["create"], env=environ, catch_exceptions=False)
    assert load_settings(None, None, {}) == Settings()
