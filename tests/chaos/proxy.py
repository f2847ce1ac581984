"""A proxy between the workers and their servers: toxiproxy's server, built once from its Go module.

Workers know the proxy's ports only; the harness talks to the servers directly. Without Go there is no proxy, workers
talk directly too, and the fault `tcp` is left out.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

import orjson

from streams.local.folders import Progress, cache_folder, locked
from streams.local.ports import free_ports
from streams.local.processes import wait_for_port

MODULE = "github.com/Shopify/toxiproxy/v2/cmd/server"
VERSION = "v2.12.0"
BUILD_S = 600
START_S = 20.0


def build(progress: Progress) -> Path | None:
    """The proxy's program, built if it isn't there yet; None where it can't be."""
    root = cache_folder() / "toxiproxy"
    program = root / f"toxiproxy-{VERSION}"
    go = shutil.which("go")
    if program.exists() or go is None:
        return program if program.exists() else None
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / "lock", lambda: progress("waiting for another process that builds toxiproxy")):
        if program.exists():
            return program
        progress(f"building toxiproxy {VERSION} once for this user")
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            command = [go, "install", f"{MODULE}@{VERSION}"]
            environ = os.environ | {"GOBIN": scratch}
            try:
                done = subprocess.run(command, env=environ, capture_output=True, timeout=BUILD_S, check=False)
            except subprocess.TimeoutExpired:
                done = None
            if done is None or done.returncode:
                progress(f"toxiproxy can't be built: {done.stderr.decode(errors='replace')[-300:] if done else 'late'}")
                return None
            (Path(scratch) / "server").replace(program)
    return program


class Proxy:
    """A running proxy, driven over its HTTP interface.

    Attributes:
        routes: the names of what it carries.
    """

    def __init__(self, program: Path, log: Path) -> None:
        self.routes: list[str] = []
        self._port = free_ports(1)[0]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [program, "-host", "127.0.0.1", "-port", str(self._port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def start(self, routes: Mapping[str, tuple[int, int]]) -> None:
        """Carry each route, by name, from the first port to the second."""
        loop = asyncio.get_running_loop()
        if not await asyncio.to_thread(wait_for_port, self._process, self._port, loop.time() + START_S):
            raise SystemExit("chaos: the proxy did not start")
        for name, (listen, upstream) in routes.items():
            self.routes.append(name)
            await self._say(
                "POST", "proxies", {"name": name, "listen": f"127.0.0.1:{listen}", "upstream": f"127.0.0.1:{upstream}"}
            )

    async def poison(self, name: str, toxics: Sequence[Mapping[str, object]]) -> None:
        """Put these toxics on a route."""
        for toxic in toxics:
            await self._say("POST", f"proxies/{name}/toxics", toxic)

    async def heal(self) -> None:
        """No toxics any more."""
        await self._say("POST", "reset", None)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    async def _say(self, method: str, path: str, body: Mapping[str, object] | None) -> None:
        data = b"" if body is None else orjson.dumps(body)
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}/{path}", data, method=method)
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=START_S).close())
