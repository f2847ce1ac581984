"""`make chaos`: a town's events through a whole deployment while faults are drawn, then everything against the oracle.

    CHAOS_SEED=7 CHAOS_MINUTES=2 CHAOS_FAULTS=kill,stop make chaos
    CHAOS_BROKERS=3 make chaos

The last line of standard output counts what was compared; the exit code is 0 only if nothing is wrong, the load was
what it should be, and every chosen fault was done.
"""

import asyncio
import logging
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import orjson

from tests.chaos.faults import LANES, faults
from tests.chaos.run import run

LEAST_EVENTS_PER_S = {1: 20_000, 3: 15_000}  # by brokers: of three those that are away are away for longer
WRONG_SHOWN = 20


def main() -> int:
    """Read the choices from the environment."""
    seed = int(os.environ.get("CHAOS_SEED", "1"))
    minutes = float(os.environ.get("CHAOS_MINUTES", "2"))
    brokers = int(os.environ.get("CHAOS_BROKERS", "1"))
    if brokers not in LANES:
        print(f"chaos: CHAOS_BROKERS is {brokers}; there can be {' or '.join(map(str, LANES))}", file=sys.stderr)
        return 2
    there = faults(brokers)
    names = [name for name in os.environ.get("CHAOS_FAULTS", "").split(",") if name] or there
    if unknown := [name for name in names if name not in there]:
        print(f"chaos: unknown fault {unknown[0]}; there are: {', '.join(there)}", file=sys.stderr)
        return 2
    for name in ("aiokafka", "aiokafka.consumer.fetcher"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the harness's own clients, while the broker is away
    folder = Path(tempfile.mkdtemp(prefix=f"throng-chaos-{seed}-"))
    wrong = ["the run did not come to its end"]
    try:
        said, found = asyncio.run(run(seed, minutes, names, brokers, folder))
        wrong = found + short_of(said, names, LEAST_EVENTS_PER_S[brokers])
    finally:
        for log in sorted(folder.glob("*-*.log")):
            print(f"{log.name}: {dict(Counter(_levels(log)))}")
        if wrong:
            print(f"seed {seed}: {len(wrong)} things are wrong", *wrong[:WRONG_SHOWN], sep="\n  ")
        _clear(folder, keep_logs=bool(wrong))
    print(orjson.dumps(said).decode())
    return 1 if wrong else 0


def short_of(said: dict[str, object], names: list[str], least: int) -> list[str]:
    """What a run must have been like to show anything."""
    done, out = said["faults"], said["left_out"]
    assert isinstance(done, dict) and isinstance(out, dict)
    wrong = [f"the fault {name} was not done" for name in names if not done.get(name) and name not in out]
    if float(str(said["events_per_s"])) < least:
        wrong.append(f"{said['events_per_s']} events a second were fewer than {least}")
    return wrong


def _clear(folder: Path, keep_logs: bool) -> None:
    """Remove what a run has written; of one that went wrong all but the logs."""
    for path in folder.rglob("*"):
        if path.is_file() and not (keep_logs and path.suffix == ".log"):
            path.unlink()
    if keep_logs:
        print(f"the logs are kept in {folder}")
    else:
        shutil.rmtree(folder)


def _levels(log: Path) -> list[str]:
    words = (line.split() for line in log.read_text(errors="replace").splitlines())
    return [line[2] for line in words if len(line) > 3 and line[2] in ("WARNING", "ERROR")]


if __name__ == "__main__":
    sys.exit(main())
