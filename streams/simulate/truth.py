"""What truly happened, for tests and validation only: no worker reads it, and none of it is sent to Kafka.

A truth file is a NumPy .npz (load it with `load_truth`, or `numpy.load`), written while the simulation runs:

    about           JSON text: seed, zones, start_ms, end_ms, pane_ms
    subscribers     one row a subscriber, by number: imsi, birth_year, gender (place in people.GENDERS), standing (as in
                    registry.py), counted (may be counted: granted, of age, home network), home and work (zones)
    stretches_000000, stretches_000001, ...
                    where they were: network.TRUTH rows, by the time at which each stretch ended
    present         (panes, zones): counted subscribers with their phone on whose stretch covers the last instant before
                    each pane's end, wherever the network thought they were; first_pane_end_ms in `about`
"""

import json
import zipfile
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from streams.simulate.compiled import Rows
from streams.simulate.generate import Slice
from streams.simulate.people import OFF, birth_years, genders, imsis, populate
from streams.simulate.registry import counted, standings
from streams.simulate.town import Town

PANE_MS: Final = 300_000

SUBSCRIBER: Final = np.dtype(
    [
        ("imsi", np.uint64),
        ("birth_year", np.uint16),
        ("gender", np.uint8),
        ("standing", np.uint8),
        ("counted", np.bool_),
        ("home", np.uint16),
        ("work", np.uint16),
    ]
)


class Truth(NamedTuple):
    """A truth file, read: see the module."""

    about: dict[str, object]
    subscribers: Rows
    stretches: Rows
    present: NDArray[np.int64]


class TruthFile:
    """Writes the truth of a simulation's slices; a context manager. The file is whole once it is closed."""

    def __init__(self, path: Path, town: Town, start_ms: int, end_ms: int) -> None:
        """Begin a file for a simulation of that span."""
        self._zip = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, allowZip64=True, compresslevel=1)
        self._slices = 0
        self._first = start_ms // PANE_MS + 1
        self._change = np.zeros((end_ms // PANE_MS - self._first + 2, len(town.layout.zones)), np.int64)
        subscribers = np.zeros(town.subscribers, SUBSCRIBER)
        people = populate(town)[0]
        for name, column in (
            ("imsi", imsis(town)),
            ("birth_year", birth_years(town)),
            ("gender", genders(town)),
            ("standing", standings(town)),
            ("counted", counted(town)),
            ("home", people["home"]),
            ("work", people["work"]),
        ):
            subscribers[name] = column
        self._counted = subscribers["counted"]
        about = {
            "seed": town.seed,
            "zones": len(town.layout.zones),
            "start_ms": start_ms,
            "end_ms": end_ms,
            "pane_ms": PANE_MS,
            "first_pane_end_ms": self._first * PANE_MS,
        }
        self._put("about", np.array(json.dumps(about)))
        self._put("subscribers", subscribers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._put("present", np.cumsum(self._change, axis=0)[:-1])
        self._zip.close()

    def write(self, piece: Slice) -> None:
        """Append a slice's truth."""
        self._put(f"stretches_{self._slices:06d}", piece.truth)
        self._slices += 1
        seen = piece.truth[self._counted[piece.truth["who"]] & (piece.truth["mode"] != OFF)]
        # A pane's end b is covered if begin <= b - 1 < end: the ends after begin, up to end.
        low = np.maximum(seen["begin"] // PANE_MS + 1 - self._first, 0)
        high = seen["end"] // PANE_MS + 1 - self._first
        np.add.at(self._change, (low, seen["zone"]), 1)
        np.add.at(self._change, (high, seen["zone"]), -1)

    def _put(self, name: str, array: NDArray[np.generic]) -> None:
        with self._zip.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array(member, array, allow_pickle=False)


def load_truth(path: Path) -> Truth:
    """Read a truth file whole."""
    with np.load(path) as members:
        names = sorted(name for name in members.files if name.startswith("stretches_"))
        stretches = np.concatenate([members[name] for name in names])
        return Truth(json.loads(str(members["about"])), members["subscribers"], stretches, members["present"])
