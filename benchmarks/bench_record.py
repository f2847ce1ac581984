"""How fast topics are recorded: `throng record` of events on a real Kafka, in records per CPU-second of its process.

python benchmarks/bench_record.py [--hours 6] [--subscribers 100000]
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

import orjson

from schemas.topics import ATTACH
from streams.local.stack import start
from streams.settings import load_settings, to_environ
from streams.simulate import Rates, generate, make_town
from streams.simulate.publish import producer, publish
from streams.stores.topics import create

START_MS = 1_772_427_600_000


async def fill(settings: object, subscribers: int, hours: float) -> None:
    await create(settings)
    sender = producer(settings.kafka.bootstrap)
    await sender.start()
    slices = generate(make_town(1, subscribers), START_MS, START_MS + round(hours * 3600) * 1000, 4, 1, Rates())
    await publish(sender, settings.topic(ATTACH), slices, None, lambda _: None)
    await sender.stop()


def main() -> None:
    """Print what the command says of itself, and the rate."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--hours", type=float, default=4.0)
    options.add_argument("--subscribers", type=int, default=100_000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, start(ephemeral=True, progress=print) as stack:
        settings = load_settings(
            None, {"kafka.bootstrap": stack.kafka, "redis.url": stack.redis, "kafka.keep_forever": True}, {}
        )
        asyncio.run(fill(settings, chosen.subscribers, chosen.hours))
        for extra in ("--contains-personal-data", "--re-pseudonymise"):
            said = subprocess.run(
                [
                    *(sys.executable, "-m", "streams.cli.main", "record", ATTACH),
                    *(str(Path(folder) / "recording.parquet"), extra),
                ],
                env=to_environ(settings),
                capture_output=True,
                check=True,
            )
            totals = orjson.loads(said.stdout)
            rate = totals["records"] / totals["cpu_s"]
            print(
                f"{extra}: {totals} {rate:,.0f} records/CPU-s, {totals['bytes'] / totals['records']:.0f} bytes a record"
            )


if __name__ == "__main__":
    main()
