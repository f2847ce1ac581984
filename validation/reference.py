"""Stays, trips, visits and dwell of the same sightings by a public library: trackintel, in a venv of its own.

Trackintel (Martin et al. 2023, Computers, Environment and Urban Systems 101) has staypoints by Li et al. (2008): fixes
near the first of them, from the first to the first one away, if that takes 10 minutes or longer. With places for
positions that is a stay, but for what trackintel has no notion of. So it is left out on both sides: ping-pong, caps,
and that a stay must have been seen to last are off, a detach is a fix nowhere, and subscribers who fell silent are
left out. What remains must be equal.
"""

import csv
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.attach import DETACH
from schemas.epochs import Epoch
from schemas.lengths import BUCKETS, CUT, LONGEST
from schemas.panes import pairs
from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from validation import happened
from validation.happened import Presences
from validation.towns import Day, Rows

HERE: Final = Path(__file__).parent
VENV: Final = HERE / ".venv"
WANTED: Final = HERE / "reference.txt"
INSTALL_S: Final = 1800
RUN_S: Final = 600
NOWHERE: Final = -1
MOST: Final = 400
NO_CAP: Final = 255
ZONES_NUMBERED: Final = 4  # docs/reference/semantics.md, Visits

Told = Callable[[str], None]


class Agreement(NamedTuple):
    """One measure: what both counted, and by how much the counts of all panes and places differ together."""

    ours: int
    theirs: int
    apart: int


def agree(day: Day, told: Told) -> dict[str, Agreement] | None:
    """By measure how far both agree on some of the day's subscribers; None if trackintel can't be installed."""
    python = _installed(told)
    if python is None or day.rows is None:
        return None
    rows = heard_throughout(day.rows, day.epoch, MOST)
    told(f"{len(np.unique(rows.pseudonym))} subscribers through trackintel")
    found = staypoints(rows, day.epoch, python)
    ours = counted(rows, day.epoch, day.parents)
    return compared(ours, found, rows, day.epoch, day.parents)


def heard_throughout(rows: Rows, epoch: Epoch, most: int) -> Rows:
    """The rows of the first `most` subscribers who never fell silent but after a detach."""
    who, first = np.unique(rows.pseudonym, return_index=True)
    last = np.append(first[1:], len(rows.ts)) - 1
    until = np.append(rows.ts[1:], 0)
    until[last] = epoch.end_ms
    silent = (until - rows.ts >= epoch.silence_ms) & (rows.kind != DETACH)
    heard = who[~np.logical_or.reduceat(silent, first)][:most]
    keep = np.isin(rows.pseudonym, heard)
    return rows.rows(keep)


def staypoints(rows: Rows, epoch: Epoch, python: Path) -> Presences:
    """The stays that trackintel finds; `who` is the subscriber's place in the order of pseudonyms."""
    who = np.unique(rows.pseudonym, return_inverse=True)[1]
    place = np.where(rows.kind == DETACH, NOWHERE, rows.zone.astype(np.int64))
    with tempfile.TemporaryDirectory() as folder:
        fixes, found = Path(folder) / "fixes.csv", Path(folder) / "staypoints.csv"
        with fixes.open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["user", "time", "place"])
            table.writerows(zip(who.tolist(), rows.ts.tolist(), place.tolist(), strict=True))
            # What lasts until the end of the epoch ends there.
            people = range(int(who.max()) + 1)
            table.writerows((person, epoch.end_ms, epoch.zones + 1) for person in people)
        subprocess.run(
            [str(python), "-W", "ignore", str(HERE / "staypoints.py"), str(fixes), str(found)],
            check=True,
            timeout=RUN_S,
        )
        table_of = np.loadtxt(found, np.int64, delimiter=",", skiprows=1, ndmin=2)
    table_of = table_of[table_of[:, 1] != NOWHERE]
    user, place, begin, end = table_of[np.lexsort([table_of[:, 2], table_of[:, 0]])].T
    return Presences(user, place, begin, end, end - begin)


def compared(
    ours: dict[str, NDArray[np.int64]], stays: Presences, rows: Rows, epoch: Epoch, parents: NDArray[np.uint16]
) -> dict[str, Agreement]:
    """Both sides' trips, visits and lengths of stays, pane by pane and place by place."""
    found = {}
    for measure in epoch.measures:
        own = ours.get(measure.name)
        if measure.statistic == "trips" and own is not None:
            found[measure.name] = _agreement(own, happened.trips(stays, epoch, measure, parents))
        elif measure.statistic == "visits" and own is not None:
            theirs = happened.visits(stays, epoch, measure, remembered=ZONES_NUMBERED)
            found[measure.name] = _agreement(own, theirs)
        elif measure.statistic == "dwell" and own is not None:
            theirs = happened.dwell(_known(stays, rows, epoch), bare(epoch), measure, stops=False)
            whole = [n for n, bucket in enumerate(BUCKETS) if bucket.from_min * 60_000 >= epoch.stay_ms and n < LONGEST]
            found[measure.name] = _agreement(_some(own, whole), _some(theirs, whole))
    return found


def _known(stays: Presences, rows: Rows, epoch: Epoch) -> Presences:
    """Those whose beginning is known: not from nowhere within the epoch's first silence."""
    who = np.unique(rows.pseudonym, return_inverse=True)[1]
    before = np.append(NOWHERE, np.where(rows.kind == DETACH, NOWHERE, rows.zone.astype(np.int64))[:-1])
    before[np.flatnonzero(np.diff(who, prepend=-1))] = NOWHERE
    span = epoch.end_ms - epoch.start_ms + 1
    from_nowhere = np.unique((who * span + rows.ts - epoch.start_ms)[before == NOWHERE])
    begun = np.isin(stays.who * span + stays.begin - epoch.start_ms, from_nowhere)
    early = stays.begin < epoch.opens_ms + epoch.silence_ms
    return stays.rows(~(begun & early))


def counted(rows: Rows, epoch: Epoch, parents: NDArray[np.uint16]) -> dict[str, NDArray[np.int64]]:
    """The crowd's counts of these rows, without the rules that trackintel lacks."""
    epoch = bare(epoch)
    crowd = Crowd(0, parents)
    crowd.add_epoch(epoch)
    crowd.feed(encode_control(1, [0]), 0)
    number = len(rows.ts)
    order = np.argsort(rows.ts, kind="stable")
    section = Section(
        *(0, 0, 0, max(number, 1), epoch.end_ms),
        *(rows.pseudonym[order], rows.ts[order], np.arange(number), np.zeros(number, np.uint32)),
        *(rows.zone[order], rows.cohort[order], rows.kind[order]),
    )
    counts = {
        m.name: np.zeros((epoch.panes(m.pane_ms), m.keys(epoch.zones, epoch.parents)), np.int64) for m in epoch.measures
    }
    for pane in crowd.feed(encode_frame([section]), 1):
        for measure in epoch.due(pane.number):
            if measure.name in pane.counts:
                keys, values = pairs(pane.counts[measure.name])
                counts[measure.name][pane.number * epoch.pane_ms // measure.pane_ms - 1, keys] = values
    return counts


def bare(epoch: Epoch) -> Epoch:
    """The epoch without ping-pong, without the need to be seen, and with caps that bind nobody."""
    measures = tuple(msgspec.structs.replace(m, cap=m.cap and NO_CAP) for m in epoch.measures)
    return msgspec.structs.replace(epoch, ping_pong_ms=0, seen_ms=0, measures=measures)


def _agreement(ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> Agreement:
    return Agreement(int(ours.sum()), int(theirs.sum()), int(np.abs(ours - theirs).sum()))


def _some(counts: NDArray[np.int64], buckets: list[int]) -> NDArray[np.int64]:
    return counts.reshape(len(counts), -1, CUT + 1)[:, :, buckets]


def _installed(told: Told) -> Path | None:
    """The venv's Python, installed once from the pinned requirements."""
    python, mark = VENV / "bin" / "python", VENV / ".installed"
    if mark.exists() and mark.read_text() == WANTED.read_text():
        return python
    told("installing trackintel into a venv of its own (once)")
    try:
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, timeout=INSTALL_S)
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(WANTED)]
        subprocess.run(install, check=True, timeout=INSTALL_S)
    except (OSError, subprocess.SubprocessError) as problem:
        shutil.rmtree(VENV, ignore_errors=True)
        told(f"trackintel can't be installed: {problem}")
        return None
    mark.write_text(WANTED.read_text())
    return python
