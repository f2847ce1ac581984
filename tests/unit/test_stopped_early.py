"""A worker that is told to stop while it is still being imported ends as orderly as any other, and in a container no
command passes over being told."""

import signal
import subprocess
import sys

import pytest

AMID = "numba.core.config"  # one of the first of numba's modules, on which gateway, crowd and release wait


@pytest.mark.parametrize("role", ["gateway", "crowd", "release"])
def test_a_role_that_has_not_begun_ends_with_0(role: str) -> None:
    servers = ["--kafka", "127.0.0.1:1", "--redis", "redis://127.0.0.1:1"]
    command = [sys.executable, "-X", "importtime", "-m", "streams.cli.main", "worker", role, *servers]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.endswith(f"{AMID}\n"):
                process.send_signal(signal.SIGTERM)
                break
        else:
            pytest.fail(f"{AMID} was never imported")
        said = [line for line in process.stderr if not line.startswith("import time:")]
        assert process.wait(60) == 0, said
    assert said == []


def test_it_ends_also_where_an_exception_would_be_swallowed() -> None:
    code = (
        "import ctypes, os, signal; from streams.cli.worker import not_begun; signal.signal(signal.SIGTERM, not_begun);"
        "ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGTERM))(); print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(("process", "code"), [(1, 128 + signal.SIGTERM), (2, -signal.SIGTERM)])
def test_a_containers_first_process_hears_what_others_end_by_without_a_handler(process: int, code: int) -> None:
    program = (
        f"import os, signal; os.getpid = lambda: {process}; from streams.cli import main;"
        "main.run = lambda _: signal.raise_signal(signal.SIGTERM); main.main([])"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == code
