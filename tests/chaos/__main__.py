"""`make chaos`: a town's events through a whole deployment while faults are drawn, then everything against the oracle.

    CHAOS_SEED=7 CHAOS_MINUTES=2 CHAOS_FAULTS=kill,stop make chaos

The last line of standard output counts what was compared; the exit code is 0 only if nothing differs.
"""

import asyncio
import logging
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import orjson

from schemas.topics import FLOWS, FOOTFALL, LEDGER, REJECTS
from streams.local.stack import start
from tests.chaos.faults import FAULTS, Chaos
from tests.support.deployment import Run, Workers, deployment, make_world, read_topic

SUBSCRIBERS = 60_000
SPEED = 240.0
ROLES = {"gateway": 2, "crowd": 2, "release": 2}
PARTITIONS = 8
SETTLE_S = 5.0
NAMED_BY = ("measure", "zone", "origin", "destination", "age_band", "gender", "end")


async def run(seed: int, minutes: float, names: list[str], folder: Path) -> dict[str, object]:
    """One run; what its last line says."""
    rng = random.Random(seed)
    hours = minutes * 60 * SPEED / 3600
    print(f"making {hours:.1f} hours of a town of {SUBSCRIBERS:,}", flush=True)
    world = await asyncio.to_thread(make_world, SUBSCRIBERS, hours)
    stack = await asyncio.to_thread(start, folder / "stack", progress=lambda line: print(line, flush=True))
    seen: list[Chaos] = []

    async def faults(workers: Workers) -> None:
        chaos = Chaos(workers, folder / "stack", rng)
        seen.append(chaos)
        watching = asyncio.create_task(chaos.keep_running())
        await chaos.play(names, minutes * 60 - 10)
        await asyncio.sleep(SETTLE_S)
        watching.cancel()

    try:
        async with deployment(stack, "", world, folder, ROLES, PARTITIONS, SPEED, faults) as done:
            return {
                "seed": seed,
                "events": done.gate.events,
                "faults": dict(sorted(seen[0].done.items())),
                "ended_by_themselves": dict(seen[0].ended_by_themselves),
                "panes_compared": len(done.result.panes),
                "differences": differing(done),
                "duplicate_releases_differing": await differing_repeats(done),
                "rejects_accounted": await rejects_of(done) == done.gate.rejects,
            }
    finally:
        await asyncio.to_thread(stack.stop)


def differing(done: Run) -> int:
    """Panes that are not what the oracle counted."""
    wanted = {name: +counts for name, counts in done.result.panes.items()}
    return sum(done.panes.get(name) != wanted.get(name) for name in done.panes.keys() | wanted.keys())


async def differing_repeats(done: Run) -> int:
    """Released records that were published twice and not the same, or that the ledger's first record doesn't say."""
    first: dict[tuple[object, ...], bytes] = {}
    differing = 0
    for topic in (FOOTFALL, FLOWS):
        for record in await read_topic(done.settings, topic):
            said = orjson.loads(record.value)
            key = (
                topic,
                *(said.get(n) for n in ("measure", "zone", "origin", "destination", "age_band", "gender", "end")),
            )
            differing += first.setdefault(key, record.value) != record.value
    if not first or not await read_topic(done.settings, LEDGER):
        raise SystemExit("nothing was released: there is nothing to compare")
    return differing


async def rejects_of(done: Run) -> dict[tuple[int, int, int], str]:
    """Reasons by partition, offset and index."""
    found = {}
    for record in await read_topic(done.settings, REJECTS):
        headers = {name: value.decode() for name, value in record.headers}
        found[int(headers["partition"]), int(headers["offset"]), int(headers["index"])] = headers["reason"]
    return found


def main() -> int:
    """Read the choices from the environment."""
    seed = int(os.environ.get("CHAOS_SEED", "1"))
    minutes = float(os.environ.get("CHAOS_MINUTES", "2"))
    names = [name for name in os.environ.get("CHAOS_FAULTS", "").split(",") if name] or list(FAULTS)
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        print(f"chaos: unknown fault {unknown[0]}; there are: {', '.join(FAULTS)}", file=sys.stderr)
        return 2
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the harness's own clients, while the broker is away
    with tempfile.TemporaryDirectory(prefix="throng-chaos-") as folder:
        try:
            said = asyncio.run(run(seed, minutes, names, Path(folder)))
        except BaseException:
            for log in sorted(Path(folder).glob("*.log")):
                print(f"--- the end of {log.name}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n")
            raise
        for log in sorted(Path(folder).glob("*.log")):
            print(f"{log.name}: {dict(Counter(_levels(log)))}")
    print(orjson.dumps(said).decode())
    good = not said["differences"] and not said["duplicate_releases_differing"] and said["rejects_accounted"]
    return 0 if good else 1


def _levels(log: Path) -> list[str]:
    words = (line.split() for line in log.read_text(errors="replace").splitlines())
    return [line[2] for line in words if len(line) > 3 and line[2] in ("WARNING", "ERROR")]


if __name__ == "__main__":
    sys.exit(main())
