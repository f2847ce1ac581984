"""The `throng` command's entrance.

A command `throng NAME` is `streams.cli.MODULE:NAME` (`import_` for `import`), imported only when it is called, so that
`throng status` doesn't wait for what `throng worker` needs. Whatever a user can do something about is told in one line
on standard error.
Exit codes: 0 done, 1 failed, 2 refused as wrong usage or settings, 130 stopped by Ctrl-C (or SIGTERM, where there is
something to end).
"""

import errno
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from keyword import iskeyword
from types import FrameType
from typing import NoReturn

import click

from streams.errors import ThrongError
from streams.stores.wiping import leave_no_core

COMMANDS = {
    # name: (module, one line of help)
    "demo": ("demo", "Run the whole of it on a simulated town, with a live view."),
    "up": ("stack", "Start a Kafka and a Redis on this machine."),
    "down": ("stack", "End them and remove their data."),
    "status": ("stack", "Tell whether they are up, and where."),
    "topics": ("topics", "Create and check the topics."),
    "zones": ("zones", "Build the zone plan from polygons and cells, and show it."),
    "policy": ("policy", "Show, check and change what may be counted."),
    "salts": ("salts", "List the epochs' salts, or destroy the one in use after an incident."),
    "audit": ("audit", "Show and verify the log of decisions."),
    "worker": ("worker", "Run the gateway, the crowd and the release, all or some."),
    "api": ("api", "Make and revoke the tokens of the API."),
    "simulate": ("simulate", "Play a synthetic mobile network."),
    "import": ("importing", "Turn others' trajectories and events into attach events."),
    "record": ("recording", "Record topics to a file."),
    "replay": ("recording", "Play a recording into Kafka, or through the core alone."),
    "outlook": ("outlook", "Compare released numbers with what is usual, and look two hours ahead."),
    "distances": ("distances", "Tell how far people went, of released flows."),
    "machines": ("machines", "Propose SIMs whose behaviour is a machine's, for the registry."),
    "calibrate": ("calibrate", "Find from counts on site by how much places are off."),
    "people": ("people", "From counted phones to people, by market shares."),
    "diff": ("comparing", "Compare what two runs counted."),
}

# Packages that come with an extra only, by the name they are imported with.
EXTRAS = {
    "psutil": "local",
    "jgo": "local",
    "pyarrow": "record",
    "duckdb": "record",
    "h3": "places",
    "pyproj": "places",
    "shapely": "places",
}

# Where what the file system refuses is met in writing or reading on, after it was looked for: what to do about it.
FILES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room, or name another place"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "check its rights, or name another place"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG), "name another place"),
    errno.EIO: "see the system's log",
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), "raise the limit of open files (ulimit -n)"),
}

USAGE_CODES = frozenset({"usage", "config"})


class LazyGroup(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, (module, _help) in COMMANDS.items() if find_spec(f"streams.cli.{module}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module, _help = COMMANDS[cmd_name]
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = getattr(importlib.import_module(f"streams.cli.{module}"), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"streams.cli.{module}:{cmd_name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="throng", prog_name="throng")
def cli() -> None:
    """Where crowds are and move, live, without knowing anyone."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit. Most commands hold identifiers, ways or exact counts: none leaves a core dump."""
    leave_no_core()
    if os.getpid() == 1:
        # A container's first process: a signal without a handler is lost on it, and whoever sent it waits all of the
        # grace time, then kills.
        signal.signal(signal.SIGTERM, _ended)
    # What a user can do something about is told in a line; the client's own words on retries are no help there.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    # Where there is a scipy numba imports it, for linear algebra that nothing here uses: a quarter of a worker's start.
    sys.modules.setdefault("scipy", None)  # type: ignore[arg-type]
    sys.exit(run(arguments))


def _ended(number: int, _frame: FrameType | None) -> NoReturn:
    """End as by the signal itself. Commands with an end of their own put theirs in its place."""
    os._exit(128 + number)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        code = cli.main(args=arguments, prog_name="throng", standalone_mode=False)
    except ThrongError as error:
        return _tell(error.sentence, 2 if error.code in USAGE_CODES else 1)
    except click.exceptions.NoArgsIsHelpError as error:
        return _tell(error.format_message(), 2, "")
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "throng"
        return _tell(f"{error.format_message().rstrip('.')} (see '{where} --help')", 2)
    except click.ClickException as error:
        return _tell(error.format_message(), 1)
    except (click.Abort, KeyboardInterrupt):
        return _tell("stopped", 130)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in EXTRAS:
            raise
        return _tell(f"this needs {missing}, which isn't installed: pip install 'throng[{EXTRAS[missing]}]'", 1)
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away: nothing to say, and nobody to say it to
        return 1
    except OSError as error:
        if error.errno not in FILES:
            raise
        about = f"{error.filename}: " if error.filename else ""
        return _tell(f"{about}{os.strerror(error.errno)}: {FILES[error.errno]}", 1)
    except Exception as error:
        # Whatever can raise it has imported it: `throng status` doesn't wait for Kafka's client.
        kafka = sys.modules.get("aiokafka.errors")
        if kafka is None or not isinstance(error, kafka.KafkaError):
            raise
        from streams.stores.connection import sentence_of

        return _tell(sentence_of(error), 1)
    return code if isinstance(code, int) else 0


def _tell(sentence: str, code: int, prefix: str = "throng: ") -> int:
    click.echo(f"{prefix}{sentence}", err=True)
    return code


if __name__ == "__main__":
    main()
