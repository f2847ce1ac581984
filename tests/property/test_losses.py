"""Raw records that retention took: what each pane says it lacks is the oracle's, and misses nothing that was lost."""

import random
from typing import NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.panes import Pane
from schemas.sightings import LOST, Section, encode_control, encode_frame
from streams.core.crowd.losses import Loss
from streams.core.crowd.snapshot import restore, to_columns
from tests.oracle.counting import Sighting, lacking
from tests.property.test_crowd_against_oracle import (
    EPOCHS,
    MEASURES,
    MINUTE,
    MOVES,
    START,
    counted,
    expected,
    fresh,
    section,
    sightings_of,
)

NEVER_MS = -(1 << 61)
EDGES = st.sampled_from([0, 9_999, 130 * MINUTE, 150 * MINUTE, 165 * MINUTE, 179 * MINUTE])


class Log(NamedTuple):
    """What two gateways have written, and the truth: rows by whether they were lost, what each source's sections say.

    `says`: by the frame from which on the crowd knows it.
    """

    frames: list[bytes]
    kept: list[Sighting]
    lost: list[Sighting]
    says: dict[int, list[tuple[bool, int]]]
    until: int


def log_of(moves, edge: int, seed: int) -> Log:
    """Sections of two sources, some of them lost; zombies repeat what went before, as lost or with its rows."""
    rng = random.Random(seed)
    sightings = [s for s in sightings_of(moves, edge) if s.ts < EPOCHS[-1].end_ms - 70 * MINUTE]
    last = max((s.ts for s in sightings), default=START)
    until = last + 66 * MINUTE
    frames: list[bytes] = []
    kept, lost = list[Sighting](), list[Sighting]()
    says: dict[int, list[tuple[bool, int]]] = {0: [], 1: []}
    queues = {source: [s for s in sightings if s.source == source] for source in (0, 1)}
    at, sent = {0: 0, 1: 0}, {0: list[Section](), 1: list[Section]()}
    while any(at[source] < len(queues[source]) for source in queues):
        source = rng.choice([s for s in queues if at[s] < len(queues[s])])
        rows = queues[source][at[source] : at[source] + rng.randint(1, 6)]
        rest = queues[source][at[source] + len(rows) :]
        gone = rng.random() < 0.25
        before = max((ms for _, ms in says[source]), default=NEVER_MS)
        watermark = before if gone else max(before, min((s.ts for s in rest), default=last))
        made = section(source, at[source], [] if gone else rows, watermark)
        made = made._replace(to=at[source] + len(rows), flags=LOST if gone else 0)
        if gone and sent[source] and rng.random() < 0.5:  # by a gateway that found no commit: from further back
            made = made._replace(from_=rng.choice(sent[source]).from_)
        says[source].append((gone, watermark))
        (lost if gone else kept).extend(rows)
        together = [made]
        if sent[source] and rng.random() < 0.2:  # a zombie, or one that began at an older commit
            old = rng.choice(sent[source])
            none = section(source, old.from_, [], old.watermark_ms)
            together.append(rng.choice([old, none._replace(to=old.to, flags=LOST)]))
        rng.shuffle(together)
        frames.append(encode_frame(together))
        sent[source].append(made)
        at[source] += len(rows)
    frames.append(encode_frame([section(source, at[source], [], until) for source in (0, 1)]))
    for source in says:
        says[source].append((False, until))
    return Log(frames, kept, lost, says, until)


def fed(frames: list[bytes], restart: bool) -> list[Pane]:
    crowd = fresh(EPOCHS)
    panes = list(crowd.feed(encode_control(1, [0, 1]), 0))
    for offset, frame in enumerate(frames, 1):
        if restart:
            columns, crowd = to_columns(crowd), fresh(EPOCHS)
            restore(crowd, columns)
        panes += crowd.feed(frame, offset)
    return panes


@settings(max_examples=150, deadline=None)
@given(MOVES, EDGES, st.integers(0, 1 << 30))
def test_what_panes_lack_is_what_the_oracle_says_and_nothing_that_was_lost_is_passed_over(moves, edge, seed) -> None:
    log = log_of(moves, edge, seed)
    panes = fed(log.frames, restart=False)
    assert counted(panes) == expected(log.kept, EPOCHS, log.until)[0]
    found = {(pane.end_ms, name): pane.lacking.get(name, 0) for pane in panes for name in pane.counts}
    wanted = {}
    for epoch in EPOCHS:
        builtin = msgspec.to_builtins(epoch)
        for measure in builtin["measures"]:
            every = range(epoch.start_ms + measure["pane_ms"], epoch.end_ms + 1, measure["pane_ms"])
            wanted |= {
                (end, measure["name"]): len(lacking(log.says, builtin, measure, end))
                for end in every
                if end <= log.until
            }
    assert found == wanted
    assert all(pane.sources == (2 if pane.lacking else 0) for pane in panes)
    for row in log.lost:
        for measure in MEASURES:
            end = START + ((row.ts - START) // measure.pane_ms + 1) * measure.pane_ms
            assert found.get((end, measure.name), 1) > 0


@settings(max_examples=50, deadline=None)
@given(MOVES, EDGES, st.integers(0, 1 << 30))
def test_a_restart_before_any_frame_lacks_the_same(moves, edge, seed) -> None:
    log = log_of(moves, edge, seed)
    assert fed(log.frames, restart=True) == fed(log.frames, restart=False)


def test_losses_are_forgotten_once_no_pane_reaches_back_to_them_and_many_are_one() -> None:
    crowd = fresh(EPOCHS)
    crowd.feed(encode_control(1, [0, 1]), 0)
    offset = 0

    def say(ms: int, lost: int = 0) -> None:
        nonlocal offset
        offset += 1
        sections = [section(source, offset - 1, [], START + ms) for source in (0, 1)]
        crowd.feed(encode_frame([sections[0]._replace(flags=lost), sections[1]]), offset)

    say(MINUTE)
    for second in range(200):
        say(MINUTE + 1000 * second, LOST)
        say(MINUTE + 1000 * second + 500)
    assert crowd.losses == (Loss(0, START + MINUTE, START + MINUTE + 199_500),)
    say(60 * MINUTE)
    assert len(crowd.losses) == 1
    say(80 * MINUTE)
    assert crowd.losses == ()
