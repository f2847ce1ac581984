"""What the harness tells a peer on the command line, and how a peer ends."""

import argparse
import csv
import sys
from collections.abc import Callable
from pathlib import Path

import job


def parser(about: str) -> argparse.ArgumentParser:
    """The options that all peers have."""
    options = argparse.ArgumentParser(description=about.splitlines()[0])
    options.add_argument("--bootstrap", required=True, metavar="H:P")
    options.add_argument("--input", required=True, metavar="TOPIC")
    options.add_argument("--output", required=True, metavar="TOPIC")
    options.add_argument("--cells", required=True, type=Path, metavar="FILE", help="CSV: cell,zone")
    options.add_argument("--start-ms", required=True, type=int)
    options.add_argument("--pane-ms", required=True, type=int)
    options.add_argument("--shape", required=True, choices=("single", "batched"))
    options.add_argument("--group", required=True, metavar="NAME")
    return options


def read_zones(path: Path) -> dict[str, int]:
    """The zone of each cell."""
    with path.open(newline="", encoding="utf-8") as file:
        return {cell: int(zone) for cell, zone in csv.reader(file)}


def reader(chosen: argparse.Namespace) -> tuple[job.Reader, int]:
    """What decodes the input, and how many zones there are."""
    zones = read_zones(chosen.cells)
    return job.Reader(zones, chosen.start_ms, chosen.pane_ms, chosen.shape == "batched"), max(zones.values()) + 1


def run(main: Callable[[], None]) -> None:
    """End with one line if something fails, without what the records held."""
    try:
        main()
    except Exception as error:  # noqa: BLE001
        text = " ".join(str(error).split())
        sys.exit(f"{Path(sys.argv[0]).stem}: {type(error).__name__}: {text[:300]}")
