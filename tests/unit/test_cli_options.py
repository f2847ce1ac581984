"""Which servers a command talks to."""

import os
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from streams.cli.main import run
from streams.cli.options import settings_options
from streams.errors import ThrongError
from streams.settings import Settings


@click.command()
@settings_options()
@click.option("--extra", default=1)
def both(settings: Settings, extra: int) -> None:
    click.echo(f"{settings.kafka.bootstrap} {settings.redis.url} {settings.kafka.namespace} {extra}")


@click.command()
@settings_options(redis=False)
def only_kafka(settings: Settings) -> None:
    click.echo(settings.kafka.bootstrap)


@pytest.fixture(autouse=True)
def no_local_stack(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("THRONG_KAFKA_BOOTSTRAP", raising=False)
    monkeypatch.delenv("THRONG_REDIS_URL", raising=False)


def said(command: click.Command, *arguments: str) -> str:
    return CliRunner().invoke(command, arguments, catch_exceptions=False).output.strip()


def test_options_name_the_servers() -> None:
    arguments = ("--kafka", "k:1", "--redis", "redis://r:2/0", "--namespace", "north", "--extra", "5")
    assert said(both, *arguments) == "k:1 redis://r:2/0 north 5"


def test_an_option_comes_before_the_environment_and_that_before_the_file(tmp_path, monkeypatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('[kafka]\nbootstrap = "file:1"\n[redis]\nurl = "redis://file:2"\n')
    monkeypatch.setenv("THRONG_KAFKA_BOOTSTRAP", "environment:1")
    assert said(both, "--config", str(file)) == "environment:1 redis://file:2  1"
    assert said(both, "--config", str(file), "--kafka", "option:1") == "option:1 redis://file:2  1"


def test_without_servers_the_one_line_says_what_to_do() -> None:
    with pytest.raises(
        ThrongError, match=r"^no Kafka: start one with 'throng up' or point --kafka at yours$"
    ) as refused:
        said(both, "--redis", "redis://r:2/0")
    assert refused.value.code == "config"
    with pytest.raises(ThrongError, match=r"^no Redis: start one with 'throng up' or point --redis at yours$"):
        said(both, "--kafka", "k:1")


def test_a_command_without_redis_needs_none() -> None:
    assert said(only_kafka, "--kafka", "k:1") == "k:1"


@pytest.mark.parametrize(
    "arguments",
    [
        "simulate --to-file x.ndjson --hours nan",
        "simulate --to-file x.ndjson --hours inf",
        "simulate --to-file x.ndjson --hours 0",
        "simulate --to-file x.ndjson --partitions 0",
        "simulate --to-file x.ndjson --seed 99999999999999999999",
        "record footfall x.parquet --for nan",
        "import x.csv --cells x.csv --within inf",
        "demo --for 0",
        "demo --hours nan",
        "demo --speed 0",
        "demo --subscribers 0",
        "demo --start noon",
        "demo --for 60 --picture nowhere/x.svg",
    ],
)
def test_what_would_never_end_or_can_not_begin_is_refused_before_anything_is_done(
    arguments: str, tmp_path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.csv").touch()
    assert run(arguments.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("throng: ") and arguments.split()[-2] in line
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize(
    ("roles", "says"),
    [
        (["gateway"], "cannot read the zone plan"),
        (["crowd"], "no Redis"),
        (["gateway", "crowd"], "no Redis"),
        ([], "no Redis"),
    ],
)
def test_a_gateway_alone_asks_for_no_redis(tmp_path, roles: list[str], says: str) -> None:
    command = [sys.executable, "-m", "streams.cli.main", "worker", *roles, "--kafka", "127.0.0.1:1"]
    environ = os.environ | {"THRONG_GATEWAY_PLAN": str(tmp_path / "none.json")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith(f"throng: {says}")
