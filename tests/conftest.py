"""Fixtures for all tests: one real Kafka and one real Redis a session, and a namespace a test to be alone on them."""

import gc
import os
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import hypothesis
import pytest

from streams.local.stack import Stack, start
from tests.support.processes import preload

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("throng", deadline=None)
hypothesis.settings.load_profile("throng")

# To read the system's certificates, by which nobody here is known, takes 60 ms of each TLS context.
os.environ |= {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}

# Files of servers are all begun by this share of the others: none is left alone at the end.
EARLIER: Final = 0.8


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: a quarter of collecting was looking through it for garbage as it grew."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files whose tests wait for servers among the others, which need the processor meanwhile.

    Files are begun in this order (xdist's own would begin those of few tests last, which are the longest).
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    waiting, working = [], []
    for tests in files.values():
        waits = any(test.get_closest_marker("integration") for test in tests)
        (waiting if waits else working).append(tests)
    placed = [(n * EARLIER / len(waiting), tests) for n, tests in enumerate(waiting)]
    placed += [(n / len(working), tests) for n, tests in enumerate(working)]
    items[:] = [test for _, tests in sorted(placed, key=lambda each: each[0]) for test in tests]


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    """A Kafka (`stack.kafka`) and a Redis (`stack.redis`) of this session's own; they end with it, however it ends."""
    terminal = pytestconfig.pluginmanager.get_plugin("terminalreporter")

    def progress(line: str) -> None:
        if terminal:
            terminal.write_line(f"[stack] {line}")

    preload()
    with start(ephemeral=True, progress=progress, brief=True) as ready:
        yield ready


@pytest.fixture
def namespace() -> str:
    """A prefix for topics, groups and Redis keys that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"
