"""The peers' benchmark at the command line.

python -m benchmarks.peers install [NAME ...]
python -m benchmarks.peers check [NAME ...]     each configuration on the small input, against the oracle
python -m benchmarks.peers run [--rounds 3] [--peers throng,flink,...] [--events 12000000]
"""

import argparse
import asyncio
import logging
import sys
import time

from benchmarks.peers import oracle, run
from benchmarks.peers.drive import drive
from benchmarks.peers.job import PARTITIONS, SHAPES, SMALL, START_MS, blocks, cell_texts, zone_of
from benchmarks.peers.outputs import differences
from benchmarks.peers.peers import BY_NAME, install
from benchmarks.peers.publish import create, prepare, publish
from benchmarks.peers.throng import check_throng
from streams.local.stack import start

CHECK_S = 300.0


def told(line: str) -> None:
    """Show progress at once."""
    print(line, flush=True)


async def check(names: list[str], shapes: list[str]) -> int:
    """Run each on the small input; how many were wrong."""
    made = prepare(SMALL, told)
    zones = {name: zone_of(number) for number, name in enumerate(cell_texts())}
    right = oracle.count(
        ([v for _, v in block.values() if v] for block in blocks(SMALL, made.events, 1)), zones, START_MS, SMALL.pane_ms
    )
    told(f"the oracle counts {right.done(SMALL.panes):,} events, rejects {right.rejected}")
    wrong = 0
    with start(ephemeral=True, progress=told, heap_mb=1024) as stack:
        for shape in shapes:
            await create(stack.kafka, f"events-{shape}", PARTITIONS)
            await publish(stack.kafka, f"events-{shape}", made.packed[shape], told)
        for name in names:
            if name == "throng":
                wrong += await check_throng(stack, made, shapes, told)
                continue
            peer = BY_NAME[name]
            for configuration in peer.configurations:
                for shape in shapes:
                    began = time.monotonic()
                    done = await drive(
                        *(stack, peer, configuration, f"events-{shape}", shape),
                        *(SMALL, made.good, CHECK_S),
                        to_the_end=True,
                    )
                    lines = [done.trouble] if done.trouble else differences(right, done.sums, SMALL.panes)
                    wrong += bool(lines)
                    told(
                        f"{name} {configuration.name} {shape}: {'WRONG' if lines else 'equal'} "
                        f"({done.events:,} events in {time.monotonic() - began:.0f} s)"
                    )
                    for line in lines:
                        told(f"  {line}")
    return wrong


def main() -> int:
    """See the module."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = options.add_subparsers(dest="command", required=True)
    for name in ("install", "check"):
        command = commands.add_parser(name)
        command.add_argument("names", nargs="*")
        command.add_argument("--shapes", default=",".join(SHAPES))
    run.arguments(commands.add_parser("run"))
    chosen = options.parse_args()
    if chosen.command == "run":
        return run.main(chosen)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # retries while topics settle
    names = chosen.names or ["throng", *BY_NAME]
    failed = install([BY_NAME[name] for name in names if name in BY_NAME])
    for name, why in failed.items():
        told(f"{name} is left out: {why}")
    if chosen.command == "install":
        return 0
    return 1 if asyncio.run(check([name for name in names if name not in failed], chosen.shapes.split(","))) else 0


if __name__ == "__main__":
    sys.exit(main())
