"""Fixtures for all tests: one real Kafka and one real Redis a session, and a namespace a test to be alone on them."""

import uuid
from collections.abc import Iterator

import hypothesis
import pytest

from streams.local.stack import Stack, start

# How long an example takes says more of the machine than of the code.
hypothesis.settings.register_profile("throng", deadline=None)
hypothesis.settings.load_profile("throng")


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config) -> Iterator[Stack]:
    """A Kafka (`stack.kafka`) and a Redis (`stack.redis`) of this session's own; they end with it, however it ends."""
    terminal = pytestconfig.pluginmanager.get_plugin("terminalreporter")

    def progress(line: str) -> None:
        if terminal:
            terminal.write_line(f"[stack] {line}")

    with start(ephemeral=True, progress=progress) as ready:
        yield ready


@pytest.fixture
def namespace() -> str:
    """A prefix for topics, groups and Redis keys that no other test has."""
    return f"t{uuid.uuid4().hex[:12]}"
