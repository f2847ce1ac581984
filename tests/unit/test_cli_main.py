"""The command line: lazy, and one line for whatever a user can do something about."""

import errno
import subprocess
import sys
from pathlib import Path

import click
import pytest
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

from streams.cli import main as cli_main
from streams.errors import ThrongError


def throng(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "streams.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_names_the_commands_without_importing_them() -> None:
    code = (
        "import sys; from streams.cli.main import run; run(['--help']);"
        "print([m for m in ('numba', 'faust', 'aiokafka', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert "up " in said.stdout
    assert "status" in said.stdout
    assert said.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["upp"], "throng: No such command 'upp' (see 'throng --help')"),
        (["up", "--colour"], "throng: No such option: --colour (see 'throng up --help')"),
        (["up", "--kafka-port", "x"], "throng: Invalid value for '--kafka-port': 'x' is not a valid integer range"),
        (["up", "--kafka-port", "7", "--redis-port", "7"], "throng: --kafka-port and --redis-port are both 7"),
        (["status", "--name", "../etc"], "throng: '../etc' can't name a stack"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments: list[str], sentence: str) -> None:
    said = throng(*arguments)
    assert said.returncode == 2
    assert said.stdout == ""
    assert said.stderr.startswith(sentence)
    assert said.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ThrongError("config", "setting x is wrong"), 2, "throng: setting x is wrong\n"),
        (ThrongError("kafka", "kafka has died"), 1, "throng: kafka has died\n"),
        (click.ClickException("no such file"), 1, "throng: no such file\n"),
        (KeyboardInterrupt(), 130, "throng: stopped\n"),
        (
            TopicAuthorizationFailedError("audit"),
            1,
            "throng: Kafka refuses this to its user: [Error 29] TopicAuthorizationFailedError: audit: "
            "see 'throng topics acls'\n",
        ),
        (KafkaTimeoutError(), 1, "throng: Kafka: KafkaTimeoutError\n"),
        (OSError(errno.ENOSPC, ""), 1, "throng: No space left on device: make room, or name another place\n"),
        (
            PermissionError(errno.EACCES, "", "/a/b"),
            1,
            "throng: /a/b: Permission denied: check its rights, or name another place\n",
        ),
    ],
)
def test_what_a_command_raises_becomes_a_line_and_a_code(
    error: BaseException, code: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(cli_main, "cli", failing)
    assert cli_main.run([]) == code
    assert capsys.readouterr().err.lstrip("\n") == line


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def failing() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli_main, "cli", failing)
    with pytest.raises(ZeroDivisionError):
        cli_main.run([])


def test_a_file_that_cant_grow_is_one_line(tmp_path: Path) -> None:
    code = (
        "import resource; from streams.cli.main import main;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY));"
        f"main(['simulate', '--subscribers', '500', '--hours', '0.1', '--to-file', {str(tmp_path / 'a.ndjson')!r}])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 1
    assert said.stderr.splitlines()[-1] == "throng: File too large: make room, or name another place"
    assert "Traceback" not in said.stderr


def test_every_command_that_is_there_can_be_loaded() -> None:
    context = click.Context(cli_main.cli)
    for name in cli_main.cli.list_commands(context):
        assert cli_main.cli.get_command(context, name) is not None
