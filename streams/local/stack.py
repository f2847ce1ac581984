"""A local stack: one Kafka and one Redis that belong to a folder.

In the folder: `state.json` (what runs), `logs/` (kept until the next start), `data/`, the servers' configuration and
`lock`. `start` returns when both servers answer. An *ephemeral* stack lives no longer than the process that started it:
a guard process holds the other end of a pipe and ends the servers when the pipe closes, which even SIGKILL can't
prevent. Any number of stacks run side by side, each on free ports of 127.0.0.1.

    with start(ephemeral=True) as stack:
        use(stack.kafka, stack.redis)
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from streams.errors import ThrongError
from streams.local.answers import kafka_answers, redis_answers
from streams.local.folders import Progress, locked, prepare, quiet, stack_folder, told
from streams.local.guard import dismiss, post
from streams.local.jars import ensure_jars, kafka_version, read_lock
from streams.local.java import find_java
from streams.local.kafka_server import Also, Secured
from streams.local.launch import Plan, Servers, launch
from streams.local.ports import is_listening
from streams.local.processes import end
from streams.local.redis_server import find_redis
from streams.local.state import FILE, Server, State, read_state, up

HEAP_MB = 512
GRACE_S = 10


@dataclass(frozen=True)
class Stack:
    """A stack that was ready when this was made.

    Attributes:
        kafka: bootstrap servers, `127.0.0.1:port`.
        redis: `redis://127.0.0.1:port/0`.
        found: it was up already; this process didn't start it.
    """

    folder: Path
    kafka: str
    redis: str
    kafka_version: str
    redis_version: str
    found: bool
    # Held so that they are reaped, and so that the pipe stays open.
    _servers: Servers | None = field(default=None, repr=False)
    _guard: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    _temporary: bool = field(default=False, repr=False)

    def stop(self, keep: bool = False) -> None:
        """End both servers and remove their data unless `keep`. What isn't kept needs no orderly shutdown."""
        stop(self.folder, keep=keep, grace_s=GRACE_S if keep else 0)
        if self._guard is not None:
            dismiss(self._guard)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Stack":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.found:
            self.stop()


def start(
    folder: Path | None = None,
    name: str = "default",
    progress: Progress = quiet,
    *,
    ephemeral: bool = False,
    heap_mb: int = HEAP_MB,
    kafka_port: int = 0,
    redis_port: int = 0,
    kafka_also: Also | None = None,
    kafka_secured: Secured | None = None,
    brief: bool = False,
) -> Stack:
    """Start the stack of a folder and wait until it is ready; one that is up already is returned as it is. Blocks.

    Args:
        folder: its folder; by default that of `name`, or a temporary one for an ephemeral stack.
        progress: told what is going on.
        ephemeral: ends with this process, whatever ends it; its data are gone then.
        heap_mb: the broker's heap, MB.
        kafka_port: the port to use; 0 takes a free one.
        redis_port: the same for Redis.
        kafka_also: a second listener of the broker, for clients behind a proxy.
        kafka_secured: one more, where users and access lists count.
        brief: for a test, whose broker has little to do: it starts with a third less work, and is slower under load.

    Raises:
        ThrongError: it can't be started; the sentence says why and what to do.
    """
    temporary = ephemeral and folder is None
    if temporary:
        with told(Path(tempfile.gettempdir())):
            folder = Path(tempfile.mkdtemp(prefix="throng-"))
    folder = (folder or stack_folder(name)).absolute()
    guard: subprocess.Popen[bytes] | None = None
    try:
        prepare(folder)
        with locked(folder / "lock", lambda: progress(f"waiting for another command that works on {folder}")):
            before = read_state(folder)
            if state := _already_up(folder, progress):
                return _stack(folder, state, found=True)
            # Whoever talked to servers of which one died finds both again where they were.
            kafka_port = kafka_port or _free_again(before.kafka if before else None)
            redis_port = redis_port or _free_again(before.redis if before else None)
            java, redis, version = find_java(), find_redis(), kafka_version(read_lock())
            ports = kafka_port, redis_port
            plan = Plan(java, ensure_jars(progress), version, redis, heap_mb, *ports, kafka_also, kafka_secured, brief)
            guard = post(folder, remove_folder=temporary) if ephemeral else None
            progress(f"starting Kafka {version} (Java {java.major}) and Redis {redis.version}")
            state, servers = launch(folder, plan)
    except BaseException:
        if guard:
            dismiss(guard)
        if temporary:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return _stack(folder, state, servers=servers, guard=guard, temporary=temporary)


def stop(folder: Path, *, keep: bool = False, grace_s: float = GRACE_S) -> bool:
    """End what runs of the stack in `folder` and remove its data unless `keep`. Logs stay. False if none was started.

    Raises:
        ThrongError: the folder or its state can't be read or written.
    """
    if not folder.exists():
        return False
    with locked(folder / "lock", lambda: None):
        state = read_state(folder)
        end(state.processes if state else [], grace_s)
        with told(folder):
            (folder / FILE).unlink(missing_ok=True)
        if not keep:
            shutil.rmtree(folder / "data", ignore_errors=True)
    return state is not None


def running(folder: Path) -> Stack | None:
    """The stack in `folder` if it is up, None if it is down.

    Raises:
        ThrongError: `stack` if one of its servers has died.
    """
    state = up(folder)
    return _stack(folder, state, found=True) if state else None


def _already_up(folder: Path, progress: Progress) -> State | None:
    """The state of a stack that is up and answers; of one that isn't, what is left is ended."""
    state = read_state(folder)
    if state is None:
        return None
    try:
        whole = up(folder)
    except ThrongError as error:
        progress(str(error).split(";")[0])
        whole = None
    if whole and whole.kafka and whole.redis:
        if redis_answers(whole.redis.port) and kafka_answers(whole.kafka.port):
            return whole
        raise ThrongError(
            "stack", f"the stack in {folder} runs but doesn't answer: run 'throng down', then 'throng up'"
        )
    end(state.processes, GRACE_S)
    return None


def _free_again(server: Server | None) -> int:
    """The port that a server had, if nothing else has it now, else 0."""
    return server.port if server is not None and not is_listening(server.port) else 0


def _stack(
    folder: Path,
    state: State,
    *,
    found: bool = False,
    servers: Servers | None = None,
    guard: "subprocess.Popen[bytes] | None" = None,
    temporary: bool = False,
) -> Stack:
    if state.kafka is None or state.redis is None:
        raise ThrongError(
            "stack", f"the state of the stack in {folder} is not whole: run 'throng down', then 'throng up'"
        )
    return Stack(
        folder=folder,
        kafka=f"127.0.0.1:{state.kafka.port}",
        redis=f"redis://127.0.0.1:{state.redis.port}/0",
        kafka_version=state.kafka.version,
        redis_version=state.redis.version,
        found=found,
        _servers=servers,
        _guard=guard,
        _temporary=temporary,
    )
