"""Apache Kafka's jars: fetched once per user, the very files that throng was tested with.

In comes `kafka-jars.lock`: a line for each jar with its coordinate, its sha256 and its size. Out goes a folder in the
user's cache that holds exactly these jars. The folder appears by one rename when all of them are there and right, so a
download that was cut off leaves nothing that looks whole; a lock file lets one process download while others wait. Jars
that did arrive are kept for the next try. A jar that is not the one expected is refused, on every start.

`python -m streams.local.lock_jars` writes the lock file anew.
"""

import hashlib
import shutil
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from streams.errors import ThrongError
from streams.local.folders import Progress, cache_folder, locked, prepare, told

LOCK = "kafka-jars.lock"
PARALLEL = 6
TIMEOUT_S = 30


class Jar(NamedTuple):
    """One line of the lock file."""

    coordinate: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        _group, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


def read_lock() -> list[Jar]:
    """The jars of the lock file, sorted by name: the class path's order is part of what was tested."""
    lines = files("streams.local").joinpath(LOCK).read_text("utf-8").splitlines()
    fields = [line.split() for line in lines if line and not line.startswith("#")]
    return sorted((Jar(coordinate, sha256, int(size)) for coordinate, sha256, size in fields), key=lambda jar: jar.name)


def kafka_version(jars: list[Jar]) -> str:
    """The version of the broker among `jars`."""
    return next(jar.coordinate.split(":")[2] for jar in jars if ":kafka-server:" in jar.coordinate)


def ensure_jars(progress: Progress, cache: Path | None = None, jars: list[Jar] | None = None) -> list[Path]:
    """The paths of all of Kafka's jars, downloaded if they aren't there yet.

    Raises:
        ThrongError: `download` if they can't be had, `jars` if one isn't the expected one.
    """
    jars = read_lock() if jars is None else jars
    root = (cache_folder() if cache is None else cache) / "kafka"
    key = hashlib.sha256("".join(jar.sha256 for jar in jars).encode()).hexdigest()[:12]
    home = root / f"{kafka_version(jars)}-{key}"
    if not home.exists():
        prepare(root)
        with locked(root / "lock", lambda: progress("waiting for another process that is downloading Kafka")):
            if not home.exists():
                _download(jars, root, home, progress)
    for jar in jars:
        if not _is_right(home / jar.name, jar):
            raise ThrongError(
                "jars", f"{home / jar.name} is not the file it should be: delete {home} and run this again"
            )
    return [home / jar.name for jar in jars]


def _download(jars: list[Jar], root: Path, home: Path, progress: Progress) -> None:
    partial = root / "partial"
    total = sum(jar.size for jar in jars)
    progress(f"downloading Kafka {kafka_version(jars)} once for this user: {len(jars)} jars, {total / 1e6:.0f} MB")
    with told(root), tempfile.TemporaryDirectory(dir=root) as scratch, ThreadPoolExecutor(PARALLEL) as pool:
        arriving = {pool.submit(_fetch, jar, partial): jar for jar in jars}
        done, told_at = 0, time.monotonic()
        arrived: dict[Jar, Path] = {}
        try:
            for future in as_completed(arriving):
                jar = arriving[future]
                arrived[jar] = future.result()
                done += jar.size
                if time.monotonic() - told_at >= 1 or done == total:
                    told_at = time.monotonic()
                    progress(f"downloading Kafka: {done / 1e6:.0f} of {total / 1e6:.0f} MB")
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        ready = Path(scratch) / "jars"
        ready.mkdir()
        for jar, path in arrived.items():
            path.replace(ready / jar.name)
        ready.rename(home)
    shutil.rmtree(partial, ignore_errors=True)


def _fetch(jar: Jar, partial: Path) -> Path:
    """Download one jar, or take the one that an earlier try left; a wrong one is fetched once more, then refused."""
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL
    from jgo.maven import MavenContext

    repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    context = MavenContext(repo_cache=partial, remote_repos=repositories, timeout=TIMEOUT_S)
    group, artifact, version = jar.coordinate.split(":")
    wanted = context.project(group, artifact).at_version(version).artifact()
    for _attempt in range(2):
        try:
            path = Path(wanted.resolve())
        except (OSError, RuntimeError) as error:
            Path(wanted.cached_path).unlink(missing_ok=True)
            reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
            raise ThrongError(
                "download",
                f"cannot download Kafka's {jar.name}: check the network or proxy and run this again ({reason})",
            ) from error
        if _is_right(path, jar):
            return path
        path.unlink()
    raise ThrongError(
        "jars",
        f"the downloaded {jar.name} is not the file that throng was tested with: see what proxy or mirror alters it",
    )


def _is_right(path: Path, jar: Jar) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == jar.sha256
    except FileNotFoundError:
        return False
