"""`throng demo`: the whole of it, live."""

import os
from pathlib import Path

import click

from streams.cli.examples import examples
from streams.cli.values import ABOVE_ZERO, PEOPLE, SEED, check_writable, moment_ms
from streams.demo.run import Options, main
from streams.errors import ThrongError


@click.command(epilog=examples("throng demo --for 90", "throng demo --subscribers 50000 --speed 60 --picture demo.svg"))
@click.option("--subscribers", type=PEOPLE, default=200_000, show_default=True, help="People in the town.")
@click.option("--speed", type=ABOVE_ZERO, default=180.0, show_default=True, help="Simulated seconds a second.")
@click.option("--start", default="2026-03-02T06:00+01:00", show_default=True, help="RFC 3339 time at which it begins.")
@click.option("--hours", type=ABOVE_ZERO, default=6.0, show_default=True, help="How long the morning is.")
@click.option("--seed", type=SEED, default=1, show_default=True, help="Which town.")
@click.option(
    "--picture", type=click.Path(dir_okay=False, path_type=Path), help="Keep the last screen as a picture (SVG)."
)
@click.option(
    "--for",
    "last_s",
    type=ABOVE_ZERO,
    help="End so many seconds after the town has begun to play.  [default: DEMO_FOR, else with Ctrl-C, or the town's "
    "end where there is no terminal]",
)
def demo(
    subscribers: int, speed: float, start: str, hours: float, seed: int, picture: Path | None, last_s: float | None
) -> None:
    """Run the whole job on a simulated town, with a live view, on a Kafka and a Redis of its own.

    The last line of standard output counts what really arrived in Kafka and Redis, as JSON.
    """
    moment_ms("--start", start)  # of a wrong one the simulation would tell, once all is up
    check_writable("--picture", picture)
    last_s = last_s if last_s is not None else _from_environment()
    main(Options(subscribers, speed, start, hours, seed, last_s, picture))


def _from_environment() -> float | None:
    text = os.environ.get("DEMO_FOR", "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise ThrongError("usage", f"DEMO_FOR is {text!r}, not a number of seconds above 0")
    return seconds
