"""CPU time of a process and all that it started, and of the servers, from /proc (Linux)."""

import os
from pathlib import Path
from typing import Final

from streams.local.stack import Stack
from streams.local.state import read_state

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def cpu_s(root: int) -> float:
    """User and system time of the process tree under `root`, those that have ended and were waited for included, s."""
    stats = _stats()
    children: dict[int, list[int]] = {}
    for pid, (parent, _) in stats.items():
        children.setdefault(parent, []).append(pid)
    todo, ticks = [root], 0
    while todo:
        pid = todo.pop()
        todo += children.get(pid, [])
        ticks += stats.get(pid, (0, 0))[1]
    return ticks / _TICKS


def servers_cpu_s(stack: Stack) -> float:
    """What Kafka and Redis have used, s."""
    state = read_state(stack.folder)
    return sum(cpu_s(process.pid) for process in state.processes) if state else 0.0


def memory_mb(root: int) -> float:
    """Resident memory of one process, MB."""
    try:
        pages = int(Path(f"/proc/{root}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _stats() -> dict[int, tuple[int, int]]:
    """Each process's parent, and its ticks with those of its waited-for children (proc(5), stat: 4, 14 to 17)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    return found
