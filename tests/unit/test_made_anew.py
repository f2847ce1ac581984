"""A raw topic that was deleted and made once more, as a crowd sees it: offsets that it has had, of later times."""

import numpy as np
import pytest

from schemas.sightings import Section, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd
from streams.errors import ThrongError
from tests.support.world import PLAN, epochs_at

NOON = 1_772_449_200_000
MINUTE = 60_000
NOTHING = (np.empty(0, kind) for kind in (np.uint64, np.int64, np.int64, np.uint32, np.uint16, np.uint8, np.uint8))
COLUMNS = tuple(NOTHING)


def frame(from_: int, to: int, watermark_ms: int, source: int = 0) -> bytes:
    return encode_frame([Section(source, 0, from_, to, watermark_ms, *COLUMNS)])


@pytest.fixture
def crowd() -> Crowd:
    """One that has had offsets 0 to 99 of two sources, up to noon."""
    crowd = Crowd(0, np.array(PLAN.zone_parents(), np.uint16))
    crowd.add_epoch(epochs_at(NOON)[0])
    for offset, value in enumerate([encode_control(1, [0, 1]), frame(0, 100, NOON), frame(0, 100, NOON, source=1)]):
        crowd.feed(value, offset)
    return crowd


@pytest.mark.parametrize("watermark_ms", [NOON, NOON - 30 * MINUTE, NOON + 70_000])
def test_repeats_are_passed_over_whoever_sends_them_and_with_which_lateness(crowd: Crowd, watermark_ms: int) -> None:
    crowd.feed(frame(0, 50, watermark_ms), 3)
    crowd.feed(frame(50, 150, NOON + 10 * MINUTE), 4)
    assert (crowd.repeats, crowd.following[0]) == (1, 150)


def test_what_begins_again_with_later_times_ends_the_worker(crowd: Crowd) -> None:
    with pytest.raises(ThrongError, match="source 0 begins again") as raised:
        crowd.feed(frame(0, 50, NOON + 90_000), 3)
    assert raised.value.code == "made_anew"
    assert (crowd.following[0], crowd.next_offset, crowd.repeats) == (100, 3, 0)
