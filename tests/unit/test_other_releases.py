"""A crowd that meets what another release wrote ends with one line that says so, and has sent nothing of it."""

import msgspec
import pytest

from schemas.epochs import LOGIC
from streams.agents.roles import Chunk
from streams.errors import ThrongError
from tests.support.raw import batch_of
from tests.unit.test_lost_state import EPOCHS, LOG, START, Epochs, Worker


class Others(Epochs):
    """The first epoch is counted by earlier rules."""

    records = [msgspec.structs.replace(EPOCHS[0], logic=LOGIC - 1), EPOCHS[1]]  # noqa: RUF012 - as its parent's


async def test_an_epoch_that_is_counted_by_other_rules() -> None:
    worker = Worker(epochs=Others())
    await worker.given(0)
    with pytest.raises(ThrongError, match=rf"counted by rules {LOGIC - 1}, this release has {LOGIC}; see docs/how-to"):
        await worker.reads(20)
    assert worker.panes.sent == []


async def test_a_frame_of_another_form() -> None:
    worker = Worker()
    await worker.given(0)
    await worker.reads(7)
    newer = LOG[7][:4] + bytes([LOG[7][4] + 1]) + LOG[7][5:]
    batch = batch_of([(START, None, newer, [])], 7)
    with pytest.raises(ThrongError, match="record 7 of sightings: frame: version 2, this release reads 1"):
        await worker.agent.handle(Chunk("sightings", 3, (batch,), 7, 8, 1))
