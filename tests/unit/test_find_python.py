"""The Python that `make setup` takes, and what it says where there is none that will do."""

import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "find-python"


def find(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the script where only `folder` is on the path."""
    shell = shutil.which("sh")
    assert shell is not None
    return subprocess.run(
        [shell, str(SCRIPT), *arguments], env={"PATH": str(folder)}, capture_output=True, text=True, check=False
    )


def put(folder: Path, name: str, exit_code: int) -> Path:
    """A stand-in for a Python: all that the script asks of one is its exit code."""
    path = folder / name
    path.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    path.chmod(0o755)
    return path


def test_an_old_python_is_told_in_one_line(tmp_path: Path) -> None:
    put(tmp_path, "python3", 1)
    found = find(tmp_path)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.startswith("throng: needs Python 3.11 or newer") and found.stderr.count("\n") == 1


def test_a_given_python_that_will_not_do_is_named(tmp_path: Path) -> None:
    old = put(tmp_path, "old", 1)
    put(tmp_path, "python3.11", 0)
    found = find(tmp_path, str(old))
    assert found.returncode == 1
    assert str(old) in found.stderr and "make setup PYTHON=" in found.stderr


def test_those_with_ready_made_wheels_come_first(tmp_path: Path) -> None:
    put(tmp_path, "python3.13", 0)
    assert find(tmp_path).stdout.strip().endswith("python3.13")
    put(tmp_path, "python3.12", 0)
    assert find(tmp_path).stdout.strip().endswith("python3.12")


def test_one_for_which_something_is_compiled_needs_a_compiler(tmp_path: Path) -> None:
    new = put(tmp_path, "python3.13", 0)
    new.write_text('#!/bin/sh\ncase "$2" in *"(3, 13)"*) exit 1;; esac\n')
    found = find(tmp_path)
    assert (found.returncode, found.stdout) == (1, "")
    assert "no C compiler" in found.stderr and found.stderr.count("\n") == 1
    put(tmp_path, "cc", 0)
    assert find(tmp_path).stdout.strip().endswith("python3.13")


def test_this_python_will_do() -> None:
    found = subprocess.run(["sh", str(SCRIPT), sys.executable], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == sys.executable
