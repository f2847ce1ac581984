"""`make setup` with a stand-in for the Python of .venv: what it installs, and when it does so once more."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THRONG = "--editable ."

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def checkout(folder: Path) -> Path:
    """What `make setup` looks at, and a Python that writes down what it is asked for."""
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "scripts/find-python"):
        shutil.copy(ROOT / name, folder / name)
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$@" >>asked\n')
    python.chmod(0o755)
    return folder


def asked(folder: Path, target: str = "setup") -> str:
    """What the Python was asked for by `make TARGET`."""
    (folder / "asked").write_text("")
    subprocess.run(["make", "-C", str(folder), target], capture_output=True, check=True)
    return (folder / "asked").read_text()


def test_it_installs_once(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "clone")
    assert THRONG in asked(folder)
    assert asked(folder) == ""
    assert asked(folder, "types") == "-m mypy\n"


def test_a_folder_that_was_moved_or_copied_is_set_up_anew(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "clone")
    asked(folder)
    moved = folder.rename(tmp_path / "moved, once")
    assert THRONG in asked(moved, "types"), "whatever is asked for first"
    assert asked(moved) == "-m streams.warm\n", "types need no compiled loops"
    assert asked(moved) == ""
    copied = Path(shutil.copytree(moved, tmp_path / "copy"))
    assert THRONG in asked(copied) and asked(copied) == "" == asked(moved)
