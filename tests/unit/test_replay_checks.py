"""`throng replay`: what is refused before anything is played."""

import pytest

from streams.errors import ThrongError
from streams.recording.play import check_partitions


def test_attach_must_have_as_many_partitions_as_the_recording_since_silent_ones_hold_the_watermark() -> None:
    check_partitions("r.attach", True, 3, 3)
    for there in (2, 4):
        with pytest.raises(ThrongError, match=f"r.attach has {there} partitions, the recording 3: .*RAW_PARTITIONS"):
            check_partitions("r.attach", True, there, 3)


def test_any_other_topic_may_have_more() -> None:
    check_partitions("r.copy", False, 4, 3)
    with pytest.raises(ThrongError, match="r.copy has 2 partitions"):
        check_partitions("r.copy", False, 2, 3)
