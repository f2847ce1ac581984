"""How late an event may be is a matter of the epochs: whichever gateways have a source, however they are set."""

import random
from typing import Final

import orjson
import pytest
from msgspec.structs import replace

from schemas.epochs import Epoch
from schemas.rejects import Reason
from schemas.sightings import Control, decode_frame
from schemas.topics import HOUR_MS
from streams.core.events.decode import decode
from streams.core.gateway.framing import Framer, Mark
from streams.core.gateway.gateway import NEVER_MS, screen
from tests.support.raw import records_of
from tests.support.world import PLAN, context_of, epochs_at

NOON: Final = 1_772_449_200_000
MINUTE: Final = 60_000
WHO: Final = "001010000000001"
PEOPLE: Final = {WHO: {"imsi": WHO, "birth_year": 1980, "consent": {"marketing": "granted"}}}
SETTINGS_MS: Final = (0, 10_000, 60_000)


def two_days(first_ms: int, second_ms: int) -> list[Epoch]:
    today, tomorrow = epochs_at(NOON, NOON + 24 * HOUR_MS)
    return [replace(today, lateness_ms=first_ms), replace(tomorrow, lateness_ms=second_ms)]


def sent(epochs: list[Epoch], mark: Mark, log: list[tuple[int, int]], lateness_ms: int) -> tuple[list, int, Mark]:
    """What a gateway of this setting, that takes up a source at the mark, makes of (record time, event time): the event
    times that it lets through, its watermark, and where it ends."""
    context = context_of(epochs, PEOPLE, lateness_ms, 1)
    framer = Framer(1, context.watermark_ms)
    framer.open(0, mark)
    values = [orjson.dumps({"event_id": "e", "imsi": WHO, "ts": ts, "cell": PLAN.cells[0].cell}) for _, ts in log]
    records = records_of(values, [time for time, _ in log])
    records = records._replace(offset=records.offset + mark.next_offset)
    screened = screen(records, decode(records, 1 << 18), mark.running_max, context)
    assert set(screened.rejected[1].tolist()) <= {Reason.too_late}
    framer.add(0, screened, mark.next_offset + len(log))
    flush = framer.take()
    assert flush is not None
    frame = decode_frame(flush.frames[0])
    assert not isinstance(frame, Control)
    return screened.ts.tolist(), frame[-1].watermark_ms, flush.marks[0]


@pytest.mark.parametrize("setting_ms", SETTINGS_MS)
def test_a_gateway_that_is_set_otherwise_goes_by_the_epoch(setting_ms: int) -> None:
    at = NOON + MINUTE
    log = [(at, at), (at, at - 10_000), (at, at - 10_001)]
    passed, watermark_ms, _ = sent(two_days(10_000, 10_000), Mark(0, NEVER_MS), log, setting_ms)
    assert passed == [at, at - 10_000] and watermark_ms == at - 10_000


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_let_through_that_is_behind_a_watermark_that_was_sent(seed: int) -> None:
    """Over an epoch's change, after which events may be later or not as late, and from one gateway to the next."""
    rng = random.Random(seed)
    epochs = two_days(rng.choice(SETTINGS_MS), rng.choice(SETTINGS_MS))
    time, mark, before_ms, late = epochs[1].start_ms - 2 * MINUTE, Mark(0, NEVER_MS), NEVER_MS, 0
    while time < epochs[1].start_ms + 2 * MINUTE:
        times = [time := time + rng.choice([0, 1000, 5000]) for _ in range(rng.randint(1, 9))]
        log = [(at, at - rng.choice([0, 5000, 15_000, 50_000, 65_000])) for at in times]
        passed, watermark_ms, mark = sent(epochs, mark, log, rng.choice(SETTINGS_MS))
        assert min(passed, default=before_ms) >= before_ms
        assert watermark_ms >= before_ms
        before_ms, late = watermark_ms, late + len(log) - len(passed)
    assert late
    assert before_ms == mark.running_max - epochs[1].lateness_ms, "as late as the new epoch says"
