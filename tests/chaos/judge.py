"""Is it right? Pure comparisons of what was read with what must be; each says what is wrong in a line a finding.

`panes`, `wanted`: counts by key, by (epoch, measure, number).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import orjson

from schemas.ledger import LedgerRecord
from schemas.panes import Pane
from schemas.sightings import LOST, Section
from streams.core.release.release import publications

Name = tuple[int, str, int]
Position = tuple[int, int, int]
IDENTITY = (
    *("schema", "measure", "level", "zone", "origin", "destination"),
    *("age_band", "gender", "bucket", "visit", "start", "end"),
)
PLAUSIBLE_SIGMAS = 8.0


class Published(NamedTuple):
    """A record of a released topic."""

    topic: str
    key: bytes
    value: bytes


def differing_panes(panes: Mapping[Name, Counter[int]], wanted: Mapping[Name, Counter[int]]) -> list[str]:
    """Panes that are missing, that nobody wanted, or that count something else."""
    found = []
    for name in sorted(panes.keys() | wanted.keys()):
        here, there = panes.get(name), wanted.get(name)
        if here is None or there is None:
            found.append(f"pane {name}: {'missing' if here is None else 'not wanted'}")
        elif +here != +there:
            apart = {k: (here[k], there[k]) for k in here.keys() | there.keys() if here[k] != there[k]}
            found.append(
                f"pane {name}: {len(apart)} keys differ, as key: (counted, wanted) {dict(list(apart.items())[:4])}"
            )
    return found


def differing_repeats(panes: Iterable[Pane]) -> list[str]:
    """Pane records of a partition that repeat one and aren't the same."""
    first: dict[tuple[int, int, int], Pane] = {}
    return [
        f"partition {pane.partition} repeats pane {pane.number} of epoch {pane.epoch} differently"
        for pane in panes
        if first.setdefault((pane.epoch, pane.partition, pane.number), pane) != pane
    ]


def releases(ledger: Iterable[LedgerRecord]) -> dict[Name, LedgerRecord]:
    """The first record of each (epoch, measure, number), in the order of the log."""
    first: dict[Name, LedgerRecord] = {}
    for record in ledger:
        first.setdefault((record.epoch, record.measure, record.number), record)
    return first


def wrong_releases(firsts: Mapping[Name, LedgerRecord], wanted: Mapping[Name, Counter[int]]) -> list[str]:
    """Panes without a release, releases without a pane, and noise that isn't plausible for what was counted."""
    found = [f"pane {name} is not in the ledger" for name in sorted(wanted.keys() - firsts.keys())]
    for name, record in firsts.items():
        if name not in wanted:
            found.append(f"the ledger holds {name}, which nobody counted")
            continue
        if record.kind != "release":
            found.append(f"the ledger holds {name} as {record.kind}")
            continue
        noisy = np.frombuffer(record.noisy, "<i8")
        exact = np.zeros(len(noisy), np.int64)
        for key, number in wanted[name].items():
            exact[key] = number
        furthest = int(np.abs(noisy - exact).max(initial=0))
        if furthest > PLAUSIBLE_SIGMAS * record.sigma:
            found.append(f"release {name}: {furthest} from what was counted, where sigma is {record.sigma:.1f}")
    return found


def wrong_publications(firsts: Mapping[Name, LedgerRecord], published: Iterable[Published]) -> list[str]:
    """Published records that the ledger doesn't say, repeats that differ, and what of the ledger nobody published."""
    said = {
        Published(item.topic, item.key, item.value): name
        for name, record in firsts.items()
        for item in publications(record)
    }
    found, seen, one = [], set(), dict[tuple[object, ...], bytes]()
    for record in published:
        seen.add(record)
        read = orjson.loads(record.value)
        name = (record.topic, *(read.get(part) for part in IDENTITY))
        if one.setdefault(name, record.value) != record.value:
            found.append(f"published twice, and not the same: {name}")
        elif record not in said:
            found.append(f"published, but not what the ledger's first record says: {name}")
    missing = Counter(said[record] for record in said.keys() - seen)
    return found + [f"release {name}: {number} records of it were not published" for name, number in missing.items()]


def wrong_coverage(
    panes: Iterable[Pane], firsts: Mapping[Name, LedgerRecord], lost: Mapping[int, Iterable[tuple[int, int]]]
) -> list[str]:
    """Panes that lack something where nothing was lost, or none where something was; releases that say otherwise.

    Args:
        panes: the first of each partition and number. lost: ranges of offsets by source.
    """
    missing: dict[Name, Fraction] = {}
    lacking: set[int] = set()
    for pane in panes:
        for measure, sources in pane.lacking.items():
            name = (pane.epoch, measure, pane.number)
            missing[name] = missing.get(name, Fraction()) + Fraction(sources, pane.sources * pane.partitions)
            lacking.add(pane.partition)
    found = []
    if bool(lacking) != any(lost.values()):
        found.append(f"of sources {sorted(lost)} records were lost, the panes of partitions {sorted(lacking)} say so")
    for name, record in firsts.items():
        share = math.floor((1 - missing.get(name, Fraction())) * 1_000_000) / 1_000_000
        read = (orjson.loads(item.value) for item in publications(record) if record.kind == "release")
        said = {each["covered"] for each in read if each["measure"] == record.measure}
        if said - {share}:
            found.append(f"release {name} says that it covers {sorted(said)}, where its panes say {share}")
    return found


def wrong_rejects(told: Iterable[tuple[Position, str]], wanted: Mapping[Position, str]) -> list[str]:
    """Rejects that are missing, not wanted, of another reason, or told twice with different ones."""
    found: list[str] = []
    first: dict[Position, str] = {}
    for position, reason in told:
        if first.setdefault(position, reason) != reason:
            found.append(f"reject {position}: told as {first[position]} and as {reason}")
    for position in sorted(first.keys() | wanted.keys()):
        if first.get(position) != wanted.get(position):
            found.append(f"reject {position}: told as {first.get(position)}, wanted as {wanted.get(position)}")
    return found


class Lost(NamedTuple):
    """The ranges of each source's offsets that were told as lost; and what is wrong with the telling."""

    ranges: dict[int, list[tuple[int, int]]]
    wrong: list[str]


def lost_ranges(targets: Mapping[int, Iterable[Section]], deleted: Mapping[int, Iterable[int]]) -> Lost:
    """Walk each target's chain, plainly, and see what it was told to be lost.

    Args:
        targets: the sections of each target's log, in its order.
        deleted: by source, the offsets that its log was made to begin at.
    """
    by_target = {target: _told(sections, deleted) for target, sections in targets.items()}
    wrong = [line for _, lines in by_target.values() for line in lines]
    told = [ranges for ranges, _ in by_target.values()]
    if any(ranges != told[0] for ranges in told):
        wrong.append(f"the targets were not told the same as lost: {told}")
    return Lost(told[0] if told else {}, wrong)


def _told(
    sections: Iterable[Section], deleted: Mapping[int, Iterable[int]]
) -> tuple[dict[int, list[tuple[int, int]]], list[str]]:
    following: Counter[int] = Counter()
    ranges: dict[int, list[tuple[int, int]]] = {}
    wrong = []
    for section in sections:
        first = following[section.source]
        if not section.from_ <= first < section.to:
            continue
        following[section.source] = section.to
        if not section.flags & LOST:
            continue
        # A section may go on behind what was lost, with rows.
        below = [point for point in deleted.get(section.source, ()) if first < point <= section.to]
        if not below:
            wrong.append(f"source {section.source}: [{first}, {section.to}) is told as lost, where nothing was deleted")
            continue
        ranges.setdefault(section.source, []).append((first, max(below)))
        if len(section.offset) and section.offset.min() < max(below):
            wrong.append(f"source {section.source}: rows below {max(below)} in a section that tells them as lost")
    return ranges, wrong
