"""Runs' last lines (a file of JSON lines, or standard input) as the Markdown table of docs/reference/guarantees.md.

python -m tests.chaos.summary runs.jsonl
"""

import sys
from collections.abc import Iterable
from pathlib import Path

import orjson

COLUMNS = (
    "seed",
    "minutes",
    "events",
    "a second",
    "faults",
    "panes",
    "differences",
    "differing repeats",
    "rejects",
    "lost",
    "ended by themselves",
    "recovered",
)


def table(lines: Iterable[str]) -> str:
    """The table; lines that aren't a run's last line are passed over."""
    rows = [_row(orjson.loads(line)) for line in lines if line.startswith('{"seed":')]
    return "\n".join(f"| {' | '.join(row)} |" for row in [COLUMNS, ["---"] * len(COLUMNS), *rows])


def _row(run: dict[str, object]) -> list[str]:
    return [
        str(run["seed"]),
        str(run["minutes"]),
        f"{run['events']:,}",
        f"{run['events_per_s']:,}",
        _counts(run["faults"]) + "".join(f", no {name}" for name in _names(run["left_out"])),
        str(run["panes_compared"]),
        str(run["differences"]),
        str(run["duplicate_releases_differing"]),
        "accounted" if run["rejects_accounted"] else "**differ**",
        str(run["lost"]),
        _counts(run["ended_by_themselves"]) or "none",
        f"{run['recovered_s']} s",
    ]


def _counts(counts: object) -> str:
    assert isinstance(counts, dict)
    return ", ".join(f"{name} {number}" for name, number in counts.items())


def _names(reasons: object) -> list[str]:
    assert isinstance(reasons, dict)
    return list(reasons)


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text().splitlines() if sys.argv[1:] else sys.stdin))
