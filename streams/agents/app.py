"""The Faust app of one role, and the life of its process.

`make_app` builds an `App` with the batch transport, one topic and one agent, which gives chunks to the role one by
one (`roles.Tenure`). `run` starts it in the caller's event loop, beside the role's own services (flushing,
storing), and ends it in order:

    SIGTERM, SIGINT or `stop` -> the role gives its partitions up -> services end -> Faust ends -> returns
    anything fails            -> nothing more is handled or given up -> services, Faust end -> raises

so that whoever called it exits 0 or, with one line, 1. A watchdog makes a failure of lag without progress.

Faust is used for groups, assignment, flow and agents. It has no web server, no leader topic, no tables, no
changelogs, no acknowledgements and no files here, and its producer sends nothing. Metrics are the role's.
"""

import asyncio
import importlib
import logging
import signal
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import faust
from faust.auth import SASLCredentials, SSLCredentials
from faust.serializers.schemas import Schema
from faust.types import StreamT
from faust.types.auth import CredentialsT
from faust.types.tuples import Message

from streams.agents.life import LAST_RESORT, Service, cancelled, endless, told
from streams.agents.roles import Role, Tenure
from streams.agents.throttled import Throttled
from streams.agents.transport import GroupOffsets, Transport, TransportSettings
from streams.agents.watchdog import watch
from streams.errors import ThrongError
from streams.stores.connection import At, address, client_options

log = logging.getLogger("throng.app")

# Faust gives a seek up after this, and lives on idle. Ours has a time of its own, not counted while something is away.
PLACED_WITHIN_S: Final = 86_400.0
# What makes Faust and aiokafka fast enough; each has a slow fallback that nobody would notice.
COMPILED: Final = ("faust._cython.streams", "faust.transport._cython.conductor", "aiokafka.record._crecords")


class ChunkSchema(Schema):
    """The transport's messages carry chunks already: nothing to decode."""

    def loads_key(self, app: object, message: Message, **_: object) -> None:
        return None

    def loads_value(self, app: object, message: Message, **_: object) -> Any:
        return message.value


class RoleApp(faust.App):
    """A Faust app that reads one topic in chunks for one role."""

    tenure: Tenure
    transport_settings: TransportSettings
    reads: Throttled

    def _new_transport(self) -> Transport:
        return Transport(self.conf.broker_consumer, self)

    def _create_directories(self) -> None:
        """Nothing is kept on disk."""

    @property
    def group_offsets(self) -> GroupOffsets:
        """The commits of the app's group."""
        role = self.tenure.role
        return GroupOffsets(self.consumer.thread, role.topic, role.beside)

    def hold(self, partitions: Collection[int]) -> None:
        """Fetch nothing from these partitions until the next call says otherwise."""
        self.tenure.hold(partitions)


def _credentials(at: At) -> CredentialsT | None:
    """`client_options` in Faust's words, from which its own clients and our consumer take theirs."""
    options = client_options(at)
    if "sasl_mechanism" in options:
        return SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            ssl_context=options.get("ssl_context"),
            mechanism=options["sasl_mechanism"],
        )
    return SSLCredentials(options["ssl_context"]) if "ssl_context" in options else None


def make_app(
    role: Role,
    at: At,
    namespace: str,
    settings: TransportSettings | None = None,
    away: Callable[[], Collection[str]] = tuple,
    reads: Throttled | None = None,
) -> RoleApp:
    """The app of a role. Must be called in the event loop that will run it.

    Args:
        at: where Kafka is, and as whom it is asked.
        namespace: of the deployment; the group is `throng-<namespace>-<role>`, without it `throng-<role>`.
        away: see `Tenure`. reads: is told for how long brokers hold reading up.
    """
    settings = settings or TransportSettings()
    app = RoleApp(
        "-".join(filter(None, ("throng", namespace, role.name))),
        broker=";".join(f"kafka://{broker.strip()}" for broker in address(at).split(",")),
        broker_credentials=_credentials(at),
        broker_request_timeout=PLACED_WITHIN_S,
        broker_session_timeout=settings.session_s,
        stream_buffer_maxsize=settings.buffer_chunks,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
        autodiscover=False,
    )
    app.transport_settings = settings
    app.reads = reads or Throttled()
    app.tenure = tenure = Tenure(role, away)
    topic = app.topic(role.topic, schema=ChunkSchema(), acks=False)

    async def handle(stream: StreamT[object]) -> None:
        async for event in stream.events():
            await tenure.handle(event.value)

    app.agent(topic, name=role.name, concurrency=1)(handle)
    return app


def missing_extensions() -> list[str]:
    """The compiled parts of Faust and aiokafka that don't load here."""
    missing = []
    for name in COMPILED:
        try:
            importlib.import_module(name)
        except ImportError:
            missing.append(name)
    return missing


async def run(app: RoleApp, services: Sequence[Service] = (), stop: asyncio.Event | None = None) -> None:
    """Run the app and the services until `stop` is set or a signal comes.

    Args:
        services: coroutine functions that run until cancelled; one that ends before is a failure.

    Raises:
        ThrongError: what ended it otherwise: the role's own, `kafka` if no broker answers, `stalled`, `crashed`, ...
    """
    if missing := missing_extensions():
        log.warning("these compiled parts are missing, throng will be slow: %s", ", ".join(missing))
    stop = stop or asyncio.Event()
    with _signals(stop):
        started = asyncio.create_task(app.start())
        tasks = [asyncio.create_task(endless(service)) for service in (*services, lambda: watch(app))]
        failure: BaseException | None = None
        error: ThrongError | None = None
        try:
            failure = await _first_failure(app, started, tasks, stop)
            if failure is None:
                failure = await _give_up(app)
            error = told(failure) if failure is not None else None
        finally:
            LAST_RESORT.begin(error.sentence if error is not None else "")
            await _shut_down(app, started, tasks, failed=error is not None)
    if error is not None:
        raise error from failure


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _first_failure(
    app: RoleApp, started: asyncio.Task[None], tasks: Sequence[asyncio.Task[None]], stop: asyncio.Event
) -> BaseException | None:
    stopping = asyncio.create_task(stop.wait())
    crashed = asyncio.create_task(app._crashed.wait())
    waiting: set[asyncio.Future[Any]] = {started, stopping, crashed, app.tenure.failure, *tasks}
    try:
        while True:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if app.tenure.failure in done:
                return app.tenure.failure.result()
            for task in done & {started, *tasks}:
                if (error := task.exception()) is not None:
                    return error
            if crashed in done:
                return app.crash_reason or ThrongError("crashed", "Faust stopped without a reason")
            if stopping in done:
                return None
            waiting -= done
    finally:
        stopping.cancel()
        crashed.cancel()


async def _give_up(app: RoleApp) -> BaseException | None:
    try:
        await app.tenure.end(app.transport_settings.drain_s, leaving=True)
    except Exception as error:  # noqa: BLE001 - told by run()
        return error
    return app.tenure.failure.result() if app.tenure.failure.done() else None


async def _shut_down(
    app: RoleApp, started: asyncio.Task[None], tasks: Sequence[asyncio.Task[None]], *, failed: bool
) -> None:
    app.tenure.generation = None
    try:
        await cancelled(tasks)
        started.cancel()
        with suppress(BaseException):
            await started
        await app.stop()
    except Exception as error:
        if not failed:
            raise
        log.debug("while stopping after a failure: %r", error)
