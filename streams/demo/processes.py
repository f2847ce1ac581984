"""The demo's children: each is a throng command of its own, ended in reverse order, however the demo ends."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from streams.errors import ThrongError

STOP_GRACE_S = 15.0


class Children:
    """Started commands, by name, with their output in one log file each under `logs`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> "Children":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in reversed(list(self._running)):
            await self.stop(name)

    async def start(self, name: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        """Run `throng ARGUMENTS`."""
        with (self._logs / f"{name}.log").open("wb") as log:
            self._running[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "streams.cli.main",
                *arguments,
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def stop(self, name: str) -> None:
        """Ask a command to end; after a grace time, kill it."""
        process = self._running.pop(name, None)
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def ended(self, name: str) -> bool:
        """Whether the command has ended well.

        Raises:
            ThrongError: `child` if it failed, with the last line that it said.
        """
        code = self._running[name].returncode
        if code not in (None, 0):
            lines = (self._logs / f"{name}.log").read_text(errors="replace").strip().splitlines()
            raise ThrongError(
                "child", f"the {name} ended with code {code}: {lines[-1] if lines else 'it said nothing'}"
            )
        return code == 0
