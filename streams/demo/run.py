"""Runs the demo: a stack of its own, a town, the worker, the simulation, and what watches them; ends all of it.

    stack -> topics -> plan and registry -> worker (gateway, crowd, release), API -> simulate -> watch, draw, count

Everything lives in a temporary folder, with free ports; whatever ends it (the time, Ctrl-C, a failure), nothing stays.
"""

import asyncio
import contextlib
import io
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple, cast
from zoneinfo import ZoneInfo

import msgspec
import orjson
from redis.asyncio import Redis
from rich.console import Console
from rich.live import Live

from schemas.policy import Purpose
from schemas.topics import HOUR_MS, REGISTRY
from streams.api import tokens
from streams.api.page import MAP
from streams.demo.processes import Children
from streams.demo.state import DemoState
from streams.demo.view import plain_line, render
from streams.demo.watch import Watcher
from streams.errors import ThrongError
from streams.local.ports import free_ports
from streams.local.stack import Stack, start
from streams.settings import Settings, load_settings, to_environ
from streams.simulate import make_town, plan, registry
from streams.simulate.publish import producer, publish_registry
from streams.stores.counts import CountStore
from streams.stores.plans import load_plan
from streams.stores.topics import create

REFRESH_S = 0.5
PLAIN_EVERY_S = 3.0
SETTLE_S = 4.0
WINDOW_MS = 900_000
RAW_PARTITIONS = 4
PARTITIONS = 4
WORKERS = 3  # gateway, crowd and release, each with a port of its own
API = WORKERS  # behind them the API's, for its health, and the one that it serves on
VISITOR = "demo"
TOKEN_LASTS_MS = 24 * HOUR_MS


class Options(NamedTuple):
    """What the demo shows. `speed`: simulated seconds a second. `last_s`: None until Ctrl-C, or without a
    terminal the town's end. `picture`: where to keep the last screen."""

    subscribers: int
    speed: float
    start: str
    hours: float
    seed: int
    last_s: float | None
    picture: Path | None


async def run(options: Options, console: Console) -> dict[str, object]:
    """The whole demo; returns the counts of its last line.

    Raises:
        ThrongError: something that it started failed.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    state = DemoState()

    def step(text: str) -> None:
        state.step = text
        console.print(text, style="dim", highlight=False)

    with tempfile.TemporaryDirectory(prefix="throng-demo-") as folder:
        step("starting Kafka and Redis (the first time they are downloaded)")
        stack = await asyncio.to_thread(start, Path(folder) / "stack", "demo", step, ephemeral=True)
        try:
            await _play(options, stack, Path(folder), state, step_to=step, stop=stop, console=console)
        finally:
            await asyncio.to_thread(stack.stop)
    return _totals(state)


async def _play(
    options: Options,
    stack: Stack,
    folder: Path,
    state: DemoState,
    *,
    step_to: Callable[[str], None],
    stop: asyncio.Event,
    console: Console,
) -> None:
    settings = _settings(stack, folder)
    await create(settings)
    step_to(f"making a town of {options.subscribers:,} subscribers")
    names, zone = await _prepare(options, settings, folder)
    environ = {**os.environ, **to_environ(settings)}
    async with Children(folder) as children:
        step_to("starting the worker: gateway, crowd, release")
        await children.start("worker", ["worker"], environ)
        await children.start("api", ["worker", "api"], environ | _beside(settings, API))
        await _ready(children, settings, stop)
        if stop.is_set():
            return
        state.map = _map(settings)
        console.print(f"the map, live in a browser: {state.map}", highlight=False, soft_wrap=True)
        step_to(f"playing the morning at {options.speed:g} times its speed")
        await children.start("simulation", _simulation(options, stack), environ)
        async with _watching(settings, state, names):
            await _show(options, state, zone, children, stop, console)
            step_to("")
    if options.picture is not None:
        _keep_picture(options.picture, state, zone)


def _settings(stack: Stack, folder: Path) -> Settings:
    ports = free_ports(API + 2)
    return load_settings(
        None,
        {
            "kafka.bootstrap": stack.kafka,
            "redis.url": stack.redis,
            "kafka.keep_forever": True,
            "kafka.raw_partitions": RAW_PARTITIONS,
            "kafka.partitions": PARTITIONS,
            "gateway.plan": str(folder / "plan.json"),
            "gateway.keys": str(folder / "keys"),
            "worker.http_port": ports[0],
            "api.port": ports[-1],
            "api.tokens": str(folder / "tokens"),
        },
        {},
    )


def _beside(settings: Settings, place: int) -> dict[str, str]:
    """The environment of a process of its own, whose health is told on a port behind the workers'."""
    worker = msgspec.structs.replace(settings.worker, http_port=settings.worker.http_port + place)
    return to_environ(msgspec.structs.replace(settings, worker=worker))


def _map(settings: Settings) -> str:
    """Where the live map is, with a token for whoever looks at it."""
    until_ms = round(time.time() * 1000) + TOKEN_LASTS_MS
    purpose = cast(Purpose, settings.gateway.purpose)
    token = tokens.make(Path(settings.api.tokens), VISITOR, purpose, until_ms)
    return f"http://{settings.api.host}:{settings.api.port}{MAP}#token={token}"


async def _prepare(options: Options, settings: Settings, folder: Path) -> tuple[dict[str, str], ZoneInfo]:
    """Write the plan and the registry; the gateway must find every subscriber there from its first event on."""
    town = await asyncio.to_thread(make_town, options.seed, options.subscribers)
    (folder / "plan.json").write_bytes(orjson.dumps(plan(town)))
    sender = producer(settings.kafka.bootstrap)
    await sender.start()
    try:
        await publish_registry(sender, settings.topic(REGISTRY), registry(town))
    finally:
        await sender.stop()
    read = load_plan(Path(settings.gateway.plan))
    names = {zone.id: zone.name for zone in read.zones} | {parent.id: parent.name for parent in read.parents}
    return names, ZoneInfo(read.timezone)


def _simulation(options: Options, stack: Stack) -> list[str]:
    return [
        "simulate",
        f"--kafka={stack.kafka}",
        f"--subscribers={options.subscribers}",
        f"--seed={options.seed}",
        f"--start={options.start}",
        f"--hours={options.hours:g}",
        f"--speed={options.speed:g}",
        "--no-registry",
    ]


async def _ready(children: Children, settings: Settings, stop: asyncio.Event) -> None:
    """Wait until every role, and the API, says on /readyz that it is ready."""
    waiting = {settings.worker.http_port + place for place in range(API + 1)}
    while waiting and not stop.is_set():
        children.ended("worker")
        children.ended("api")
        for port in list(waiting):
            if await _answers(port):
                waiting.discard(port)
        await asyncio.sleep(0.1)


async def _answers(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /readyz HTTP/1.0\r\n\r\n")
        await writer.drain()
        return (await reader.readline()).split()[1:2] == [b"200"]
    except OSError:
        return False
    finally:
        writer.close()


@contextlib.asynccontextmanager
async def _watching(settings: Settings, state: DemoState, names: dict[str, str]) -> AsyncIterator[None]:
    watcher = Watcher(settings, state, names)
    redis = Redis.from_url(settings.redis.url)
    counts = CountStore(redis, "")
    tasks = [
        asyncio.create_task(watch)
        for watch in (
            watcher.attach(),
            watcher.sightings(),
            watcher.rejects(),
            watcher.footfall(),
            watcher.flows(),
            watcher.live(counts, WINDOW_MS, REFRESH_S),
        )
    ]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        pending = set(tasks)
        while pending:  # a consumer that is just starting may swallow the first cancellation
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=1.0)
        await asyncio.gather(*tasks, return_exceptions=True)
        await redis.aclose()


async def _show(
    options: Options, state: DemoState, zone: ZoneInfo, children: Children, stop: asyncio.Event, console: Console
) -> None:
    """Draw until it is over: the time, Ctrl-C, or, where nobody can press that, the simulation's end."""
    began = time.monotonic()
    over_at = began + options.last_s if options.last_s is not None else None
    live = Live(console=console, screen=True, auto_refresh=False) if console.is_terminal else None
    said_at = 0.0
    with live or contextlib.nullcontext():
        while not stop.is_set() and (over_at is None or time.monotonic() < over_at):
            children.ended("worker")
            children.ended("api")
            if children.ended("simulation") and live is not None and options.last_s is None:
                state.step = "the morning is over: look around on the map, Ctrl-C ends"
                state.over_at = state.over_at or time.monotonic()
            elif children.ended("simulation"):
                settled = time.monotonic() + SETTLE_S
                over_at = min(over_at, settled) if over_at is not None else settled
            left = None if over_at is None else over_at - time.monotonic()
            if live is not None:
                live.update(render(state, zone, left), refresh=True)
            elif time.monotonic() - said_at >= PLAIN_EVERY_S:
                said_at = time.monotonic()
                console.print(plain_line(state, zone), highlight=False, soft_wrap=True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_S):
                    await stop.wait()


def _keep_picture(path: Path, state: DemoState, zone: ZoneInfo) -> None:
    """The last screen as SVG, without the address of a map that is gone."""
    state.map = ""
    canvas = Console(record=True, width=118, file=io.StringIO(), force_terminal=True)
    canvas.print(render(state, zone, None))
    drawing = canvas.export_svg(title="throng demo")
    # The fonts that rich names would be fetched from somewhere else by whoever looks at the picture.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", drawing, flags=re.DOTALL))


def _totals(state: DemoState) -> dict[str, object]:
    over_at = state.over_at or time.monotonic()
    elapsed = over_at - state.first_event_at if state.first_event_at is not None else 0.0
    return {
        "attach_events": state.attach_events,
        "rejected": sum(state.rejects.values()),
        "late": state.rejects.get("too_late", 0),
        "sightings": state.sightings,
        "footfall_released": state.footfall_released,
        "flows_released": state.flows_released,
        "events_per_s": round(state.attach_events / elapsed) if elapsed else 0,
    }


def main(options: Options) -> None:
    """Run the demo and print its last line."""
    console = Console(file=sys.stderr)
    totals = asyncio.run(run(options, console))
    sys.stdout.write(orjson.dumps(totals).decode() + "\n")
    sys.stdout.flush()
    if not totals["attach_events"] and options.last_s is not None:
        raise ThrongError("demo", "no event arrived: the time was too short; try DEMO_FOR=60")
