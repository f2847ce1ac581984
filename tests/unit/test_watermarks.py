"""The watermark of a partition, and what a frame that must be ignored does to it."""

import numpy as np
import pytest

from schemas.sightings import LOST, Section, decode_frame, encode_control, encode_frame
from streams.core.crowd.crowd import Crowd, UnknownEpoch
from streams.core.crowd.watermarks import UNHEARD
from tests.support.world import epochs_at

START = 1_772_420_400_000


def empty(source: int, from_: int, to: int, watermark: int, flags: int = 0) -> Section:
    columns = [np.empty(0, kind) for kind in ("u8", "i8", "i8", "u4", "u2", "u1", "u1")]
    return Section(source, flags, from_, to, watermark, *columns)


def crowd() -> Crowd:
    made = Crowd(0, np.array([0, 0, 0, 1, 1, 1], np.uint16))
    made.add_epoch(epochs_at(START)[0])
    made.feed(encode_control(1, [0, 1]), 0)
    return made


def test_it_is_undefined_until_every_live_source_has_been_heard() -> None:
    marks = UNHEARD.governed(1, [0, 1])
    assert marks.least_ms is None
    assert marks.after({0: 50}).least_ms is None
    assert marks.after({0: 50}).after({1: 70}).least_ms == 50


def test_it_is_the_least_and_never_goes_back() -> None:
    marks = UNHEARD.governed(1, [0, 1]).after({0: 50, 1: 70})
    assert marks.after({0: 40}).least_ms == 50
    assert marks.after({0: 90}).least_ms == 70


def test_a_source_that_joins_holds_it_until_it_is_heard() -> None:
    marks = UNHEARD.governed(1, [0]).after({0: 50}).governed(2, [0, 1])
    assert marks.after({0: 90}).least_ms == 50
    assert marks.after({0: 90, 1: 60}).least_ms == 60
    # One that is further back than all were draws nothing back: what was complete is.
    behind = marks.after({0: 90, 1: 30})
    assert behind.least_ms == 50 and behind.after({1: 45}).least_ms == 50 and behind.after({1: 55}).least_ms == 55


def test_an_older_control_record_is_ignored() -> None:
    assert UNHEARD.governed(2, [0, 1]).governed(1, [0]).live == {0, 1}


def test_a_section_beyond_the_chain_moves_no_watermark() -> None:
    one = crowd()
    one.feed(encode_frame([empty(0, 0, 1, START + 50_000), empty(1, 5, 9, START + 90_000)]), 1)
    assert (one.watermark_ms, one.gaps) == (None, 1)
    one.feed(encode_frame([empty(1, 0, 5, START + 40_000)]), 2)
    assert one.watermark_ms == START + 40_000


def test_lost_records_are_counted() -> None:
    one = crowd()
    one.feed(encode_frame([empty(0, 0, 17, START + 50_000, LOST)]), 1)
    assert one.lost == 17


def test_an_unknown_epoch_is_refused_before_anything_changes() -> None:
    one = crowd()
    end = one.epochs[0].end_ms
    frame = encode_frame([empty(0, 0, 1, end + 1), empty(1, 0, 1, end + 1)])
    for _ in range(2):
        with pytest.raises(UnknownEpoch):
            one.feed(frame, 1)
    assert (one.next_offset, one.following, one.watermark_ms) == (1, {}, None)
    one.add_epoch(epochs_at(START, end)[1])
    assert len(one.feed(frame, 1)) == 288


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"", "without the magic"),
        (b"THRX" + bytes(9), "without the magic"),
        (b"THRF\x02" + bytes(9), "version 2"),
        (encode_frame([empty(0, 0, 1, 5)])[:-1], "header is cut off"),
        (encode_frame([empty(0, 0, 1, 5)]) + b"x", "1 bytes behind"),
        (encode_frame([empty(0, 3, 3, 5)]), "range from 3 to 3"),
    ],
)
def test_what_is_no_frame_is_refused_by_name(value: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        decode_frame(value)
