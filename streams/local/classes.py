"""Kafka's classes as a Java machine has them in memory, kept beside the jars: read and verified once, not each time.

Reading some ten thousand classes is half of what a broker's start costs. The first broker of a user is asked to list
those that it reads; once it answers, Java writes them to an archive (class data sharing), which later ones map. An
archive belongs to its jars and its Java; a Java that finds it to be of others does without. So does who can't make one:
all that is lost is time.
"""

import hashlib
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from streams.errors import ThrongError
from streams.local.folders import locked
from streams.local.java import Java

# In the stack's folder, where its programs are started: a name without the folder's may have any character.
LISTED: Final = "classes.lst"
_CHOSEN: Final = "classes-chosen.lst"
_MADE: Final = "classes.jsa"
LISTING: Final = f"-XX:DumpLoadedClassList={LISTED}"


class _MadeElsewhere(Exception):  # noqa: N818 - reads as what it is
    pass


def archive_of(java: Java, jars: Sequence[Path]) -> Path:
    """Where the classes of these jars, all in one folder, are or will be kept for this Java."""
    told = java.path.stat()
    key = hashlib.sha256(f"{java.path} {told.st_size} {told.st_mtime_ns}".encode()).hexdigest()[:12]
    return jars[0].parent / f"classes-{key}.jsa"


def mapping(archive: Path) -> list[str]:
    """What to tell Java so that it uses the archive: nothing if there is none, or it couldn't be made."""
    usable = archive.exists() and archive.stat().st_size > 0
    return [f"-XX:SharedArchiveFile={archive}"] if usable else []


def keep(archive: Path, folder: Path, command: Sequence[str], environ: dict[str, str]) -> None:
    """Make the archive of what the broker in `folder` has listed until now; `command` is Java's that runs it."""

    def elsewhere() -> None:
        raise _MadeElsewhere

    with suppress(_MadeElsewhere, OSError, ThrongError), locked(archive.with_suffix(".lock"), elsewhere):
        if not archive.exists():
            _make(archive, folder, command, environ)


def _make(archive: Path, folder: Path, command: Sequence[str], environ: dict[str, str]) -> None:
    # The broker goes on, and has not written all of the last line.
    lines, _, _ = (folder / LISTED).read_bytes().rpartition(b"\n")
    (folder / _CHOSEN).write_bytes(lines + b"\n")
    program, *options = command
    wanted = ["-Xshare:dump", f"-XX:SharedClassListFile={_CHOSEN}", f"-XX:SharedArchiveFile={_MADE}"]
    making = [program, *wanted, *options]
    done = subprocess.run(making, cwd=folder, env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    whole = done.returncode == 0 and (folder / _MADE).exists()
    made = (folder / _MADE).read_bytes() if whole else b""
    # By one rename, so that nobody maps half of it; empty, so that nobody tries again what this Java can't.
    arriving = archive.with_suffix(".part")
    arriving.write_bytes(made)
    arriving.replace(archive)
    for name in (LISTED, _CHOSEN, _MADE):
        (folder / name).unlink(missing_ok=True)
