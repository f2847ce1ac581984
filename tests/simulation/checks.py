"""What must hold of the logs when a schedule is over, whatever happened in it. Each check says what is wrong."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

import msgspec
import numpy as np
import orjson

from schemas.ledger import LedgerRecord
from schemas.panes import Pane
from schemas.sightings import LOST, Control, decode_frame
from schemas.topics import LEDGER, PANES, REJECTS, RELEASED, SIGHTINGS
from streams.core.release.release import publications
from streams.stores.ledger import Ledger
from tests.oracle.counting import lacking
from tests.simulation.broker import Broker
from tests.simulation.world import PARTITIONS, SOURCES, Measured, Position, World
from tests.support.panes import summed


def wrongs(broker: Broker, world: World, read_by: Mapping[str, Sequence[int]], may_miss: bool = False) -> Iterator[str]:
    """All that is wrong.

    Args:
        read_by: for each drawer of noise the ledger's lengths when it began to read `panes`.
        may_miss: Kafka lost what it had acknowledged: panes may be missing, none may be wrong.
    """
    yield from _panes(broker, world, may_miss)
    first = first_released(broker)
    yield from _releases(broker, first, world, may_miss)
    yield from _publications(broker, first)
    yield from _draws(broker, read_by)
    yield from _covered(broker, first, world)
    yield from _rejects(broker, world)


def complete(broker: Broker, world: World) -> bool:
    """Whether everything has been refused, released and published."""
    if len(broker.logs[REJECTS, 0].records) < len(world.rejects) or _refused(broker).keys() < world.rejects.keys():
        return False
    if len(broker.logs[LEDGER, 0].records) < len(world.panes):
        return False
    first = first_released(broker)
    if first.keys() < world.panes.keys():
        return False
    published = _published(broker)
    return all(item.value in published for record in first.values() for item in publications(record))


def how_far(broker: Broker, draws: int) -> str:
    """What has become of the newest draw."""
    ledger = [record for record in _ledger(broker) if record.kind == "release"]
    if draws > len(ledger):
        return "drawn"
    published = _published(broker)
    said = [item.value in published for item in publications(ledger[-1])] if ledger else []
    return "all published" if all(said) else "partly published" if any(said) else "in the ledger"


def first_released(broker: Broker) -> dict[Measured, LedgerRecord]:
    """The ledger by its rule, read plainly: the first record of a pane is its release."""
    first: dict[Measured, LedgerRecord] = {}
    for record in _ledger(broker):
        first.setdefault((record.epoch, record.measure, record.number), record)
    return first


def misaccounted(broker: Broker, ledger: Ledger) -> Iterator[str]:
    """How the account of who has read the ledger so far differs from that of all that was ever written, cut or not."""
    over, closed, cost = accounted(_ledger(broker)[: ledger._next])
    account = ledger.account
    epochs = {epoch for epoch, _ in closed}
    if wrong := sorted(epoch for epoch in epochs if account.over(epoch) != (epoch < over)):
        yield f"epochs {wrong} are over in one account and not in the other"
    for (epoch, measure), number in closed.items():
        if epoch >= over and account.closed_through(epoch, measure) != number:
            yield f"{measure} of {epoch} is closed through {number}, not {account.closed_through(epoch, measure)}"
    for epoch in sorted(epochs):
        if epoch >= over and account.spent(epoch) != sum(cost[epoch].values()):
            yield f"epoch {epoch} has cost {sum(cost[epoch].values())}, not {account.spent(epoch)}"


def accounted(records: Sequence[LedgerRecord]) -> tuple[int, dict[tuple[int, str], int], dict[int, dict[str, float]]]:
    """By the ledger's rule, read plainly: the newest epoch drawn, before which all are over; what is closed; costs."""
    over = 0
    closed: dict[tuple[int, str], int] = {}
    cost: dict[int, dict[str, float]] = {}
    for record in records:
        key = (record.epoch, record.measure)
        if record.epoch >= over and record.number > closed.get(key, 0):
            closed[key] = record.number
            costs = cost.setdefault(record.epoch, {})
            costs[record.measure] = max(record.rho, costs.get(record.measure, 0.0))
            over = record.epoch
    return over, closed, cost


def _ledger(broker: Broker) -> list[LedgerRecord]:
    return [msgspec.msgpack.decode(value, type=LedgerRecord) for value in broker.logs[LEDGER, 0].values]


def _published(broker: Broker) -> Counter[bytes]:
    return Counter(value for topic in RELEASED for value in broker.logs[topic, 0].values)


def _first_sent(broker: Broker) -> dict[tuple[int, int, int], Pane]:
    """By (epoch, partition, number) the first pane of the log."""
    firsts: dict[tuple[int, int, int], Pane] = {}
    for pane in sent(broker):
        firsts.setdefault((pane.epoch, pane.partition, pane.number), pane)
    return firsts


def sent(broker: Broker) -> list[Pane]:
    """All panes of the log, repeats too."""
    return [msgspec.msgpack.decode(value, type=Pane) for value in broker.logs[PANES, 0].values]


def shut(broker: Broker) -> set[Measured]:
    """What a partition couldn't count, since its state had been lost."""
    return {(pane.epoch, name, pane.number) for pane in _first_sent(broker).values() for name in pane.shut}


def _panes(broker: Broker, world: World, may_miss: bool) -> Iterator[str]:
    firsts = _first_sent(broker)
    for pane in sent(broker):
        first = firsts[pane.epoch, pane.partition, pane.number]
        if pane != first and not (pane.resumed or first.resumed):
            yield f"pane {pane.number} of partition {pane.partition} was sent twice and differs"
    void = shut(broker)
    senders = Counter((epoch, number) for epoch, _, number in firsts)
    panes = {key: +counts for key, counts in summed(firsts.values()).items() if senders[key[0], key[2]] == PARTITIONS}
    wanted = {key: counts for key, counts in world.panes.items() if key not in void}
    panes = {key: counts for key, counts in panes.items() if key not in void}
    if more := panes.keys() - wanted.keys():
        yield f"{len(more)} panes too many"
    if (missing := wanted.keys() - panes.keys()) and not may_miss:
        yield f"{len(missing)} panes are missing"
    if differ := sorted(k for k in panes.keys() & wanted.keys() if panes[k] != wanted[k]):
        yield f"{len(differ)} panes are not the oracle's, the first is {differ[0]}"


def _releases(broker: Broker, first: Mapping[Measured, LedgerRecord], world: World, may_miss: bool) -> Iterator[str]:
    if (missing := sorted(world.panes.keys() - first.keys())) and not may_miss:
        yield f"{len(missing)} panes are not released, the first is {missing[0]}"
    void = shut(broker)
    for key, record in first.items():
        if (record.kind, record.reason) != (("void", "shut") if key in void else ("release", "")):
            said = "some partition" if key in void else "no partition"
            yield f"{key} is a {record.kind} {record.reason}, but {said} had it shut"
        elif record.kind == "release" and not _is_noised(record, world.panes.get(key, Counter())):
            yield f"release {key} is not the pane with noise"


def _is_noised(record: LedgerRecord, counts: Counter) -> bool:
    noisy = np.frombuffer(record.noisy, "<i8")
    exact = np.zeros(len(noisy), np.int64)
    for at, number in counts.items():
        exact[at] = number
    return len(set((noisy - exact).tolist())) == 1


def _publications(broker: Broker, first: Mapping[Measured, LedgerRecord]) -> Iterator[str]:
    said = {item.value for record in first.values() for item in publications(record)}
    published = _published(broker)
    if unsaid := published.keys() - said:
        yield f"{len(unsaid)} published records are not what the ledger says first"
    if unpublished := said - published.keys():
        yield f"{len(unpublished)} records of the ledger were not published"


def _draws(broker: Broker, read_by: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """Nobody draws what the ledger had closed before they began."""
    closed: dict[Measured, int] = {}
    for at, record in enumerate(_ledger(broker)):
        key = (record.epoch, record.measure, record.number)
        read = max(length for length in read_by[record.writer] if length <= at)
        if closed.setdefault(key, at) < read:
            yield f"{key} was drawn again by one who began when it was released"


def _covered(broker: Broker, first: Mapping[Measured, LedgerRecord], world: World) -> Iterator[str]:
    """Panes lack what the sections that their partition took say, and at least what was lost; releases tell of it."""
    epochs = {epoch.epoch: epoch for epoch in world.epochs}
    said = {number: _told(broker, number) for number in range(PARTITIONS)}
    missing: dict[Measured, Fraction] = {}
    for pane in _first_sent(broker).values():
        epoch = msgspec.to_builtins(epochs[pane.epoch])
        for measure in (each for each in epoch["measures"] if each["name"] in pane.counts):
            begins = max(pane.end_ms - measure["pane_ms"], epoch["opens_ms"])
            sources = lacking(said[pane.partition], epoch, measure, pane.end_ms)
            times = {source for (source, _), found in world.lost.items() for ms in found if begins <= ms < pane.end_ms}
            # A resumed state doesn't know what was lost before the log's beginning, and is shut as far as that goes.
            if not pane.resumed and pane.lacking.get(measure["name"], 0) != len(sources):
                yield f"pane {pane.number} of partition {pane.partition} lacks {pane.lacking}, not {sources}"
            if len(times) > pane.lacking.get(measure["name"], 0):
                yield f"pane {pane.number} of partition {pane.partition} lacks more than it says"
            key = (pane.epoch, measure["name"], pane.number)
            missing[key] = missing.get(key, Fraction()) + Fraction(pane.lacking.get(key[1], 0), SOURCES)
    for key, record in first.items():
        items = [orjson.loads(item.value) for item in publications(record)]
        told = {item["covered"] for item in items if item["measure"] == key[1]}
        share = float(1 - missing.get(key, Fraction()) / PARTITIONS)
        if record.kind == "release" and told != {share}:
            yield f"release {key} says that it covers {told}, not {share}"


def _told(broker: Broker, partition: int) -> dict[int, list[tuple[bool, int]]]:
    """What the raw sources' sections say that the partition took, by the chain's rule, read plainly."""
    following: dict[int, int] = {}
    told: dict[int, list[tuple[bool, int]]] = {}
    for value in broker.logs[SIGHTINGS, partition].values:
        frame = decode_frame(value)
        for section in [] if isinstance(frame, Control) else frame:
            at = following.get(section.source, 0)
            if section.source < SOURCES and section.from_ <= at < section.to:
                following[section.source] = section.to
                told.setdefault(section.source, []).append((bool(section.flags & LOST), section.watermark_ms))
    return told


def _rejects(broker: Broker, world: World) -> Iterator[str]:
    found = _refused(broker)
    if found != world.rejects:
        yield f"rejects: {len(world.rejects.keys() - found.keys())} missing, {len(found)} of {len(world.rejects)}"


def _refused(broker: Broker) -> dict[Position, str]:
    found: dict[Position, str] = {}
    for _, key, _, headers in broker.logs[REJECTS, 0].records:
        source, offset, index = map(int, (key or b"").split(b"-"))
        found[source, offset, index] = (dict(headers)["reason"] or b"").decode()
    return found
