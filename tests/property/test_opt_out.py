"""An opt-out in the crowd: from its time on all is as if that person had left, whatever else arrives of them."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.sightings import OPT_IN, OPT_OUT, REGISTRY_SOURCE, encode_control, encode_frame
from streams.core.crowd.slots import BARRED, NOWHERE
from streams.core.crowd.snapshot import restore, to_columns
from tests.oracle.counting import DETACH, Sighting
from tests.property.test_crowd_against_oracle import (
    EPOCHS,
    MINUTE,
    MOVES,
    START,
    counted,
    expected,
    frames_of,
    fresh,
    run,
    section,
    sightings_of,
)

WHO = 1


def seen(at: int, offset: int, kind: int = 0, who: int = WHO, source: int = 0) -> Sighting:
    return Sighting(at, source, offset, 0, who, 3, 5, kind)


def said(at: int, kind: int, who: int = WHO, offset: int = 0) -> Sighting:
    return seen(at, offset, kind, who, REGISTRY_SOURCE)


def fed(*frames: list, live: tuple[int, ...] = (0, REGISTRY_SOURCE)):
    """A crowd fed with one frame for each list of sections."""
    crowd = fresh(EPOCHS)
    panes = list(crowd.feed(encode_control(1, list(live)), 0))
    for offset, sections in enumerate(frames, 1):
        panes += crowd.feed(encode_frame(sections), offset)
    return crowd, panes


@settings(max_examples=100, deadline=None)
@given(MOVES, st.integers(0, 60), st.integers(0, 1 << 30))
def test_from_the_next_pane_on_all_equals_a_run_in_which_that_person_had_left(moves, cut: int, seed: int) -> None:
    moves = [move for move in moves if move[4] <= DETACH]
    sightings = [s for s in sightings_of(moves) if s.ts < EPOCHS[0].end_ms - 70 * MINUTE]
    at = sightings[cut].ts if cut < len(sightings) else START + cut * MINUTE
    until = max((s.ts for s in sightings), default=START) + 66 * MINUTE
    # At one time raw sources come before the registry's.
    left = [s for s in sightings if s.subscriber != WHO or s.ts <= at]
    panes = [
        run_with(rows, Sighting(at, REGISTRY_SOURCE, 0, 0, WHO, 0, 0, kind), until, seed)
        for rows, kind in ((sightings, OPT_OUT), (left, OPT_OUT), (left, DETACH))
    ]
    assert panes[0] == panes[1]
    # What an opt-out ends is not completed: neither the length of a stay nor where somebody passed last is counted.
    # Else it is as if they had left.
    completed = {m.name for m in EPOCHS[0].measures if m.statistic in ("dwell", "passes")}
    assert [{key: counts for key, counts in found.items() if key[1] not in completed} for found in panes[1:]] == [
        {key: counts for key, counts in panes[2].items() if key[1] not in completed}
    ] * 2


def run_with(sightings: list[Sighting], row: Sighting, until: int, seed: int) -> dict:
    """The row in the first frame of its source, before all others."""
    crowd = fresh(EPOCHS)
    panes = list(crowd.feed(encode_control(1, [0, 1, REGISTRY_SOURCE]), 0))
    frames = [
        encode_frame([section(REGISTRY_SOURCE, 0, [row], until)]),
        *frames_of(sightings, until, random.Random(seed), 4),
    ]
    for offset, frame in enumerate(frames, 1):
        panes += crowd.feed(frame, offset)
    found = counted(panes)
    assert found == expected([*sightings, row], EPOCHS, until)[0]
    return found


def test_a_tombstone_for_somebody_never_seen_is_kept_and_what_it_drops_is_counted() -> None:
    crowd, panes = fed(
        [section(REGISTRY_SOURCE, 0, [said(START + 1000, OPT_OUT)], START + MINUTE)],
        [section(0, 0, [seen(START + 1000, 0), seen(START + 2000, 1), seen(START + 3000, 2, DETACH)], START + MINUTE)],
        [section(REGISTRY_SOURCE, 1, [], START + 5 * MINUTE), section(0, 3, [], START + 5 * MINUTE)],
    )
    assert crowd.barred == 2  # at the opt-out's own time raw rows come first
    assert present(panes[-1]) == 0


def test_an_opt_in_ends_it_and_links_to_no_stay_of_before() -> None:
    rows = [
        seen(START, 0),
        seen(START + 20 * MINUTE, 1),
        seen(START + 30 * MINUTE, 2),
        Sighting(START + 45 * MINUTE, 0, 3, 0, WHO, 1, 5, 0),
        Sighting(START + 60 * MINUTE, 0, 4, 0, WHO, 1, 5, 0),
    ]
    news = [said(START + 25 * MINUTE, OPT_OUT), said(START + 40 * MINUTE, OPT_IN, offset=1)]
    until = START + 90 * MINUTE
    crowd, panes = fed([section(REGISTRY_SOURCE, 0, news, until)], [section(0, 0, rows, until)])
    assert counted(panes) == expected([*rows, *news], EPOCHS, until)[0]
    assert crowd.barred == 1
    by_end = {pane.end_ms: pane for pane in panes}
    assert [present(by_end[START + n * MINUTE]) for n in (25, 30, 40, 50)] == [1, 0, 0, 1]
    assert not any(len(pane.counts["trips_zone"].keys) for pane in panes if "trips_zone" in pane.counts)


def test_an_opt_in_of_somebody_never_seen_takes_no_room() -> None:
    crowd, _ = fed([section(s, 0, [said(START, OPT_IN)] * (s > 0), START + MINUTE) for s in (0, REGISTRY_SOURCE)])
    assert crowd.subscribers == 0


def test_tombstones_end_with_the_epoch() -> None:
    end = EPOCHS[0].end_ms
    rows = [seen(end - MINUTE, 0), seen(end + MINUTE, 1)]
    until = end + 10 * MINUTE
    _, panes = fed([section(REGISTRY_SOURCE, 0, [said(START, OPT_OUT)], until)], [section(0, 0, rows, until)])
    by_end = {pane.end_ms: pane for pane in panes}
    assert (present(by_end[end]), present(by_end[end + 5 * MINUTE])) == (0, 1)


def test_a_row_that_comes_late_where_the_registry_holds_nothing_counts_from_now_on() -> None:
    crowd, panes = fed(
        [section(0, 0, [seen(START, 0)], START + 7 * MINUTE)],
        [section(REGISTRY_SOURCE, 0, [said(START + MINUTE, OPT_OUT)], START)],
        [section(0, 1, [seen(START + 8 * MINUTE, 1)], START + 10 * MINUTE)],
        live=(0,),
    )
    assert [present(pane) for pane in panes] == [1, 0]
    assert (crowd.barred, crowd.early) == (1, 0)


@pytest.mark.parametrize("kind", [OPT_OUT, OPT_IN])
def test_a_snapshot_holds_the_tombstone(kind: int) -> None:
    crowd, _ = fed(
        [section(REGISTRY_SOURCE, 0, [said(START, OPT_OUT), said(START + 1, kind, offset=1)], START + 5 * MINUTE)],
        [section(0, 0, [], START + 5 * MINUTE)],
    )
    again = fresh(EPOCHS)
    restore(again, to_columns(crowd))
    row = seen(START + 6 * MINUTE, 1)
    more = [section(0, 1, [row], START + 10 * MINUTE), section(REGISTRY_SOURCE, 2, [], START + 10 * MINUTE)]
    panes = [one.feed(encode_frame(more), crowd.next_offset) for one in (crowd, again)]
    assert panes[0] == panes[1]
    assert present(panes[0][-1]) == (0 if kind == OPT_OUT else 1)


@pytest.mark.parametrize("again", [False, True])
def test_of_who_has_opted_out_memory_has_the_pseudonym_what_was_used_and_departures_alone(again: bool) -> None:
    """Not when they were heard, nor their age band and gender, nor where they were but for what windows still count."""
    times = [(n // 2 * 12 + n % 2 * 4) * MINUTE for n in range(8)]  # four stays
    rows = [Sighting(START + after, 0, n, 0, WHO, n // 2 % 3, 5, 0) for n, after in enumerate(times)]
    news = [said(START + 50 * MINUTE, OPT_OUT), *[said(START + 51 * MINUTE, OPT_OUT, offset=1)] * again]
    until = START + 55 * MINUTE
    before, crowd = (
        fed([section(REGISTRY_SOURCE, 0, some, until)], [section(0, 0, rows, until)])[0] for some in ([], news)
    )
    slots = before.population.slots
    [at] = np.flatnonzero(slots.rows["pseudonym"])
    assert all(column[at].any() for column in (slots.known, slots.departed, slots.areas)), "there is what to forget"
    slots = crowd.population.slots
    [at] = np.flatnonzero(slots.rows["pseudonym"])
    row = {name: int(slots.rows[at][name]) for name in slots.rows.dtype.names}
    empty = dict.fromkeys(["start", "last", "before_start", "cohort", "flags"], 0)
    assert row == empty | {
        "pseudonym": row["pseudonym"],
        "left": row["left"],
        "zone": NOWHERE,
        "stayed": NOWHERE,
        "before": BARRED,
    }
    assert not any(column[at].any() for column in (slots.known, slots.departed, slots.areas))


def test_the_oracle_and_the_crowd_agree_on_any_number_of_changes() -> None:
    rng = np.random.default_rng(1)
    rows = [
        Sighting(
            START + n * 7_000, 0, n, 0, int(rng.integers(1, 4)), int(rng.integers(5)), 1, int(rng.choice([0, 5, 6]))
        )
        for n in range(800)
    ]
    until = START + 100 * MINUTE
    _, panes = run(frames_of(rows, until, random.Random(1), 9), EPOCHS)
    assert counted(panes) == expected(rows, EPOCHS, until)[0]


def present(pane) -> int:
    counts = counted([pane])[pane.epoch, "present", pane.number]
    return sum(counts.values())


def test_a_resumed_crowd_takes_no_time_from_the_registry() -> None:
    crowd = fresh(EPOCHS)
    crowd.feed(encode_control(1, [0]), 0)
    crowd.resume(0)
    far = EPOCHS[-1].end_ms * 2
    crowd.feed(encode_frame([section(REGISTRY_SOURCE, 7, [], far), section(0, 9, [], START)]), 1)
    assert crowd.resumed is not None and crowd.resumed.whole_ms < START + 5 * MINUTE
