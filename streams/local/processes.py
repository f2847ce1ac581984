"""Server processes: started apart from the terminal, known by pid and start time, ended for certain."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

from streams.local.ports import is_listening

# Start times are computed from the boot time, which moves a little when the clock is set.
SAME_START_S = 2.0


class Process(msgspec.Struct, frozen=True):
    """A process that was started: its pid, and when (seconds since the epoch), since pids are used again."""

    pid: int
    started: float


def spawn(
    command: Sequence[str | Path], folder: Path, log: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `command` in `folder` and in a session of its own, all its output appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def identify(pid: int) -> Process:
    """The running process with this pid.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    return Process(pid, psutil.Process(pid).create_time())


def is_alive(process: Process) -> bool:
    """Whether it is this very process that runs under its pid."""
    return _find(process) is not None


def memory_bytes(process: Process) -> int:
    """Resident memory, 0 if it has ended."""
    found = _find(process)
    try:
        return int(found.memory_info().rss) if found else 0
    except psutil.Error:
        return 0


def end(processes: Sequence[Process], grace_s: float) -> None:
    """End all of them: asked to, and after `grace_s` seconds forced to."""
    living = [found for process in processes if (found := _find(process))]
    if grace_s > 0:
        for found in living:
            _signal(found, kill=False)
        _gone, living = psutil.wait_procs(living, timeout=grace_s)
    for found in living:
        _signal(found, kill=True)
    psutil.wait_procs(living, timeout=10)


def wait_for_port(server: subprocess.Popen[bytes], port: int, deadline: float) -> bool:
    """Wait until the port answers; False if the server ended or the deadline (monotonic seconds) passed before."""
    while server.poll() is None and time.monotonic() < deadline:
        if is_listening(port):
            return True
        time.sleep(0.03)
    return False


def _find(process: Process) -> psutil.Process | None:
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < SAME_START_S
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def _signal(found: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            found.kill()
        else:
            found.terminate()
    except psutil.NoSuchProcess:
        pass
