"""Faults of the raw log: poison in it, and records that retention takes before anybody has read them."""

import asyncio
import random
import re
from multiprocessing import get_context

from aiokafka.errors import KafkaError

from schemas.topics import ATTACH
from tests.chaos import load, oracle
from tests.chaos.field import Field
from tests.chaos.worker_faults import held
from tests.support.deployment import fetch

FOLLOW_S = 60.0
TOLD_S = 90.0


async def poison(field: Field, rng: random.Random) -> None:
    """Records that are malformed in every way known, among the others."""
    await load.send_poison(field.settings, rng, field.load.now_ms)


async def lost(field: Field, rng: random.Random) -> bool:
    """Gateways stop until there is a lag; the log's start is moved past their commits; they must tell it as lost.

    They are stopped only once they have committed all that had been there, so that nothing of what is lost was ever
    sent. Returns False, and takes nothing away, where they don't get that far in time or don't stop in order.
    """
    gateways = sorted(name for name in field.workers.running if name.startswith("gateway"))
    if not await _followed(field):
        return False
    with held(field, *gateways):
        codes = await asyncio.gather(*(field.end(name) for name in gateways))
        try:
            if any(codes):
                field.say(f"lost: gateways ended with {codes}, nothing is taken away")
                return False
            committed = {source: at for source, (at, _) in (await field.cluster.committed("gateway", ATTACH)).items()}
            await asyncio.sleep(rng.uniform(1.5, 4.0))
            ranges = await field.cluster.ranges(ATTACH)
            chosen = rng.sample(sorted(ranges), rng.choice([1, 2]))
            points = {}
            for source in chosen:
                lag = ranges[source][1] - committed[source]
                points[source] = committed[source] + max(1, round(lag * rng.uniform(0.1, 0.6)))
                if lag < 2:
                    return False
            for source, point in points.items():
                await _keep(field, source, ranges[source][0], point)
            await field.cluster.delete_below(ATTACH, points)
        finally:
            for name in gateways:
                await field.workers.start(name)
    for source, point in points.items():
        field.deleted.setdefault(source, []).append(point)
    gone = {source: point - committed[source] for source, point in points.items()}
    field.lost += sum(gone.values())
    field.say(f"lost: {gone} records by source")
    await _told(field, points, gone, gateways)
    return True


async def _followed(field: Field) -> bool:
    """Whether the gateways commit all that is there now, within a time."""
    try:
        async with asyncio.timeout(FOLLOW_S):
            ends = {source: end for source, (_, end) in (await field.cluster.ranges(ATTACH)).items()}
            while True:
                committed = await field.cluster.committed("gateway", ATTACH)
                if all(committed.get(source, (0, ""))[0] >= end for source, end in ends.items()):
                    return True
                await asyncio.sleep(0.3)
    except (TimeoutError, KafkaError):
        field.say("lost: the gateways did not follow in time, nothing is taken away")
        return False


async def _keep(field: Field, source: int, first: int, point: int) -> None:
    """Copy what will be deleted, for the oracle."""
    process = get_context("spawn").Process(
        target=oracle.keep_copy, args=(field.settings, field.folder, source, first, point)
    )
    process.start()
    while process.is_alive():  # noqa: ASYNC110 - another process
        await asyncio.sleep(0.1)
    if process.exitcode:
        raise SystemExit(f"chaos: the raw log of source {source} could not be copied")


async def _told(field: Field, points: dict[int, int], gone: dict[int, int], gateways: list[str]) -> None:
    """The metric and the log must say how many."""
    try:
        async with asyncio.timeout(TOLD_S):
            while True:
                committed = await field.cluster.committed("gateway", ATTACH)
                if all(committed[source][0] > point for source, point in points.items()):
                    break
                await asyncio.sleep(0.5)
        metrics = [await asyncio.to_thread(fetch, field.workers.ports[name]) for name in gateways]
    except (TimeoutError, KafkaError, OSError) as error:
        field.wrong.append(f"lost: no gateway went on behind {points} within {TOLD_S:g} s ({type(error).__name__})")
        return
    logs = "".join((field.folder / f"{name}.log").read_text(errors="replace") for name in gateways)
    for source, number in gone.items():
        told = [int(float(n)) for text in metrics for n in re.findall(_series(source), text)]
        # A gateway that is given a source twice before its first commit tells it twice.
        if max(told, default=0) < number:
            field.wrong.append(f"lost: {number} records of source {source}, the gateways' metric says {told}")
        if f"{number} raw records of partition {source} were gone" not in logs:
            field.wrong.append(f"lost: no log says that {number} records of source {source} are gone")


def _series(source: int) -> str:
    return rf'throng_gateway_lost_records_total{{partition="{source}"}} ([0-9.e+]+)'
