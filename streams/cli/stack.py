"""`throng up`, `throng down`, `throng status`: the local stack from the command line."""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Column, Table

from streams.cli.examples import examples
from streams.errors import ThrongError
from streams.local import stack as local
from streams.local.answers import kafka_answers, redis_answers
from streams.local.folders import stack_folder
from streams.local.processes import is_alive, memory_bytes
from streams.local.state import Server, log_of, read_state
from streams.local.state import up as is_up

F = TypeVar("F", bound=Callable[..., object])


def _which(command: F) -> F:
    named = click.option("--name", default="default", show_default=True, help="Which stack; several run side by side.")
    placed = click.option(
        "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Its folder, instead."
    )
    return named(placed(command))


@click.command(epilog=examples("throng up", "throng up --name second --kafka-port 9092 --redis-port 6379"))
@_which
@click.option("--foreground", is_flag=True, help="Stay, and end the stack and its data with Ctrl-C.")
@click.option("--kafka-port", type=click.IntRange(0, 65535), default=0, help="Kafka's port.  [default: a free one]")
@click.option("--redis-port", type=click.IntRange(0, 65535), default=0, help="Redis's port.  [default: a free one]")
@click.option(
    "--heap-mb",
    type=click.IntRange(128),
    default=local.HEAP_MB,
    show_default=True,
    envvar="THRONG_LOCAL_HEAP_MB",
    show_envvar=True,
    help="The broker's heap, MB.",
)
def up(name: str, folder: Path | None, foreground: bool, kafka_port: int, redis_port: int, heap_mb: int) -> None:
    """Start a Kafka and a Redis on this machine and wait until both answer.

    The first time downloads Kafka (45 MB). Data kept by 'throng down --keep' are there again.
    """
    if kafka_port and kafka_port == redis_port:
        raise ThrongError("usage", f"--kafka-port and --redis-port are both {kafka_port}: each needs one of its own")
    if foreground:
        signal.signal(signal.SIGTERM, _interrupt)
    stack = local.start(
        folder,
        name,
        lambda line: click.echo(line, err=True),
        ephemeral=foreground,
        heap_mb=heap_mb,
        kafka_port=kafka_port,
        redis_port=redis_port,
    )
    if not foreground:
        _tell(stack)
    elif stack.found:
        raise ThrongError("stack", f"the stack in {stack.folder} is up in the background: run 'throng down' first")
    else:
        _stay(stack)


@click.command(epilog=examples("throng down", "throng down --name second --keep"))
@_which
@click.option("--keep", is_flag=True, help="Keep the data for the next 'throng up'.")
def down(name: str, folder: Path | None, keep: bool) -> None:
    """End a local stack and remove its data. The logs stay."""
    folder = (folder or stack_folder(name)).absolute()
    if local.stop(folder, keep=keep):
        click.echo(f"down; logs in {folder / 'logs'}")
    else:
        click.echo("nothing was up")


@click.command(epilog=examples("throng status", "throng status --json"))
@_which
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def status(name: str, folder: Path | None, as_json: bool) -> None:
    """Tell whether a local stack is up, and where. Exit code 0 if both servers answer, else 1."""
    folder = (folder or stack_folder(name)).absolute()
    state = read_state(folder)
    rows = {
        "kafka": _row(folder, "kafka", state.kafka if state else None, kafka_answers),
        "redis": _row(folder, "redis", state.redis if state else None, redis_answers),
    }
    answer = all(row["state"] == "up" for row in rows.values())
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "up": answer, **rows}))
    else:
        columns = [
            Column(title, no_wrap=True) for title in ("server", "state", "address", "version", "pid", "memory", "up")
        ]
        table = Table(*columns, box=None)
        for server, row in rows.items():
            table.add_row(server, *(_shown(name, value) for name, value in row.items() if name != "log"))
        Console(width=100).print(table)
        click.echo(f"folder {folder}")
    sys.exit(0 if answer else 1)


def _row(folder: Path, name: str, server: Server | None, answers: Callable[[int], bool]) -> dict[str, str | int | None]:
    if server is None:
        state = "down"
    elif not is_alive(server.process):
        state = "dead"
    else:
        state = "up" if answers(server.port) else "no answer"
    alive = server if state in ("up", "no answer") else None
    address = {"kafka": "127.0.0.1:{}", "redis": "redis://127.0.0.1:{}/0"}[name]
    log = log_of(folder, name)
    return {
        "state": state,
        "address": address.format(alive.port) if alive else None,
        "version": server.version if server else None,
        "pid": alive.process.pid if alive else None,
        "memory_bytes": memory_bytes(alive.process) if alive else None,
        "up_s": round(time.time() - alive.process.started) if alive else None,
        "log": str(log) if log.exists() else None,
    }


def _shown(name: str, value: str | int | None) -> str:
    if value is None:
        return "-"
    if name == "memory_bytes" and isinstance(value, int):
        return f"{value >> 20} MB"
    if name == "up_s" and isinstance(value, int):
        return f"{value // 3600}:{value // 60 % 60:02}:{value % 60:02}"
    return str(value)


def _tell(stack: local.Stack) -> None:
    click.echo("already up" if stack.found else "ready")
    click.echo(f"kafka {stack.kafka}")
    click.echo(f"redis {stack.redis}")
    click.echo(f"logs  {stack.folder / 'logs'}")
    if stack.folder != stack_folder().absolute():
        # Commands find the default stack by themselves.
        click.echo("for the other commands:")
        click.echo(f"export THRONG_KAFKA_BOOTSTRAP={stack.kafka} THRONG_REDIS_URL={stack.redis}")


def _stay(stack: local.Stack) -> None:
    """Wait for Ctrl-C, for another terminal's `throng down`, or for a server's death, which is an error."""
    with stack:
        try:
            _tell(stack)
            click.echo("Ctrl-C ends it", err=True)
            while is_up(stack.folder):
                time.sleep(0.5)
        except KeyboardInterrupt:
            click.echo("down", err=True)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
