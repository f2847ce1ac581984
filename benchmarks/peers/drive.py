"""One run of one peer: start it, add up what it writes, sample its CPU, end it."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from benchmarks.peers.job import CELLS, START_MS, Size, cell_texts, zone_of
from benchmarks.peers.measure import cpu_s, memory_mb, servers_cpu_s
from benchmarks.peers.outputs import Sums
from benchmarks.peers.peers import Configuration, Peer
from benchmarks.peers.publish import create, remove
from streams.local.stack import Stack

SAMPLE_S = 0.25
WARM_UP = 1 / 3
START_S = 120.0
QUIET_S = 2.0
TAIL_LINES = 8


class Sample(NamedTuple):
    """How far a run was: wall and CPU time, s; events told as counted; what Kafka and Redis have used in it, s."""

    at_s: float
    cpu_s: float
    events: int
    servers_s: float = 0.0


class Run(NamedTuple):
    """What came of a run. `rate`: events per CPU-second after the warm-up, None if too little was counted."""

    rate: float | None
    wall_rate: float | None
    events: int
    memory_mb: float
    samples: list[Sample]
    sums: Sums
    trouble: str | None = None


def warmed(samples: list[Sample]) -> Sample | None:
    """What was done from the end of the warm-up to the last event told; None if nothing was.

    The warm-up is over at the first sample with a third of what was counted in the end. (In between a peer may have
    read on beyond what it told, which is in its favour.)
    """
    if not samples or not (whole := samples[-1].events):
        return None
    warm = next(sample for sample in samples if sample.events >= whole * WARM_UP)
    last = next(sample for sample in samples if sample.events == whole)
    done = Sample(*(after - before for before, after in zip(warm, last, strict=True)))
    return done if done.events > 0 and done.cpu_s > 0 else None


def rates(samples: list[Sample]) -> tuple[float | None, float | None]:
    """Events per CPU-second and per second of wall time after the warm-up."""
    done = warmed(samples)
    return (done.events / done.cpu_s, done.events / done.at_s) if done else (None, None)


def write_cells(folder: Path) -> Path:
    """The file that tells peers the zone of each cell."""
    path = folder / "cells.csv"
    names = cell_texts()
    path.write_text("".join(f"{names[number]},{zone_of(number)}\n" for number in range(CELLS)))
    return path


async def drive(
    stack: Stack,
    peer: Peer,
    configuration: Configuration,
    topic: str,
    shape: str,
    size: Size,
    good: int,
    most_s: float,
    to_the_end: bool = False,
) -> Run:
    """Run it until all events are counted or the time is over.

    Args:
        good: events that count. most_s: from the first event told.
        to_the_end: wait for what is written behind the last event as well.
    """
    bootstrap = stack.kafka
    ident = f"{peer.name}-{uuid.uuid4().hex[:8]}"
    output = f"out-{ident}"
    await create(bootstrap, output, 1)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, max_partition_fetch_bytes=1 << 24
    )
    await consumer.start()
    consumer.assign([TopicPartition(output, 0)])
    await consumer.seek_to_beginning()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = {
            **{"--bootstrap": bootstrap, "--input": topic, "--output": output, "--cells": str(write_cells(folder))},
            **{"--start-ms": str(START_MS), "--pane-ms": str(size.pane_ms), "--shape": shape, "--group": ident},
        }
        said = folder / "said.log"
        with said.open("wb") as log:
            process = subprocess.Popen(  # noqa: ASYNC220 - its start is short
                [*peer.command(configuration), *(word for pair in options.items() for word in pair)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
                start_new_session=True,
            )
        try:
            return await _watch(process, consumer, stack, size, good, most_s, to_the_end, said)
        finally:
            end(process)
            await consumer.stop()
            await remove(bootstrap, [output])


async def _watch(
    process: "subprocess.Popen[bytes]",
    consumer: AIOKafkaConsumer,
    stack: Stack,
    size: Size,
    good: int,
    most_s: float,
    to_the_end: bool,
    said: Path,
) -> Run:
    sums, samples, memory = Sums(), list[Sample](), 0.0
    began, servers_began_s = time.monotonic(), servers_cpu_s(stack)
    first = heard = sampled = 0.0
    trouble = None
    while True:
        found = await consumer.getmany(timeout_ms=int(SAMPLE_S * 1000), max_records=2_000)
        now = time.monotonic()
        for records in found.values():
            heard = now
            for record in records:
                sums.add(record.value)
        events = sums.done(size.panes)
        first = first or (now if events else 0.0)
        if now - sampled >= SAMPLE_S or events >= good:
            servers_s = servers_cpu_s(stack) - servers_began_s
            samples.append(Sample(now - began, cpu_s(process.pid), events, servers_s))
            memory, sampled = max(memory, memory_mb(process.pid)), now
        if events >= good and (not to_the_end or now - heard > QUIET_S):
            break
        if process.poll() is not None:
            trouble = f"ended with code {process.returncode}: {_tail(said)}"
            break
        if not first and now - began > START_S:
            trouble = f"told nothing for {START_S:g} s: {_tail(said)}"
            break
        if first and now - first > most_s:
            break
    rate, wall_rate = rates(samples) if trouble is None else (None, None)
    sums.drop_zeros()
    return Run(rate, wall_rate, sums.done(size.panes), memory, samples, sums, trouble)


def end(process: "subprocess.Popen[bytes]", grace_s: float = 10.0) -> None:
    """Ask the peer to end; after a while end its whole group."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(said: Path) -> str:
    return " | ".join(said.read_text(errors="replace").strip().splitlines()[-TAIL_LINES:])


async def pause() -> None:
    """Let the machine come to rest between runs."""
    await asyncio.sleep(1.0)
