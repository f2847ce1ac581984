"""Frames for all targets at once are, byte for byte, what the contract's own writer makes of each target's rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sightings import GENESIS, LOST, REGISTRY_SOURCE, WIDEST_MS, Section, decode_frame, encode_frame
from streams.core.crowd.chain import Link, link
from streams.core.gateway.frames import Outgoing, frames
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import NEVER_MS, NOTHING, Screened
from streams.core.gateway.lateness import behind

COLUMNS = ("pseudonym", "ts", "offset", "index", "zone", "cohort", "kind")
DAY = 86_400_000


def batch(rng: np.random.Generator, rows: int, targets: int) -> Screened:
    """Rows of any numbers, so many for each of the targets as it happens."""
    starts = np.concatenate(([0], np.sort(rng.integers(0, rows + 1, targets - 1)), [rows]))
    return NOTHING._replace(
        pseudonym=rng.integers(0, 1 << 64, rows, np.uint64),
        ts=rng.integers(1_700_000_000_000, 1_700_000_000_000 + DAY, rows),
        offset=rng.integers(1 << 40, (1 << 40) + (1 << 32), rows),
        index=rng.integers(0, 1 << 32, rows, np.uint32),
        zone=rng.integers(0, 1 << 16, rows, np.uint16),
        cohort=rng.integers(0, 256, rows, np.uint8),
        kind=rng.integers(0, 256, rows, np.uint8),
        starts=starts,
    )


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 1 << 32),
    st.lists(st.lists(st.sampled_from([0, 1, 2, 7, 100]), max_size=4), max_size=4),
    st.sampled_from([1, 2, 5, 64]),
)
def test_all_frames_equal_the_contracts(seed: int, sizes: list[list[int]], targets: int) -> None:
    rng = np.random.default_rng(seed)
    sections = [
        Outgoing(
            number * 70_000,
            int(rng.choice([0, LOST, GENESIS])),
            1 << 40,
            (1 << 40) + 5,
            int(rng.integers(-(1 << 60), 1 << 60)),
            [batch(rng, rows, targets) for rows in parts],
        )
        for number, parts in enumerate(sizes)
    ]
    expected = [encode_frame([section_of(section, target) for section in sections]) for target in range(targets)]
    assert frames(sections, targets) == expected


def section_of(section: Outgoing, target: int) -> Section:
    joined = {
        name: np.concatenate(
            [getattr(NOTHING, name)]
            + [getattr(part, name)[part.starts[target] : part.starts[target + 1]] for part in section.parts]
        )
        for name in COLUMNS
    }
    return Section(*section[:5], **joined)


# Pauses between records of a source; 24.86 days are what an i32 holds.
PAUSES = st.sampled_from([0, 1, 5_000, DAY, 19 * DAY, WIDEST_MS - 1, WIDEST_MS, WIDEST_MS + 1, 25 * DAY, 400 * DAY])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(PAUSES, st.integers(0, 3), st.booleans()), max_size=12),
    st.sampled_from([0, REGISTRY_SOURCE]),
    st.booleans(),
    st.booleans(),
)
def test_rows_of_any_pauses_come_as_they_were(records, source: int, known: bool, lost: bool) -> None:
    """A small recording of months, played as fast as it goes, is one flush."""
    at_ms, targets, wanted = 1_700_000_000_000, 2, []
    framer = Framer(targets, behind(10_000))
    framer.open(source, Mark(100, at_ms if known else NEVER_MS))
    if lost:
        assert framer.lose(source, 105) == 5
    offset = 105 if lost else 100
    running_max = at_ms if known else NEVER_MS
    rows: list[tuple[int, int, int]] = []
    for pause, number, ends in records:
        at_ms += pause
        running_max = max(running_max, at_ms)
        rows += [(n % targets, at_ms + (60_000 if n == 1 else -10_000 * n), offset) for n in range(number)]
        offset += 1
        if ends:
            framer.add(source, screened(rows, targets, running_max), offset)
            wanted, rows = wanted + rows, []
    framer.add(source, screened(rows, targets, running_max), offset)
    wanted += rows
    flush = framer.take()
    if offset == 100:
        assert flush is None
        return
    assert flush is not None
    for target, frame in enumerate(flush.frames):
        sections = decode_frame(frame)
        assert isinstance(sections, list)
        following = {source: 100}
        for section in sections:
            assert link(following, source, section.from_, section.to, False) == (Link.TAKEN, section.from_)
            following[source] = section.to
        assert following[source] == offset and sections[-1].watermark_ms == running_max - 10_000
        assert [bool(section.flags & LOST) for section in sections] == [lost] + [False] * (len(sections) - 1)
        found = [(target, ts, at) for section in sections for ts, at in zip(section.ts, section.offset, strict=True)]
        assert found == [row for row in wanted if row[0] == target]


def test_what_is_lost_is_a_section_of_its_own_however_long_it_is() -> None:
    """Offsets of rows are told from their section's first, in 32 bits."""
    framer = Framer(1, behind(10_000))
    framer.open(0, Mark(0, NEVER_MS))
    assert framer.lose(0, 5 << 32) == 5 << 32
    framer.add(0, screened([(0, 1_700_000_000_000, (5 << 32) + 7)], 1, 1_700_000_000_000), (5 << 32) + 9)
    flush = framer.take()
    assert flush is not None
    lost, rest = decode_frame(flush.frames[0])
    assert (lost.from_, lost.to, lost.flags, len(lost.ts)) == (0, 5 << 32, LOST, 0)
    assert (rest.from_, rest.to, rest.flags, rest.offset.tolist()) == (5 << 32, (5 << 32) + 9, 0, [(5 << 32) + 7])


def screened(rows: list[tuple[int, int, int]], targets: int, running_max: int) -> Screened:
    """Rows (target, time, offset) in the order of the log, as a batch."""
    ordered = sorted(rows, key=lambda row: row[0])
    columns = np.array(ordered, np.int64).reshape(-1, 3).T
    number = len(rows)
    return NOTHING._replace(
        pseudonym=np.ones(number, np.uint64),
        ts=columns[1],
        offset=columns[2],
        index=np.zeros(number, np.uint32),
        zone=np.zeros(number, np.uint16),
        cohort=np.zeros(number, np.uint8),
        kind=np.zeros(number, np.uint8),
        starts=np.searchsorted(columns[0], np.arange(targets + 1)),
        running_max=running_max,
    )
