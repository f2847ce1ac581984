"""The life of a worker's process around what it does: things started and stopped in order, services beside it, the end.

What was started is stopped in the reverse order, however it ends. That may hang: on a broker that doesn't answer, on a
thread. So a process of its own (`LAST_RESORT.arm`) has a last resort: from the first thing on that is stopped it has
`END_S`, then it logs what had not ended and exits at once, with 1. It is never called off, since interpreters wait for
threads as well.
"""

import asyncio
import gc
import logging
import os
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final, Protocol, TypeVar

import msgspec
from aiokafka.errors import KafkaError

from streams.errors import ThrongError
from streams.stores.connection import sentence_of

log = logging.getLogger("throng.app")

END_S: Final = 15.0

Service = Callable[[], Awaitable[None]]


class Startable(Protocol):
    """A reader of a topic, or the producer."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


T = TypeVar("T", bound=Startable)


@asynccontextmanager
async def started(thing: T) -> AsyncIterator[T]:
    """Start it, and stop it in the end.

    Raises:
        ThrongError: Kafka doesn't answer while it starts.
    """
    try:
        try:
            await thing.start()
        except (KafkaError, OSError) as error:  # it went away since the topics were looked at
            raise told(error) from error
        yield thing
    finally:
        LAST_RESORT.begin()
        await thing.stop()


async def endless(service: Service) -> None:
    """Run a service that must run until it is cancelled.

    Raises:
        ThrongError: `crashed` if it ends before.
    """
    await service()
    raise ThrongError("crashed", f"the service {getattr(service, '__name__', service)} ended by itself")


async def until(stop: asyncio.Event, services: Iterable[Service]) -> None:
    """Run the services until `stop` is set; the first failure is raised."""
    tasks = [asyncio.ensure_future(endless(service)) for service in services]
    stopping = asyncio.ensure_future(stop.wait())
    try:
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done - {stopping}:
            task.result()
    finally:
        LAST_RESORT.begin()
        await cancelled([stopping, *tasks])


def still_there(loop: asyncio.AbstractEventLoop | None) -> list[str]:
    """Where each thread, and each task of the loop, is now, the innermost last; by names and lines alone, no data."""
    threads = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():
        frames = [each for each, _ in traceback.walk_stack(frame)][::-1]
        lines.append(f"thread {threads.get(ident, ident)}: {_places(frames)}")
    for task in asyncio.all_tasks(loop) if loop is not None else ():
        lines.append(f"task: {_places(_awaited(task.get_coro()))}")
    return lines


def _awaited(waiting: object) -> Iterator[FrameType]:
    """The frames of a coroutine that waits, and of those that it waits for."""
    while waiting is not None:
        if type(waiting).__name__.startswith("async_generator_"):  # a step, of which the collector alone knows of what
            waiting = next((each for each in gc.get_referents(waiting) if hasattr(each, "ag_frame")), None)
        kind = next((kind for kind in ("cr", "ag", "gi") if hasattr(waiting, f"{kind}_frame")), None)
        if kind is None or (frame := getattr(waiting, f"{kind}_frame")) is None:
            return
        yield frame
        waiting = getattr(waiting, "gi_yieldfrom" if kind == "gi" else f"{kind}_await")


def _places(frames: Iterable[FrameType]) -> str:
    return " > ".join(f"{f.f_code.co_qualname} ({Path(f.f_code.co_filename).name}:{f.f_lineno})" for f in frames)


async def cancelled(tasks: Iterable["asyncio.Future[Any]"]) -> None:
    """Cancel them, and wait until they have ended."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class LastResort:
    """Exits the process `end_s` after its end has begun. Does nothing before `arm`."""

    def __init__(self, end_s: float = END_S) -> None:
        self._end_s = end_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._armed = False
        self._begun = False
        self._why = ""

    def arm(self) -> None:
        """This process is a worker's own, so it may be exited. Called in the loop that runs it."""
        self._loop = asyncio.get_running_loop()
        self._armed = True

    def begin(self, why: str = "") -> None:
        """The end begins, or goes on; `why`: of a failure, the sentence for the user."""
        self._why = self._why or why
        if self._armed and not self._begun:
            self._begun = True
            timer = threading.Timer(self._end_s, self._exit)
            timer.daemon = True
            timer.start()

    def _exit(self) -> None:
        try:
            for line in still_there(self._loop):
                log.error("not ended: %s", line)
            because = f" after: {self._why}" if self._why else ""
            sys.stderr.write(f"throng: the shutdown did not end within {self._end_s:g} s: exits at once{because}\n")
            sys.stderr.flush()
        finally:
            os._exit(1)


LAST_RESORT: Final = LastResort()


def told(failure: BaseException) -> ThrongError:
    """The failure as one line for the user. Where it was raised goes to the log.

    The text of an unforeseen exception may quote the data that it met, identifiers among them: it is left out.
    """
    if isinstance(failure, ThrongError):
        return failure
    if isinstance(failure, KafkaError | OSError):
        return ThrongError("kafka", sentence_of(failure))
    log.error("%s at\n%s", type(failure).__name__, "".join(traceback.format_tb(failure.__traceback__)))
    if isinstance(failure, msgspec.ValidationError):  # of others' records each is told apart before
        known = "a record of a topic of throng's own is not as this release has it"
        return ThrongError("crashed", f"{known}, see docs/how-to/upgrade.md; the log says where")
    return ThrongError("crashed", f"crashed with {type(failure).__name__}; the log says where")
