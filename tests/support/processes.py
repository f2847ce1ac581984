"""Workers and commands as processes of their own.

Each would import what all import, and load the same compiled loops: most of what a short one takes. So they are forked
from one that has (`preloaded.py`), with an environment of their own. They share its seed of string hashes;
`exec_worker` begins a worker as a user does.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Final, NoReturn, Protocol

from streams.settings import Settings, to_environ

CONTEXT: Final = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.preloaded"])
POLL_S: Final = 0.02


class Process(Protocol):
    """What tests ask of a process, asyncio's own as well as a forked one."""

    @property
    def pid(self) -> int: ...
    @property
    def returncode(self) -> int | None: ...
    def send_signal(self, signal: int, /) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    async def wait(self) -> int: ...


class Forked:
    """`throng` with `arguments`, in nothing but `environ`; what it says is added to the files `out` and `err`."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], out: Path, err: Path) -> None:
        for path in (out, err):
            path.touch()  # there is something to read from the beginning
        self._process = CONTEXT.Process(target=_throng, args=(arguments, dict(environ), out, err), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int, /) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        while (code := self.returncode) is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(POLL_S)
        return code


def _throng(arguments: Sequence[str], environ: dict[str, str], out: Path, err: Path) -> NoReturn:
    os.environ.clear()
    os.environ.update(environ)
    for number, path, flags in ((0, os.devnull, os.O_RDONLY), (1, out, _APPEND), (2, err, _APPEND)):
        opened = os.open(path, flags, 0o666)
        os.dup2(opened, number)
        os.close(opened)
    from streams.cli.main import main

    main(arguments)


_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def preload() -> None:
    """Begin the process that others are forked from, so that it is there when the first one is needed."""
    forkserver.ensure_running()


async def throng(
    settings: Settings, *arguments: str, environ: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, with `environ` over the settings."""
    return await throng_in(to_environ(settings) | dict(environ or {}), *arguments)


async def throng_in(environ: Mapping[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end in nothing but `environ`."""
    with tempfile.TemporaryDirectory() as folder:
        said = [Path(folder, name) for name in ("out", "err")]
        process = Forked(arguments, environ, *said)
        try:
            async with asyncio.timeout(240):
                code = await process.wait()
        finally:
            process.kill()
        out, err = (path.read_text() for path in said)
    return subprocess.CompletedProcess(arguments, code, out, err)


Begin = Callable[[str, Settings, Path, Mapping[str, str] | None], Awaitable[Process]]


async def begin_worker(role: str, settings: Settings, log: Path, environ: Mapping[str, str] | None = None) -> Process:
    """Start `throng worker` of a role, with `environ` over the settings; what it says is added to `log`."""
    return Forked(("worker", role), to_environ(settings) | dict(environ or {}), log, log)


async def exec_worker(role: str, settings: Settings, log: Path, environ: Mapping[str, str] | None = None) -> Process:
    """The same, by an interpreter of its own."""
    with log.open("ab") as said:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "streams.cli.main", "worker", role),
            env=to_environ(settings) | dict(environ or {}),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )


def on_port(port: int) -> dict[str, str]:
    """The environment by which a worker tells of itself on this port; 0: on any."""
    return {"THRONG_WORKER_HTTP_PORT": str(port)}
