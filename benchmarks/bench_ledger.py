"""What a release that starts reads of its ledger, and for how long: by the ledger's length, on a Kafka of its own.

A ledger of so many days is written, of records as large as the default measures' are with so many zones, by panes of
5 minutes, on a day that knows the one before; what is in them is noise of the right length. Then it is read from its
start, as every start did before the records named where to begin, and from there on. Wall time of this process, the
broker's disk cache warm.

    python -m benchmarks.bench_ledger [--zones 1000] [--days 30]
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from benchmarks.bench_release import NOISE, NUMBER, PANE_MS, epoch_of, panes_of, plan_of
from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.panes import Pane
from schemas.plan import Plan
from schemas.topics import LEDGER
from streams.agents.producing import Producer
from streams.core.estimates.yesterday import Drawn
from streams.core.release.budget import sigma
from streams.core.release.ledger import Account
from streams.core.release.release import Draw, Profiles, next_record, profiles
from streams.core.release.render import Page
from streams.core.release.sums import Sums
from streams.local.stack import start, stop
from streams.settings import Settings, load_settings
from streams.stores.ledger import Ledger
from streams.stores.log import TailReader
from streams.stores.noise import draw_pane
from streams.stores.topics import create

A_DAY = 288


def records_of(plan: Plan) -> list[tuple[int, LedgerRecord]]:
    """A record of each default measure, and how many base panes one is of."""
    draws, found = np.random.default_rng(1), []
    for measure in DEFAULT_MEASURES:
        epoch, page, last = epoch_of(len(plan.zones), len(plan.parents), measure), Page(plan, 0.95), None
        yesterday = None
        for number in (NUMBER, 2 * NUMBER):
            sums = Sums()
            sums.begin_anywhere()
            for offset, pane in enumerate(panes_of(epoch, measure, draws, number)):
                sums.add(msgspec.msgpack.decode(pane, type=Pane), offset, epoch)
            whole = sums.first_whole()
            assert whole is not None
            noisy, keys = draw_pane(NOISE, epoch, measure, whole.counts[measure.name])
            if keys is None and yesterday is None:
                yesterday = _as_ever(noisy, epoch, measure, page)
            draw = Draw(epoch, measure, number, whole.end_ms, noisy, keys)
            last = next_record(draw, last, None, page, 0, "bench", yesterday)
        assert last is not None
        found.append((measure.pane_ms // PANE_MS, last))
    return found


def _as_ever(noisy: NDArray[np.int64], epoch: Epoch, measure: Measure, page: Page) -> Profiles:
    """A yesterday of panes that were all as this one."""
    every = measure.pane_ms // epoch.pane_ms
    panes = dict.fromkeys(range(every, epoch.last_pane + 1, every), noisy.astype(np.int32))
    *_, last = profiles(Drawn(panes, sigma(measure, epoch)), epoch, measure, page)
    assert last is not None
    return last


async def write(settings: Settings, records: list[tuple[int, LedgerRecord]], days: int) -> int:
    """Fill the ledger; returns its records' bytes."""
    account, offset, written, rng = Account(), 0, 0, np.random.default_rng(2)
    producer = Producer(settings.kafka, settings.kafka.request_ms)
    await producer.start()
    try:
        for day in range(1, days + 1):
            for number in range(1, A_DAY + 1):
                acks = []
                for _, record in ((every, record) for every, record in records if number % every == 0):
                    own = {"state": rng.bytes(len(record.state)), "publish": rng.bytes(len(record.publish))}
                    new = replace(record, epoch=day, number=number, begins=account.begins(), **own)
                    value = msgspec.msgpack.encode(new)
                    acks.append(await producer.send(settings.topic(LEDGER), value, partition=0))
                    account.take(new, offset)
                    offset, written = offset + 1, written + len(value)
                await asyncio.gather(*acks)
    finally:
        await producer.stop()
    return written


async def read(settings: Settings, *, whole: bool) -> tuple[float, int]:
    """Seconds and bytes until the ledger is read."""
    reader = TailReader(settings.kafka, settings.topic(LEDGER))
    await reader.start()
    try:
        began = time.perf_counter()
        if not whole:
            ledger = Ledger(reader, None, settings.topic(LEDGER))  # type: ignore[arg-type]
            await ledger.read()
            return time.perf_counter() - began, ledger.bytes_read
        account, size = Account(), 0
        async for records in reader.read_to_end():
            for record in records:
                size += len(record.value)
                account.take(msgspec.msgpack.decode(record.value, type=LedgerRecord), record.offset)
        return time.perf_counter() - began, size
    finally:
        await reader.stop()


async def measured(settings: Settings, zones: int, days: int) -> None:
    """Print a line for the whole, and for what a start reads."""
    await create(settings)
    records = records_of(plan_of(zones))
    size = await write(settings, records, days)
    print(f"{zones:,} zones, {days} days: {size / 1e6:,.0f} MB, {size / days / 1e6:,.0f} MB a day")
    for name, whole in (("whole", True), ("from where it says", False)):
        seconds, read_bytes = await read(settings, whole=whole)
        print(f"{name:20} {seconds:8.1f} s {read_bytes / 1e6:10,.0f} MB")


def main() -> None:
    """Start a Kafka, and measure."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--zones", type=int, default=1000)
    options.add_argument("--days", type=int, default=30)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stack = start(Path(folder), ephemeral=True)
        try:
            settings = load_settings(None, {"kafka.bootstrap": stack.kafka, "redis.url": stack.redis}, {})
            asyncio.run(measured(settings, chosen.zones, chosen.days))
        finally:
            stop(Path(folder))


if __name__ == "__main__":
    main()
