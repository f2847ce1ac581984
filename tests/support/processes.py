"""Workers as processes of their own."""

import asyncio
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from streams.settings import Settings, to_environ


async def begin_worker(
    role: str, settings: Settings, log: Path, environ: Mapping[str, str] | None = None
) -> asyncio.subprocess.Process:
    """Start `throng worker` of a role, with `environ` over the settings; what it says is added to `log`."""
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
