"""What is known of a stack between commands: one small file in its folder.

Written as soon as a process exists, so that whatever interrupts a start, `throng down` finds what to end.
"""

from pathlib import Path

import msgspec

from streams.errors import ThrongError
from streams.local.folders import told
from streams.local.kafka_server import last_line
from streams.local.processes import Process, is_alive

FILE = "state.json"


class Server(msgspec.Struct, frozen=True):
    """One server of a stack."""

    process: Process
    port: int
    version: str


class State(msgspec.Struct, frozen=True):
    """A stack's servers; `ready` once both have answered."""

    ready: bool = False
    kafka: Server | None = None
    redis: Server | None = None

    @property
    def processes(self) -> list[Process]:
        return [server.process for server in (self.kafka, self.redis) if server]


def read_state(folder: Path) -> State | None:
    """The state of the stack in `folder`; None if none was started.

    Raises:
        ThrongError: `stack` if the file isn't one that throng wrote.
    """
    path = folder / FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=State)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ThrongError(
            "stack", f"{path} can't be read ({error}): end its servers by hand and delete {folder}"
        ) from error


def write_state(folder: Path, state: State) -> None:
    """Put `state` in place of what the file held, whole or not at all."""
    with told(folder):
        fresh = folder / (FILE + ".new")
        fresh.write_bytes(msgspec.json.encode(state))
        fresh.replace(folder / FILE)


def log_of(folder: Path, server: str) -> Path:
    """The log of `kafka` or `redis`."""
    return folder / "logs" / f"{server}.log"


def up(folder: Path) -> State | None:
    """The state if the stack in `folder` is up; None if it is down.

    Raises:
        ThrongError: `stack` if one of its servers has died since.
    """
    state = read_state(folder)
    if state is None or not state.ready:
        return None
    dead = [
        name
        for name, server in (("kafka", state.kafka), ("redis", state.redis))
        if server and not is_alive(server.process)
    ]
    if len(dead) == len(state.processes):
        return None  # as after a restart of the machine
    if dead:
        log = log_of(folder, dead[0])
        raise ThrongError(
            "stack", f"{dead[0]} has died: {last_line(log)} (log: {log}); run 'throng up' to start it again"
        )
    return state
