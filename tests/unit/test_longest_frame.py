"""How long a frame can become in catching up, against what a record of `sightings` may have."""

import numpy as np
import pytest

from schemas.sightings import ROW_BYTES, Section, encode_frame
from schemas.topics import SIGHTINGS, TOPICS
from streams.agents.single import FRAME_LEVEL, SingleRecord
from streams.core.gateway.framing import MOST_IN_A_FRAME, rows_at_once
from streams.settings import Settings

LONGEST = next(int(topic.config["max.message.bytes"]) for topic in TOPICS if topic.name == SIGHTINGS)
# Of one subscriber: what is flushed at once, and behind it what one chunk of 8 MB can have of the shortest events.
MAD = 400_000 + 80_000


@pytest.mark.parametrize(
    ("wanted", "targets", "rows"),
    [(400_000, 1, 250_000), (400_000, 2, 250_000), (400_000, 3, 250_000), (400_000, 4, 400_000), (10, 1, 10)],
)
def test_few_partitions_are_flushed_earlier(wanted: int, targets: int, rows: int) -> None:
    assert rows_at_once(wanted, targets) == rows


def test_twice_a_partitions_share_fits_as_it_is() -> None:
    assert Settings().gateway.flush_rows == rows_at_once(Settings().gateway.flush_rows, 4)
    for targets in (1, 2, 3, 4, 64):
        share = -(-rows_at_once(500_000, targets) // targets)
        assert min(2 * share, MOST_IN_A_FRAME) * ROW_BYTES < LONGEST


def test_all_rows_of_one_subscriber_fit_as_they_are_packed() -> None:
    draws = np.random.default_rng(4)
    section = Section(
        source=3,
        flags=0,
        from_=0,
        to=MAD,
        watermark_ms=1_772_430_000_000,
        pseudonym=np.full(MAD, draws.integers(1 << 64, dtype=np.uint64)),
        ts=1_772_430_000_000 + draws.integers(0, 60_000, MAD),
        offset=np.arange(MAD),
        index=np.zeros(MAD, np.uint32),
        zone=draws.integers(0, 1000, MAD).astype(np.uint16),
        cohort=np.full(MAD, 7, np.uint8),
        kind=draws.integers(0, 4, MAD).astype(np.uint8),
    )
    frame = encode_frame([section])
    assert len(frame) > LONGEST
    batch = SingleRecord(frame, FRAME_LEVEL)
    assert len(batch._build()) < LONGEST * 0.8
