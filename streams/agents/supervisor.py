"""One process a role: starts them, and if one ends, ends the others.

`throng worker` without a single role's name runs this. Roles are kept apart by processes because only the gateway may
hold identifiers, and because a process is a core. A role that can't go on exits non-zero; then all of this worker
does, so that whoever runs it (a container's restart policy, a service manager) starts it afresh: nothing stays up
idle.

Each child watches a pipe that this process holds open: when this process dies, however it dies, they stop.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

# A role may take 20 s to give up its partitions, and then as long as its last resort gives it (`life.END_S`).
STOP_GRACE_S = 40.0
WATCH_PARENT = "THRONG_WATCH_PARENT"


class RoleProcess:
    """A child process that runs `throng worker ROLE`."""

    def __init__(self, role: str, process: asyncio.subprocess.Process) -> None:
        self.role = role
        self.process = process

    @classmethod
    async def start(cls, role: str, environ: Mapping[str, str], log: int | None = None) -> "RoleProcess":
        """Start the role with `environ` over this process's; its output goes to the descriptor `log`, or to ours."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "streams.cli.main",
            "worker",
            role,
            env={**os.environ, **environ, WATCH_PARENT: "1"},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal reaches us alone; we stop them in order
        )
        return cls(role, process)

    async def stop(self) -> None:
        """Ask it to end; after a grace time, kill it."""
        if self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def supervise(roles: Sequence[str], environs: Sequence[Mapping[str, str]], stop: asyncio.Event) -> int:
    """Run the roles until one ends or `stop` is set. Returns the exit code: 0 only if stopped."""
    children = [await RoleProcess.start(role, environ) for role, environ in zip(roles, environs, strict=True)]
    endings = {asyncio.create_task(child.process.wait()): child for child in children}
    stopping = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([*endings, stopping], return_when=asyncio.FIRST_COMPLETED)
    failed = [
        endings[task] for task in done if task is not stopping and isinstance(task, asyncio.Task) and task in endings
    ]
    for child in reversed(children):
        await child.stop()
    stopping.cancel()
    await asyncio.gather(*endings)
    for child in failed:
        sys.stderr.write(f"throng: the {child.role} ended with code {child.process.returncode}; stopped the others\n")
    return 1 if failed else 0


def watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """In a child: set `stop` when the supervisor is gone, that is when standard input ends."""
    if os.environ.get(WATCH_PARENT) == "1":
        loop.add_reader(sys.stdin.fileno(), _at_end_of_input, loop, stop)


def _at_end_of_input(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        stop.set()
