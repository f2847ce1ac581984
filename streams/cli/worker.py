"""`throng worker`: one role in this process, or several as children."""

import asyncio
import importlib
import os
import signal
from types import FrameType
from typing import Final, NoReturn

import click
import msgspec
import uvloop

from streams.agents.life import LAST_RESORT
from streams.agents.logs import configure_logging
from streams.agents.supervisor import supervise, watch_parent
from streams.cli.examples import examples
from streams.cli.options import settings_options, with_servers
from streams.errors import ThrongError
from streams.settings import Settings, to_environ

# A role NAME is MODULE.run_NAME, imported by the process that runs it: who starts others needs none of it, and the API
# no compiled loops.
ROLES: Final = {**dict.fromkeys(("gateway", "crowd", "release"), "streams.agents.workers"), "api": "streams.api.run"}
# The whole job; the API is asked for by name.
THE_JOB = ("gateway", "crowd", "release")


@click.command(epilog=examples("throng worker", "throng worker gateway --config throng.toml"))
@click.argument("roles", nargs=-1, type=click.Choice(list(ROLES)), metavar="[gateway] [crowd] [release] [api]")
@settings_options(served=False)
def worker(settings: Settings, roles: tuple[str, ...]) -> None:
    """Run the named roles, or all but the API, until stopped (Ctrl-C or SIGTERM).

    One role runs in this process. Several run as one child process each, on worker.http_port and the ports after it;
    if one ends, all end. Start as many workers as there are partitions, on as many machines.
    """
    signal.signal(signal.SIGTERM, not_begun)
    configure_logging(settings.worker.log_level)
    chosen = roles or THE_JOB
    settings = with_servers(settings, redis=set(chosen) != {"gateway"})
    # Kafka's connections are most of what a worker's event loops do; written in C they cost half. This way the
    # consumer's thread, which mode makes, gets such a loop as well.
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    code = asyncio.run(_one(settings, chosen[0]) if len(chosen) == 1 else _several(settings, chosen))
    if code:
        raise ThrongError("worker", "a role ended; see above")


def not_begun(_number: int, _frame: FrameType | None) -> NoReturn:
    """Told to stop while it is being imported: there is nothing to give up, so it ends as by the signal itself, but for
    its exit code. (What is raised here may be swallowed: by callbacks from C, in which compiled loops are loaded.) A
    role that has begun has its own way."""
    os._exit(0)


async def _one(settings: Settings, role: str) -> int:
    LAST_RESORT.arm()
    stop = asyncio.Event()
    watch_parent(asyncio.get_running_loop(), stop)
    await getattr(importlib.import_module(ROLES[role]), f"run_{role}")(settings, stop)
    return 0


async def _several(settings: Settings, roles: tuple[str, ...]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    first = settings.worker.http_port
    ports = [first + place if first else 0 for place in range(len(roles))]
    environs = [
        to_environ(msgspec.structs.replace(settings, worker=msgspec.structs.replace(settings.worker, http_port=port)))
        for port in ports
    ]
    return await supervise(roles, environs, stop)
