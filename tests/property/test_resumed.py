"""A crowd whose state is lost and whose log no longer reaches back: what it calls whole is what the oracle counts."""

import random
from collections import Counter
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.panes import Pane
from schemas.sightings import (
    GENESIS,
    OPT_IN,
    OPT_OUT,
    REGISTRY_SOURCE,
    Control,
    decode_frame,
    encode_control,
    encode_frame,
    encode_reset,
)
from schemas.topics import DAY_MS
from streams.core.crowd.crowd import Crowd, UnknownEpoch
from streams.core.crowd.snapshot import restore, to_columns
from tests.oracle.counting import Sighting, count, window
from tests.property.test_crowd_against_oracle import (
    KINDS,
    LONG,
    MINUTE,
    PARENT_OF,
    SHORT,
    START,
    ZONES,
    counted,
    epoch,
    fresh,
    section,
)

EPOCHS = [msgspec.structs.replace(epoch(number), jump_m_s=0) for number in range(6)]
LATENESS = EPOCHS[0].lateness_ms
SILENCE = EPOCHS[0].silence_ms
# How far an event's time is from its record's.
APART = st.sampled_from([0, 0, -3_000, -LATENESS, 1, 59_999, 60_000])
# So long that they go through several epochs.
STEPS = st.sampled_from(SHORT + LONG)
MOVES = st.lists(
    st.tuples(STEPS, st.integers(1, 4), st.integers(0, ZONES - 1), st.integers(0, 3), KINDS, APART),
    min_size=10,
    max_size=80,
)


class World(NamedTuple):
    """Frames of a log, with their sections as (source, from, watermark); what is in them."""

    frames: list[bytes]
    sections: list[tuple[int, int, int]]
    sightings: list[Sighting]
    until: int


def world_of(moves, rng: random.Random) -> World:
    """Each source's records in order, in sections of a few rows; watermarks by record time, as a gateway says them."""
    now, offsets, rows, out, back = START, [0, 0], {0: [], 1: []}, set(), dict[int, int]()
    for step, who, zone, cohort, kind, apart in moves:
        now += step
        # A gateway sends nothing of who has opted out, whether the row that says so is still in the log or not.
        if who in out and kind != OPT_IN:
            continue
        out = out | {who} if kind == OPT_OUT else out - {who}
        source = (who + cohort) % 2
        latest = max((time for time, _ in rows[source]), default=now)
        ts = min(max(now + apart, latest - LATENESS, START), EPOCHS[-1].end_ms - 1)
        if kind == OPT_IN:
            back[who] = ts
        # Nor of the moments before an opt-in that comes before them in the log: only who knows of the opt-out can tell.
        elif kind != OPT_OUT and ts < back.get(who, 0):
            continue
        if now < EPOCHS[-1].end_ms:
            rows[source].append((now, Sighting(ts, source, offsets[source], 0, who, zone, cohort, kind)))
            offsets[source] += 1
    # Both sources beat now and then, so that neither holds the watermark for long.
    frames, sections, at = [], [], [0, 0]
    for beat in range(START, EPOCHS[-1].end_ms, 4 * MINUTE):
        for source in rng.sample((0, 1), 2):
            due = [row for time, row in rows[source] if beat <= time < beat + 4 * MINUTE]
            said = max([beat, *(time for time, _ in rows[source] if beat <= time < beat + 4 * MINUTE)]) - LATENESS
            # A row's offset is its place among rows; beats take offsets between them.
            due = [row._replace(offset=at[source] + number) for number, row in enumerate(due)]
            frames.append(encode_frame([section(source, at[source], due, said)]))
            sections.append((source, at[source], said))
            at[source] += max(1, len(due))
    sightings = [row for source in (0, 1) for _, row in rows[source]]
    return World(frames, sections, sightings, EPOCHS[-1].end_ms - 4 * MINUTE - LATENESS)


def resumed(at: int) -> Crowd:
    crowd = fresh(EPOCHS)
    crowd.resume(at)
    return crowd


def whole_ms(world: World, cut: int) -> int:
    """By the rule's words: from the first section of each source in the log."""
    firsts: dict[int, int] = {}
    for source, from_, said in world.sections[cut:]:
        firsts.setdefault(source, said if from_ else -(1 << 60))
    return max(firsts.values()) + LATENESS + 60_000 + 1


def fed(crowd: Crowd, frames: list[bytes], first: int, restart: bool = False, on_tick=None) -> list[Pane]:
    panes = []
    for offset, frame in enumerate(frames, first):
        if restart and offset % 7 == 0:
            columns = to_columns(crowd)
            crowd = fresh(EPOCHS)
            restore(crowd, columns)
        panes += crowd.feed(frame, offset, on_tick)
    return panes


def expected(world: World) -> tuple[dict, object]:
    result = count(world.sightings, [msgspec.to_builtins(e) for e in EPOCHS], PARENT_OF, world.until)
    return {name: +counts for name, counts in result.panes.items()}, result


def only_what_is_whole_is_told(panes: list[Pane], oracle: dict) -> None:
    told = counted(panes)
    assert told == {name: oracle[name] for name in told}


@settings(max_examples=75, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
def test_what_is_not_shut_is_what_the_oracle_counts(moves, seed: int) -> None:
    rng = random.Random(seed)
    world = world_of(moves, rng)
    oracle, _ = expected(world)
    cut = rng.randrange(2, len(world.frames) - 100)
    panes = fed(resumed(cut), world.frames[cut:], cut)
    only_what_is_whole_is_told(panes, oracle)
    whole = whole_ms(world, cut)
    for pane in panes:
        one = next(e for e in EPOCHS if e.epoch == pane.epoch)
        due = {measure.name for measure in one.due(pane.number)}
        assert due == pane.counts.keys() | set(pane.shut)
        if one.opens_ms >= whole:
            assert not pane.shut
            assert not pane.resumed
            continue
        assert pane.resumed
        presence = {"present", "present_cohort"} if pane.end_ms >= whole + SILENCE else set()
        assert set(pane.shut) == due - presence
    ends = [pane.end_ms for pane in panes]
    assert ends == list(range(EPOCHS[0].start_ms + 5 * MINUTE, ends[-1] + 1, 5 * MINUTE))


@settings(max_examples=30, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
def test_once_an_epoch_is_whole_its_panes_are_those_of_a_crowd_that_lost_nothing(moves, seed: int) -> None:
    rng = random.Random(seed)
    world = world_of(moves, rng)
    cut = rng.randrange(2, len(world.frames) - 100)
    straight = fed(fresh(EPOCHS), [encode_control(1, [0, 1]), *world.frames], 0)
    panes = fed(resumed(cut), world.frames[cut:], cut)
    whole = next(e for e in EPOCHS if e.opens_ms >= whole_ms(world, cut))
    mine = [pane for pane in panes if pane.epoch >= whole.epoch]
    assert mine
    assert mine == [pane for pane in straight if pane.epoch >= whole.epoch]


@settings(max_examples=30, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
def test_a_zombies_repeat_where_the_log_begins_only_makes_it_whole_later(moves, seed: int) -> None:
    """It is taken for the chain's beginning, and what follows really seems to leave a gap."""
    rng = random.Random(seed)
    world = world_of(moves, rng)
    oracle, _ = expected(world)
    cut = rng.randrange(20, len(world.frames) - 100)
    stale = [world.frames[number] for number in sorted(rng.sample(range(cut - 20, cut), rng.randint(1, 4)))]
    ahead = [world.frames[number] for number in rng.sample(range(cut + 1, cut + 5), rng.randint(0, 2))]
    panes = fed(resumed(cut), [*stale, *ahead, *world.frames[cut:]], cut)
    only_what_is_whole_is_told(panes, oracle)
    later = next(e for e in EPOCHS if e.opens_ms >= whole_ms(world, cut + 8))
    assert not any(pane.shut for pane in panes if pane.epoch >= later.epoch)
    assert panes[-1].epoch == EPOCHS[-1].epoch


@settings(max_examples=20, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
def test_a_resumed_state_goes_through_snapshots(moves, seed: int) -> None:
    rng = random.Random(seed)
    world = world_of(moves, rng)
    cut = rng.randrange(2, len(world.frames) - 100)
    frames = world.frames[cut:]
    assert fed(resumed(cut), frames, cut, restart=True) == fed(resumed(cut), frames, cut)


@settings(max_examples=20, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
def test_windows_that_are_called_whole_are_the_oracles(moves, seed: int) -> None:
    rng = random.Random(seed)
    world = world_of(moves, rng)
    _, result = expected(world)
    cut = rng.randrange(2, 60)
    compared = Counter()

    def compare(tick: int, crowd: Crowd) -> None:
        one = crowd.epoch
        if tick % (10 * MINUTE) or one is None or tick > world.until:
            return
        for length in one.windows_ms:
            if crowd.window_is_whole(length):
                counts = crowd.counts(length)
                got = Counter({(int(z), int(c)): int(counts[z, c]) for z, c in zip(*np.nonzero(counts), strict=True)})
                assert got == window(result, msgspec.to_builtins(one), ZONES, tick, length), tick
                compared[length] += 1

    fed(resumed(cut), world.frames[cut:], cut, on_tick=compare)
    assert len(compared) == 2


def test_a_source_whose_chain_is_in_the_log_from_its_beginning_has_lost_nothing() -> None:
    """Only the control record is gone, or a source joined by command: all is whole."""
    world = world_of([(0, 1, 1, 1, 0, 0)] * 10, random.Random(1))
    straight = fed(fresh(EPOCHS), [encode_control(1, [0, 1]), *world.frames], 0)
    assert fed(resumed(1), world.frames, 1) == straight
    crowd = resumed(1)
    one = section(0, 500, [], START)._replace(flags=GENESIS)
    crowd.feed(encode_frame([one, section(1, 0, [], START)]), 1)
    assert crowd.watermark_ms == START
    assert crowd.shut_until() == {}


def test_a_source_that_the_epoch_does_not_know_holds_the_watermark_once_it_is_heard() -> None:
    crowd = resumed(5)
    frame = [section(source, 70, [], START + source) for source in (0, 1, 2)]
    crowd.feed(encode_frame(frame[:1]), 5)
    assert crowd.watermark_ms is None
    crowd.feed(encode_frame(frame[1:]), 6)
    assert crowd.watermarks.live == {0, 1, 2}
    crowd.feed(encode_control(3, [0, 1]), 7)
    assert crowd.watermarks.live == {0, 1}
    crowd.feed(encode_frame([section(3, 70, [], START)]), 8)
    assert crowd.watermarks.live == {0, 1}


def test_a_registry_that_the_epoch_does_not_know_never_holds_the_watermark() -> None:
    crowd = resumed(5)
    frame = [section(source, 70, [], START + source) for source in (0, 1)]
    crowd.feed(encode_frame([*frame, section(REGISTRY_SOURCE, 70, [], START - MINUTE)]), 5)
    assert crowd.watermarks.live == {0, 1}
    assert crowd.watermark_ms == START


def test_it_says_what_is_shut_and_until_when() -> None:
    crowd = resumed(5)
    assert crowd.shut_until().keys() == {measure.name for measure in EPOCHS[0].measures}
    said = START + 30 * MINUTE
    crowd.feed(encode_frame([section(source, 70, [], said) for source in (0, 1)]), 5)
    whole = said + LATENESS + 60_001
    assert crowd.shut_until() == {
        "present": whole + SILENCE,
        "present_cohort": whole + SILENCE,
        **{m.name: EPOCHS[1].start_ms for m in EPOCHS[0].measures if not m.of_presence},
    }
    later = whole + SILENCE + 5 * MINUTE
    crowd.feed(encode_frame([section(source, 71, [], later) for source in (0, 1)]), 6)
    assert crowd.shut_until().keys() == {m.name for m in EPOCHS[0].measures if not m.of_presence}
    crowd.feed(encode_frame([section(source, 72, [], EPOCHS[1].start_ms + MINUTE) for source in (0, 1)]), 7)
    assert crowd.shut_until() == {}
    assert crowd.resumed is None


def test_where_jumps_are_not_believed_nothing_is_whole_before_the_next_epoch() -> None:
    careful = [epoch(number) for number in range(2)]
    crowd = Crowd(0, np.array(PARENT_OF, np.uint16))
    for one in careful:
        crowd.add_epoch(one)
    crowd.resume(5)
    crowd.feed(encode_frame([section(source, 70, [], START + 30 * MINUTE) for source in (0, 1)]), 5)
    assert set(crowd.shut_until().values()) == {careful[1].start_ms}
    crowd.feed(encode_frame([section(source, 71, [], careful[1].start_ms - MINUTE) for source in (0, 1)]), 6)
    assert not crowd.window_is_whole(careful[0].windows_ms[0])
    crowd.feed(encode_frame([section(source, 72, [], careful[1].start_ms + 61 * MINUTE) for source in (0, 1)]), 7)
    assert crowd.window_is_whole(careful[0].windows_ms[1])


@pytest.mark.parametrize(("days", "first"), [(1, 20260302), (9, 20260304)])
def test_its_panes_begin_with_the_oldest_epoch_whose_panes_may_still_be_there(days: int, first: int) -> None:
    crowd = Crowd(0, np.array(PARENT_OF, np.uint16))
    for number in range(12):
        start = START + number * DAY_MS
        crowd.add_epoch(
            msgspec.structs.replace(
                epoch(0), epoch=20260302 + number, start_ms=start, end_ms=start + DAY_MS, opens_ms=start
            )
        )
    crowd.resume(5)
    said = START + days * DAY_MS + MINUTE
    panes = crowd.feed(encode_frame([section(source, 70, [], said) for source in (0, 1)]), 5)
    assert (panes[0].epoch, panes[0].number) == (first, 1)
    assert all(pane.resumed for pane in panes)
    assert panes[-1].end_ms == START + days * DAY_MS


def test_a_resumed_crowd_asks_for_epochs_before_it_takes_anything() -> None:
    crowd = Crowd(0, np.array(PARENT_OF, np.uint16))
    crowd.resume(5)
    frame = encode_frame([section(source, 70, [], START) for source in (0, 1)])
    with pytest.raises(UnknownEpoch):
        crowd.feed(frame, 5)
    assert crowd.next_offset == 5
    crowd.add_epoch(EPOCHS[0])
    crowd.feed(frame, 5)
    assert crowd.watermark_ms == START


def renamed(frame: bytes, at_ms: int) -> bytes:
    """The frame as gateways with a fresh salt from `at_ms` on write it."""
    sections = decode_frame(frame)
    assert not isinstance(sections, Control)
    return encode_frame(
        [s._replace(pseudonym=np.where(s.ts < at_ms, s.pseudonym, s.pseudonym + np.uint64(1000))) for s in sections]
    )


@settings(max_examples=50, deadline=None)
@given(MOVES, st.integers(0, 1 << 30))
def test_after_a_change_of_pseudonyms_within_an_epoch_only_what_is_whole_is_told(moves, seed: int) -> None:
    """As if they had not changed: who is present then has been heard since."""
    rng = random.Random(seed)
    world = world_of(moves, rng)
    oracle, _ = expected(world)
    at_ms = rng.choice(EPOCHS).start_ms + rng.randrange(1, 36) * 5 * MINUTE
    frames = [renamed(frame, at_ms) for frame in world.frames]
    # It may stand anywhere in the log before the first row of then, and more than once.
    told = next((n for n, s in enumerate(world.sections) if s[2] + LATENESS + 60_000 >= at_ms), len(frames))
    for place in sorted(rng.choices(range(told + 1), k=2), reverse=True):
        frames.insert(place, encode_reset(at_ms))
    frames.insert(0, encode_control(1, [0, 1]))
    panes = fed(fresh(EPOCHS), frames, 0, restart=rng.random() < 0.3)
    only_what_is_whole_is_told(panes, oracle)
    (whole,) = (e for e in EPOCHS if e.start_ms < at_ms < e.end_ms)
    for pane in panes:
        due = {measure.name for measure in next(e for e in EPOCHS if e.epoch == pane.epoch).due(pane.number)}
        presence = {"present", "present_cohort"} if pane.end_ms >= at_ms + SILENCE else set()
        after = pane.epoch == whole.epoch and pane.end_ms > at_ms
        assert (set(pane.shut), pane.resumed) == ((due - presence, True) if after else (set(), False))
