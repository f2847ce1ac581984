"""deploy/compose and what it mounts, against the code and the image. Nothing here starts a container."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from streams.agents.life import END_S
from streams.agents.roles import TransportSettings
from streams.cli.main import cli
from streams.cli.worker import ROLES
from streams.settings import Settings, load_settings

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = DEPLOY / "compose" / "compose.yaml"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
FROM_IMAGE = dict(re.findall(r"\b(THRONG_[A-Z_]+)=(\S+)", DOCKERFILE))
HOME = "/var/lib/throng"

Service = dict[str, Any]
SAID: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, Service] = SAID["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "throng"}


def settings_of(name: str) -> Settings:
    return load_settings(None, {}, {**FROM_IMAGE, **OURS[name]["environment"]})


def mounts_of(name: str) -> dict[str, str]:
    """What is mounted in a service, by its folder or file there."""
    pairs = [
        (each["target"], each["source"]) if isinstance(each, dict) else tuple(reversed(each.split(":")[:2]))
        for each in SERVICES[name].get("volumes", ())
    ]
    return dict(pairs)


@pytest.mark.parametrize("name", OURS)
def test_every_service_runs_a_command_that_there_is_with_settings_that_there_are(name: str) -> None:
    group, *words = OURS[name]["command"]
    command = cli.get_command(click.Context(cli), group)
    assert command is not None
    if isinstance(command, click.Group):
        command = command.get_command(click.Context(command), words.pop(0))
        assert command is not None
    command.make_parser(click.Context(command)).parse_args(words)
    settings = settings_of(name)
    assert mounts_of(name)[settings.gateway.plan] == "${THRONG_PLAN:-./plan.json}"
    shared = settings_of("topics")
    assert (settings.kafka, settings.redis) == (shared.kafka, shared.redis), "all of one deployment"
    assert re.search(rf"^COPY policies {settings.gateway.policies}$", DOCKERFILE, re.MULTILINE)


def test_each_role_is_run_by_the_service_of_its_name_and_scraped_there() -> None:
    roles = {words[1]: name for name, service in OURS.items() if (words := service["command"])[0] == "worker"}
    assert roles == {role: role for role in ROLES}
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job["dns_sd_configs"] for job in config["scrape_configs"]}
    assert jobs == {
        role: [{"names": [role], "type": "A", "port": settings_of(role).worker.http_port}] for role in ROLES
    }
    assert all(settings_of(role).worker.http_host == "0.0.0.0" for role in ROLES)
    assert f"127.0.0.1:{settings_of('api').worker.http_port}/healthz" in DOCKERFILE


def test_servers_are_where_the_settings_look_for_them() -> None:
    settings = settings_of("topics")
    kafka = SERVICES["kafka"]["environment"]
    assert kafka["KAFKA_ADVERTISED_LISTENERS"] == f"PLAINTEXT://{settings.kafka.bootstrap}"
    assert settings.kafka.bootstrap.split(":")[0] in SERVICES and settings.redis.url == "redis://redis:6379/0"
    assert kafka["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert SERVICES["redis"]["command"][-2:] == ["--maxmemory-policy", "noeviction"]
    for name in OURS.keys() - {"topics"}:
        assert OURS[name]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}


def test_a_worker_has_the_time_that_its_end_takes_and_what_ends_comes_back() -> None:
    for name, service in OURS.items():
        assert int(service["stop_grace_period"].removesuffix("s")) > TransportSettings.drain_s + END_S, name
    # After the machine's restart too: else workers come back to no Kafka.
    others = {name: each.get("restart") for name, each in SERVICES.items() if each.get("restart") != "unless-stopped"}
    assert others == {"topics": "on-failure"}


def test_what_must_outlive_a_container_is_on_a_volume_that_its_user_may_write() -> None:
    gateway, api = settings_of("gateway"), settings_of("api")
    assert mounts_of("gateway")[gateway.gateway.keys] == "keys"
    assert mounts_of("api")[str(Path(api.api.tokens).parent)] == "tokens"
    made = re.search(r"^RUN mkdir (.+?) &&", DOCKERFILE, re.MULTILINE)
    assert made is not None and f"WORKDIR {HOME}\n" in DOCKERFILE
    folders = {f"{HOME}/{name}" for name in made[1].split()}
    assert folders == {gateway.gateway.keys, str(Path(api.api.tokens).parent)}, "a volume takes the folder's owner"
    assert mounts_of("kafka")[SERVICES["kafka"]["environment"]["KAFKA_LOG_DIRS"]] == "kafka"
    named = {source for name in SERVICES for source in mounts_of(name).values() if "/" not in source}
    assert named == SAID["volumes"].keys()


def test_only_this_machine_reaches_what_is_published() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    api = settings_of("api").api
    assert api.host == "0.0.0.0"
    assert ports == {
        "api": [f"127.0.0.1:{api.port}:{api.port}"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }


def test_grafana_finds_the_dashboard_and_prometheus() -> None:
    provisioned = DEPLOY / "grafana" / "provisioning"
    (provider,) = yaml.safe_load(next((provisioned / "dashboards").glob("*.y*ml")).read_text())["providers"]
    (source,) = yaml.safe_load(next((provisioned / "datasources").glob("*.y*ml")).read_text())["datasources"]
    mounted = {there: (COMPOSE.parent / here).resolve() for there, here in mounts_of("grafana").items()}
    assert mounted[provider["options"]["path"]] == (DEPLOY / "grafana" / "dashboards").resolve()
    assert mounted["/etc/grafana/provisioning"] == provisioned.resolve()
    assert source["url"] == "http://prometheus:9090"
    board = (DEPLOY / "grafana" / "dashboards" / "throng.json").read_text()
    assert set(re.findall(r'"uid": "(\w+)"', board)) <= {source["uid"]}
