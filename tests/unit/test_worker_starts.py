"""A broker that goes away while a worker starts: one line, and nothing left open."""

import gc
import logging
import subprocess
import sys
import warnings
from collections.abc import Callable

import pytest

from streams.agents.life import Startable, started
from streams.agents.producing import Producer
from streams.errors import ThrongError
from streams.local.ports import free_ports
from streams.stores.log import TailReader


@pytest.mark.parametrize("make", [lambda at: TailReader(at, "epochs"), lambda at: Producer(at, 1000)])
async def test_no_broker_answers_any_more(make: Callable[[str], Startable], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "aiokafka")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ThrongError, match="^Kafka: ") as raised:
            async with started(make(f"127.0.0.1:{free_ports(1)[0]}")):
                raise AssertionError("it can't have started")
        del raised
        gc.collect()
    assert [str(warning.message) for warning in warned if "nclosed" in str(warning.message)] == []


def test_debug_is_throngs_own_and_no_librarys() -> None:
    code = (
        "import logging; from streams.agents.logs import configure_logging; import streams.agents.workers;"
        "configure_logging('debug');"
        "[logging.getLogger(name).debug(name) for name in ('throng.gateway', 'numba.core.ssa', 'aiokafka', 'redis')];"
        "logging.getLogger('numba').warning('heed')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stderr
    assert [line.split(": ")[-1] for line in said.splitlines()] == ["throng.gateway", "heed"]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        # Who starts roles as children runs none.
        ("streams.cli.worker", {"numba", "faust", "aiohttp", "redis"}),
        ("streams.api.run", {"numba", "faust"}),
        # They read a plan, and look no cell up.
        ("streams.cli.policy", {"numba", "faust"}),
        ("streams.cli.salts", {"numba", "faust"}),
        ("streams.cli.zones", {"numba", "faust"}),
        ("streams.cli.calibrate", {"numba", "faust"}),
    ],
)
def test_nothing_costly_is_imported_that_is_not_used(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert absent.isdisjoint(said.split())


def test_a_worker_that_was_only_imported_has_loaded_no_compiled_loop() -> None:
    code = """
from streams.agents import workers
from numba.core.dispatcher import Dispatcher
import gc
print(*(loop.__name__ for loop in gc.get_objects() if isinstance(loop, Dispatcher) and loop.signatures))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.split() == []


def test_a_command_that_imports_numba_imports_no_scipy_with_it() -> None:
    code = """
import atexit, sys
from streams.cli.main import main
atexit.register(lambda: print(sorted({name.partition(".")[0] for name in sys.modules} & {"numba", "scipy"}),
                              sys.modules["scipy"]))
main(["machines", "--help"])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True).stdout
    assert said.splitlines()[-1] == "['numba', 'scipy'] None"
