"""Freed memory stays with a worker: tables that grow are seldom put into memory that the kernel has to zero first."""

import platform
import subprocess
import sys

import pytest

from streams.agents import heap

GROWING = """
import resource, sys
import numpy as np
from streams.agents.heap import keep_freed
if sys.argv[1] == "kept":
    assert keep_freed()
tables = [np.zeros(200_000, np.uint8) for _ in range(4)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    for number, table in enumerate(tables):
        tables[number] = np.zeros(len(table) * 11 // 10, np.uint8)
        tables[number][: len(table)] = table
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    """Pages that the kernel gave while four tables grew by tenths, to 9 MB each."""
    said = subprocess.run([sys.executable, "-c", GROWING, how], capture_output=True, text=True, check=True, timeout=60)
    return int(said.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have no such limits")
def test_tables_grow_in_memory_that_was_freed_before() -> None:
    assert faults("kept") * 2 < faults("given back")


def test_without_glibc_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda _: object())
    assert not heap.keep_freed()
