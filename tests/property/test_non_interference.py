"""Nobody's events change what is counted of anybody else, whatever they send: no channel, and no attack.

A hostile subscriber is added to a raw log and taken out again. Theirs are floods, every kind, cells that don't exist,
times at and beyond every limit, records that are none, and opt-outs without end. What the broker stamps is not theirs
to choose: a record time lies between those of its neighbours in the log.
"""

import json
import random
from collections import Counter
from typing import NamedTuple

import numpy as np
import pytest

from schemas.epochs import Epoch
from streams.core.epochs import make_epoch
from streams.core.gateway.consents import RegistryRecord
from streams.core.gateway.pseudonyms import key_state, pseudonym
from streams.core.inline import Inline
from tests.property.test_crowd_against_oracle import counted
from tests.support.raw import records_of
from tests.support.world import PLAN, TERMS, context_of, epochs_at, salt_of

MINUTE = 60_000
CHANGE = 1_772_420_400_000  # pseudonyms change here, at 04:00
START = CHANGE - 3 * 60 * MINUTE
HONEST = [f"00101{n:010d}" for n in range(1, 9)]
HOSTILE = "001016666666666"
KINDS = ["update", "attach", "handover", "service", "detach"]
Event = dict[str, object]


class Logged(NamedTuple):
    """A record of a raw partition: the time that the broker gave it, and the events in it."""

    time_ms: int
    events: list[Event]


class Seen(NamedTuple):
    """All that a run gives away of honest subscribers, and the counts."""

    rows: list[tuple[int, ...]]
    counts: dict
    rejects: Counter
    drops: Counter
    watermarks: list[int | None]


def event(rng: random.Random, who: str, ts: int) -> Event:
    return {
        "event_id": "e",
        "imsi": who,
        "ts": ts,
        "cell": f"001-01-000{rng.randrange(14):04x}",
        "kind": rng.choice(KINDS),
    }


def honest_log(rng: random.Random) -> list[Logged]:
    """Six hours around the change of pseudonyms: most events in time, some at the edges of being late."""
    time, log = START, []
    for _ in range(260):
        time += rng.choice([100, 1000, 20_000, 70_000, 300_000])
        behind = [0, 0, 0, 400, 9_999, 10_000, 10_001, -60_000, -60_001]
        log.append(
            Logged(time, [event(rng, rng.choice(HONEST), time - rng.choice(behind)) for _ in range(rng.randint(1, 3))])
        )
    return log


def hostile_event(rng: random.Random, time: int) -> Event:
    ahead = [0, 59_999, 60_000, 60_001, -9_999, -10_000, -10_001, 86_400_000, -86_400_000, 1 << 52, -(1 << 52)]
    ts = rng.choice([*(time + by for by in ahead), CHANGE - 1, CHANGE, CHANGE + 1, 0, -1, (1 << 63) - 1])
    found = event(rng, HOSTILE, ts)
    return found | rng.choice(
        [{}, {}, {}, {"cell": "262-01-nowhere"}, {"kind": "?"}, {"ts": "never"}, {"imsi": HOSTILE + "9"}]
    )


def with_hostile(rng: random.Random, log: list[Logged]) -> tuple[list[Logged], list[Logged]]:
    """The log with the hostile's events, in records of their own and among those of others; and with theirs alone."""
    mixed, alone = [], []
    for number, (time, events) in enumerate(log):
        until = log[number + 1].time_ms if number + 1 < len(log) else time
        theirs = [hostile_event(rng, time) for _ in range(rng.choice([0, 0, 1, 5]))]
        mixed.append(Logged(time, [*theirs[:2], *events, *theirs[2:]]))
        alone.append(Logged(time, theirs))
        for _ in range(rng.choice([0, 0, 1, 20])):
            stamped = Logged(rng.randint(time, until), [hostile_event(rng, time)])
            mixed.append(stamped)
            alone.append(stamped)
    # The broker's clock does not go back.
    return sorted(mixed, key=lambda one: one.time_ms), sorted(alone, key=lambda one: one.time_ms)


def run(logs: list[list[Logged]], opt_outs: list[int], seed: int) -> Seen:
    """The gateway and the crowd on two raw partitions; `opt_outs`: when the hostile opts out or in again."""
    people = {
        who: {"imsi": who, "birth_year": 1980, "gender": "female", "consent": {"marketing": "granted"}}
        for who in [*HONEST, HOSTILE]
    }
    # The epochs are there: who sends the first event of a deployment is not looked at here.
    context = context_of(epochs_at(START, CHANGE), people)

    def provide(ts_ms: int) -> Epoch:
        epoch = make_epoch(ts_ms, TERMS, context.epochs)
        context.epochs.add(epoch)
        context.salts[epoch.epoch] = key_state(salt_of(epoch.epoch))  # type: ignore[index]
        return epoch

    inline = Inline(context, provide, np.array(PLAN.zone_parents(), np.uint16), len(logs), 1 << 20)
    rng = random.Random(seed)
    news = [
        RegistryRecord(n, at, HOSTILE.encode(), b"" if n % 2 == 0 else json.dumps(people[HOSTILE]).encode())
        for n, at in enumerate(opt_outs)
    ]
    known = {pseudonym(who.encode(), salt_of(epoch.epoch)) for epoch in context.epochs.epochs for who in HONEST}
    rows: list[tuple[int, ...]] = []
    panes, watermarks = [], []
    last = max(record.time_ms for log in logs for record in log)
    for begin in range(START, last + 5 * MINUTE, 5 * MINUTE):
        inline.announce(0, [record for record in news if begin <= record.time_ms < begin + 5 * MINUTE])
        for source, log in enumerate(logs):
            part = [record for record in log if begin <= record.time_ms < begin + 5 * MINUTE]
            while part:
                cut = rng.randint(1, len(part))
                values = [json.dumps(record.events).encode() if record.events else None for record in part[:cut]]
                screened = inline.take(source, records_of(values, [record.time_ms for record in part[:cut]]))
                part = part[cut:]
                columns = (screened.pseudonym, screened.ts, screened.zone, screened.cohort, screened.kind)
                rows += [row for row in zip(*(c.tolist() for c in columns), strict=True) if row[0] in known]
        panes += inline.count()
        watermarks.append(inline.crowds[0].watermark_ms)
    return Seen(sorted(rows), _summed(panes), +inline.rejects, +inline.drops, watermarks)


def _summed(panes) -> dict:
    """Counts by (epoch, measure, pane), all partitions together."""
    found: dict = {}
    for pane in panes:
        for name, counts in counted([pane]).items():
            found[name] = found.get(name, Counter()) + counts
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_hostile_subscriber_changes_nothing_of_what_is_counted_of_others(seed: int) -> None:
    rng = random.Random(seed)
    logs = [honest_log(rng) for _ in range(2)]
    both = [with_hostile(rng, log) for log in logs]
    opt_outs = sorted(rng.randint(START, CHANGE + 120 * MINUTE) for _ in range(rng.choice([0, 1, 40])))
    without = run(logs, [], seed)
    mixed = run([one for one, _ in both], opt_outs, seed + 1)
    alone = run([other for _, other in both], opt_outs, seed + 2)
    assert mixed.rows == without.rows
    assert mixed.watermarks[-1] == without.watermarks[-1]
    assert mixed.counts.keys() == without.counts.keys()
    for name, counts in mixed.counts.items():
        assert counts == without.counts[name] + alone.counts.get(name, Counter()), name
    del alone.rejects["null_value"]  # the honest records, emptied
    assert mixed.rejects == without.rejects + alone.rejects
    assert mixed.drops == without.drops + alone.drops
    assert sum(sum(counts.values()) for counts in alone.counts.values()) > 0


def test_the_log_has_what_the_rules_are_about() -> None:
    """Honest events are late and too early too, and the hostile's are of many kinds: else nothing would be shown."""
    rng = random.Random(1)
    log = honest_log(rng)
    seen = run([log, honest_log(rng)], [], 1)
    assert {"too_late", "clock_error", "unknown_cell"} <= seen.rejects.keys()
    alone = run([with_hostile(rng, log)[1]], [], 1)
    assert {"too_late", "clock_error", "unknown_cell"} < alone.rejects.keys()
