"""Frames for all targets at once are, byte for byte, what the contract's own writer makes of each target's rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sightings import GENESIS, LOST, Section, encode_frame
from streams.core.frames import Outgoing, frames
from streams.core.gateway import NOTHING, Screened

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
