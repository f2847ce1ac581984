"""Sums over partitions: which panes are whole, which wait for others, which are lost."""

import hashlib
import random

import msgspec
import numpy as np
import pytest

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.measures import DEFAULT_MEASURES, Measure
from schemas.panes import Counts, Pane, from_dense, sealed
from streams.core.release.ledger import Account
from streams.core.release.sums import REMEMBERED, PaneDiffers, Sums, Whole
from streams.recording.panes import PaneTable
from tests.support.world import epochs_at

START = 1_772_420_400_000
DAY = 86_400_000
EPOCH, NEXT_EPOCH = (
    msgspec.structs.replace(epoch, partitions=3, measures=epoch.measures[:1]) for epoch in epochs_at(START, START + DAY)
)


def pane(partition: int, number: int, counts: dict[str, Counts] | None = None, epoch: Epoch = EPOCH) -> Pane:
    end = epoch.start_ms + number * epoch.pane_ms
    counts = counts if counts is not None else {"present": from_dense(np.array([number, 0, 0, partition, 0, 0]))}
    return sealed(Pane(epoch.epoch, partition, 3, number, end - epoch.pane_ms, end, 1, counts, 0))


def lacking(whole: Pane, sources: int, of: int) -> Pane:
    """The pane of a partition that had nothing of some records of so many sources."""
    return sealed(msgspec.structs.replace(whole, lacking={"present": sources}, sources=of))


def test_a_pane_is_whole_once_every_partition_has_sent_it() -> None:
    sums = Sums()
    for offset, (partition, number) in enumerate([(0, 1), (1, 1), (0, 2), (1, 2), (2, 1)]):
        assert sums.add(pane(partition, number), offset, EPOCH)
    whole = sums.first_whole()
    assert whole is not None
    assert (whole.number, whole.counts["present"].tolist()) == (1, [3, 0, 0, 3, 0, 0])
    assert sums.needed_offset == 0
    sums.drop(whole)
    assert sums.first_whole() is None
    assert sums.needed_offset == 2
    sums.add(pane(2, 2), 5, EPOCH)
    whole = sums.first_whole()
    assert whole is not None
    assert whole.number == 2
    sums.drop(whole)
    assert sums.needed_offset == 6


def test_a_pane_that_waits_to_be_released_is_still_needed() -> None:
    sums = Sums()
    for offset in range(6):
        sums.add(pane(offset % 3, 1 + offset // 3), offset, EPOCH)
    first = sums.first_whole()
    assert first is not None
    sums.drop(first)
    assert sums.needed_offset == 3


def test_a_repeat_counts_once() -> None:
    sums = Sums()
    sums.add(pane(0, 1), 0, EPOCH)
    assert not sums.add(pane(0, 1), 1, EPOCH)
    sums.add(pane(1, 1), 2, EPOCH)
    sums.add(pane(2, 1), 3, EPOCH)
    whole = sums.first_whole()
    assert whole is not None
    assert whole.counts["present"][0] == 3
    sums.drop(whole)
    assert not sums.add(pane(0, 1), 4, EPOCH)


def test_a_repeat_that_differs_halts() -> None:
    sums = Sums()
    sums.add(pane(0, 1), 0, EPOCH)
    with pytest.raises(PaneDiffers, match="the repeat at offset 1 differs"):
        sums.add(pane(0, 1, {}), 1, EPOCH)


def test_a_measure_that_any_partition_cannot_count_is_shut() -> None:
    sums = Sums()
    for partition in (0, 2):
        sums.add(pane(partition, 1), partition, EPOCH)
    sums.add(resumed(pane(1, 1)), 5, EPOCH)
    whole = sums.first_whole()
    assert whole is not None
    assert whole.shut == {"present"}


def test_a_runs_table_leaves_out_what_was_shut() -> None:
    table = PaneTable([EPOCH])
    table.add([pane(0, 1), resumed(pane(1, 1)), pane(2, 1), *(pane(partition, 2) for partition in range(3))])
    assert table.panes == 2
    assert [end_ms for _, end_ms, _ in table.counts] == [EPOCH.start_ms + 2 * EPOCH.pane_ms]


def test_a_runs_table_begins_where_its_topic_does() -> None:
    table = PaneTable([EPOCH])
    table.add(pane(partition, 7) for partition in range(3))
    assert table.panes == 1


def test_a_pane_covers_the_mean_of_what_its_partitions_have() -> None:
    """Of 3 partitions one lacks 1 source of 4, one can't count at all, and one has everything."""
    sums = Sums()
    sums.add(lacking(pane(0, 1), 1, 4), 0, EPOCH)
    sums.add(resumed(pane(1, 1)), 1, EPOCH)
    sums.add(pane(2, 1), 2, EPOCH)
    whole = sums.first_whole()
    assert whole is not None
    assert whole.covered == {"present": 0.583333}
    sums.drop(whole)
    for partition in range(3):
        sums.add(pane(partition, 2), 3 + partition, EPOCH)
    whole = sums.first_whole()
    assert whole is not None and whole.covered == {}


def test_what_lacks_the_least_is_not_rounded_to_all() -> None:
    sums = Sums()
    for partition in range(3):
        sums.add(lacking(pane(partition, 1), 1, 3_000_000) if partition else pane(0, 1), partition, EPOCH)
    whole = sums.first_whole()
    assert whole is not None and whole.covered == {"present": 0.999999}


def test_a_repeat_that_lacks_something_else_halts() -> None:
    sums = Sums()
    sums.add(pane(0, 1), 0, EPOCH)
    with pytest.raises(PaneDiffers):
        sums.add(lacking(pane(0, 1), 1, 4), 1, EPOCH)


def test_a_pane_that_lacks_nothing_has_the_digest_of_one_from_before_any_could_say_so() -> None:
    old = msgspec.to_builtins(pane(0, 1), builtin_types=(bytes,))
    del old["lacking"], old["sources"]
    read = msgspec.convert(old, Pane)
    assert (read.lacking, read.sources, sealed(read).digest) == ({}, 0, read.digest)
    del old["shut"], old["resumed"]
    bare = msgspec.msgpack.encode({**old, "digest": b""}, order="sorted")
    assert hashlib.blake2b(bare, digest_size=16).digest() == read.digest


@pytest.mark.parametrize("whole_first", [True, False])
def test_a_repeat_of_a_resumed_state_may_differ_and_the_first_counts(whole_first: bool) -> None:
    """A worker that had fallen back, or a zombie, may still have the whole state."""
    sums = Sums()
    first, repeat = (pane(0, 1), resumed(pane(0, 1))) if whole_first else (resumed(pane(0, 1)), pane(0, 1))
    sums.add(first, 0, EPOCH)
    assert not sums.add(repeat, 1, EPOCH)
    for partition in (1, 2):
        sums.add(pane(partition, 1), 1 + partition, EPOCH)
    whole = sums.first_whole()
    assert whole is not None
    assert whole.shut == (set() if whole_first else {"present"})
    assert whole.counts["present"][0] == (3 if whole_first else 2)


def test_later_panes_wait_for_earlier_ones() -> None:
    sums = Sums()
    for partition in range(3):
        sums.add(pane(partition, 2), partition, EPOCH)
    sums.add(pane(0, 1), 3, EPOCH)
    assert sums.first_whole() is None


def test_panes_of_a_partition_count_without_a_hole() -> None:
    """Kafka lost partition 0's pane 1 and took its pane 2; the other partitions are further on."""
    sums = Sums()
    log = [pane(0, 2), *(pane(partition, number) for number in (1, 2) for partition in (1, 2))]
    for offset, sent in enumerate(log):
        assert sums.add(sent, offset, EPOCH)
    assert sums.first_whole() is None
    assert sums.needed_offset == 0  # the one that is held
    assert sums.add(pane(0, 1), 5, EPOCH)
    assert not sums.add(pane(0, 2), 6, EPOCH)
    assert [numbered(whole) for whole in taken(sums)] == [(EPOCH.epoch, 1), (EPOCH.epoch, 2)]


def test_a_held_pane_is_compared_with_its_repeats() -> None:
    sums = Sums()
    sums.add(pane(0, 2), 0, EPOCH)
    with pytest.raises(PaneDiffers):
        sums.add(pane(0, 2, {}), 1, EPOCH)


def test_an_epochs_panes_wait_for_the_last_of_the_epoch_before() -> None:
    sums = Sums(account_of(EPOCH, EPOCH.last_pane - 1), [EPOCH, NEXT_EPOCH])
    for partition in range(3):
        sums.add(pane(partition, 1, epoch=NEXT_EPOCH), partition, NEXT_EPOCH)
    assert sums.first_whole() is None
    for partition in range(3):
        sums.add(pane(partition, EPOCH.last_pane), 3 + partition, EPOCH)
    assert [numbered(whole) for whole in taken(sums)] == [(EPOCH.epoch, EPOCH.last_pane), (NEXT_EPOCH.epoch, 1)]


def test_what_the_ledger_has_closed_is_not_waited_for() -> None:
    """A restart: the panes before are closed, and one of them is repeated by a crowd that fell back."""
    sums = Sums(account_of(EPOCH, 4), [EPOCH])
    assert not sums.add(pane(0, 4), 9, EPOCH)
    for partition in range(3):
        assert sums.add(pane(partition, 5), 10 + partition, EPOCH)
    assert [whole.number for whole in taken(sums)] == [5]


def test_what_another_writer_closes_is_not_waited_for() -> None:
    account = account_of(EPOCH, 4)
    sums = Sums(account, [EPOCH])
    for partition in range(3):
        sums.add(pane(partition, 6), partition, EPOCH)
    assert sums.first_whole() is None
    account.take(closing(EPOCH, 5))
    assert [whole.number for whole in taken(sums)] == [6]


def test_panes_lost_to_retention_are_told_and_the_next_go_on() -> None:
    sums = Sums(account_of(EPOCH, 4), [EPOCH])
    sums.begin_anywhere()
    log = [pane(0, 6), pane(1, 7), pane(2, 6), pane(0, 7), pane(2, 7)]
    for offset, sent in enumerate(log, 100):
        sums.add(sent, offset, EPOCH)
    assert [number for _, number in sums.lost()] == [5, 6]
    assert list(sums.lost()) == []
    assert [whole.number for whole in taken(sums)] == [7]
    assert sums.needed_offset == 105


def test_panes_lost_over_an_epochs_end_are_told() -> None:
    last = EPOCH.last_pane
    sums = Sums(account_of(EPOCH, last - 1), [NEXT_EPOCH, EPOCH])
    sums.begin_anywhere()
    for partition in range(3):
        sums.add(pane(partition, 3, epoch=NEXT_EPOCH), partition, NEXT_EPOCH)
    assert [(epoch.epoch, number) for epoch, number in sums.lost()] == [
        (EPOCH.epoch, last),
        (NEXT_EPOCH.epoch, 1),
        (NEXT_EPOCH.epoch, 2),
    ]
    assert [numbered(whole) for whole in taken(sums)] == [(NEXT_EPOCH.epoch, 3)]


def test_a_partition_that_goes_on_where_it_was_has_lost_nothing_whatever_retention_took() -> None:
    """The others' panes of the same time are still to come: none of them is given up."""
    sums = Sums(account_of(EPOCH, 4), [EPOCH])
    sums.add(pane(0, 5), 9, EPOCH)
    sums.begin_anywhere()
    log = [pane(0, 6), pane(1, 5), pane(2, 5), pane(1, 6), pane(2, 6)]
    for offset, sent in enumerate(log, 100):
        sums.add(sent, offset, EPOCH)
    assert list(sums.lost()) == []
    assert [whole.number for whole in taken(sums)] == [5, 6]


def test_where_nothing_was_ever_drawn_the_epoch_in_which_panes_begin_is_lost_alone() -> None:
    sums = Sums(epochs=[EPOCH, NEXT_EPOCH])
    sums.begin_anywhere()
    for partition in range(3):
        sums.add(pane(partition, 3, epoch=NEXT_EPOCH), partition, NEXT_EPOCH)
    assert [(epoch.epoch, number) for epoch, number in sums.lost()] == [(NEXT_EPOCH.epoch, 1), (NEXT_EPOCH.epoch, 2)]


def test_a_partition_that_is_added_at_an_epochs_begin_waits_for_no_pane_that_it_never_had() -> None:
    wider = msgspec.structs.replace(NEXT_EPOCH, partitions=4)
    sums = Sums(account_of(EPOCH, EPOCH.last_pane - 1), [EPOCH, wider])
    for partition in range(3):
        sums.add(pane(partition, EPOCH.last_pane), partition, EPOCH)
    for partition in range(4):
        sums.add(pane(partition, 1, epoch=wider), 3 + partition, wider)
    assert [numbered(whole) for whole in taken(sums)] == [(EPOCH.epoch, EPOCH.last_pane), (wider.epoch, 1)]
    ahead = Sums(account_of(EPOCH, EPOCH.last_pane - 1), [EPOCH, wider])
    ahead.add(pane(3, 1, epoch=wider), 0, wider)
    assert len(ahead._parts) == 1 and not ahead._held


def test_a_pane_that_waits_for_others_for_a_day_still_counts_once() -> None:
    """One partition is so far ahead that more panes wait than are remembered once they are dropped."""
    sums = Sums()
    log = [pane(0, number, epoch=epoch) for epoch in (EPOCH, NEXT_EPOCH) for number in range(1, EPOCH.last_pane + 1)]
    assert len(log) > REMEMBERED + 2
    for offset, sent in enumerate(log):
        sums.add(sent, offset, EPOCH if sent.epoch == EPOCH.epoch else NEXT_EPOCH)
    for partition in (1, 2):
        sums.add(pane(partition, 1), len(log) + partition, EPOCH)
    assert [whole.number for whole in taken(sums)] == [1]
    assert not sums.add(pane(0, 2), len(log) + 3, EPOCH)
    for partition in (1, 2):
        sums.add(pane(partition, 2), len(log) + 3 + partition, EPOCH)
    (second,) = taken(sums)
    assert second.counts["present"].tolist() == [6, 0, 0, 3, 0, 0]


def test_keys_from_data_are_released_last_though_they_are_fewer() -> None:
    """There may not be noise enough at hand for them, and nothing else is to wait for that."""
    home = Measure("home", "home", "zone", 3_600_000, 16, 0.1)
    cohorts = next(measure for measure in DEFAULT_MEASURES if measure.statistic == "present_cohort")
    present = DEFAULT_MEASURES[0]
    epoch = msgspec.structs.replace(EPOCH, zones=6000, parents=20, measures=(home, cohorts, present))
    assert epoch.keyed == (home,) and home.keys(6000, 20) < cohorts.keys(6000, 20)
    assert Whole(epoch, 12, 0, {}, frozenset(), {}).in_order() == [present, cohorts, home]


def test_nothing_is_lost_if_retention_took_only_what_is_closed() -> None:
    sums = Sums(account_of(EPOCH, 4), [EPOCH])
    sums.begin_anywhere()
    for offset in range(6):
        sums.add(pane(offset % 3, 5 + offset // 3), offset, EPOCH)
    assert list(sums.lost()) == []
    assert [whole.number for whole in taken(sums)] == [5, 6]


@pytest.mark.parametrize("seed", range(50))
def test_whatever_is_lost_and_sent_again_every_pane_is_whole_once_and_in_order(seed: int) -> None:
    """Each partition sends its panes; of some the first is lost and the next taken, and it goes back behind it."""
    rng = random.Random(seed)
    next_up = dict.fromkeys(range(3), 1)
    lost = dict.fromkeys(range(3), 1 << 30)
    sums, released, offset = Sums(epochs=[EPOCH]), [], 0
    for _ in range(600):
        partition = rng.randrange(3)
        number, next_up[partition] = next_up[partition], next_up[partition] + 1
        if rng.random() < 0.1:
            lost[partition] = min(lost[partition], number)
        else:
            sums.add(pane(partition, number), offset, EPOCH)
            offset += 1
        if rng.random() < 0.2:
            next_up[partition] = max(1, min(lost[partition], number - 3))
            lost[partition] = 1 << 30
        released += [whole.number for whole in taken(sums)]
    assert released == list(range(1, len(released) + 1))
    assert len(released) > 10


def resumed(whole: Pane) -> Pane:
    """The pane as of a state that was lost and resumed: it can't count a thing."""
    return sealed(msgspec.structs.replace(whole, counts={}, shut=("present",), resumed=True))


def taken(sums: Sums) -> list:
    """All that is whole, dropped as after a release."""
    found = []
    while (whole := sums.first_whole()) is not None:
        found.append(whole)
        sums.drop(whole)
    return found


def numbered(whole) -> tuple[int, int]:
    return whole.epoch.epoch, whole.number


def closing(epoch: Epoch, number: int) -> LedgerRecord:
    return LedgerRecord(epoch.epoch, "present", number, 0, number, "release", b"", 1.0, b"", b"", 0, 0.01, "me")


def account_of(epoch: Epoch, number: int) -> Account:
    account = Account()
    account.take(closing(epoch, number))
    return account
