"""A ledger that is read from where its last record says, against one that is read whole: both say the same.

Writers draw epoch after epoch; some are paused, and append long afterwards what they would have drawn, with the
beginning that they knew. A replay may have brought records along, at first or in between.
"""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.ledger import BROUGHT, LedgerRecord
from streams.core.release.ledger import KEPT, Account

MEASURES = ("present", "arrivals", "trips")
LAST = 4


def entry(epoch: int, measure: str, number: int, writer: str, panes_offset: int) -> LedgerRecord:
    rho = 0.0 if number == 2 else 0.01 * (1 + MEASURES.index(measure))
    kind = "release" if rho else "void"
    return LedgerRecord(epoch, measure, number, 0, 0, kind, b"", 1.0, b"", b"", panes_offset, rho, writer)


class Writer:
    """One process: an account, and how far it has read."""

    def __init__(self, name: str, log: list[LedgerRecord]) -> None:
        self.name = name
        self._log = log
        self.read_to = 0
        self.account = Account()

    def read(self) -> None:
        for offset in range(self.read_to, len(self._log)):
            self.account.take(self._log[offset], offset)
        self.read_to = len(self._log)

    def append(self, epochs: int) -> None:
        """Draw the first pane that isn't closed, in the order of time, as a release does."""
        for epoch in range(1, epochs + 1):
            for number in range(1, LAST + 1):
                for measure in MEASURES if number % 2 == 0 else MEASURES[:1]:
                    if self.account.closed_through(epoch, measure) < number:
                        record = entry(epoch, measure, number, self.name, len(self._log))
                        self._log.append(replace(record, begins=self.account.begins()))
                        return


def resumed(log: list[LedgerRecord], word: LedgerRecord) -> Account:
    """As a start does it, by the word of a record."""
    begins = word.begins
    account = Account(begins.over if begins else 0)
    first = begins.offset if begins else 0
    if begins:
        there = log[first]
        named = (begins.epoch, begins.measure, begins.number, begins.writer)
        assert (there.epoch, there.measure, there.number, there.writer) == named
    for offset in range(first, len(log)):
        account.take(log[offset], offset)
    return account


def said(account: Account) -> object:
    spent = [(epoch, account.spent(epoch), account.begun(epoch), account.over(epoch)) for epoch in range(12)]
    closed = [account.closed_through(epoch, measure) for epoch in range(12) for measure in MEASURES]
    return spent, closed, account.last, account.brought, account.begins(), account.needed_offset()


def played(seed: int, epochs: int, brought: int) -> list[LedgerRecord]:
    rng = random.Random(seed)
    log: list[LedgerRecord] = []
    writers = [Writer(name, log) for name in "abc"]
    coming = [entry(epoch, "present", number, "x", BROUGHT) for epoch in range(1, brought + 1) for number in (1, 2)]
    while len(log) < 400:
        writer = rng.choice(writers)
        if rng.random() < (0.9 if writer.name == "a" else 0.15):
            writer.read()
        if coming and rng.random() < 0.5:
            log.append(coming.pop(0))
        writer.append(epochs)
        if writers[0].account.closed_through(epochs, MEASURES[-1]) >= LAST:
            break
    return log


@settings(max_examples=60)
@given(st.integers(0, 1 << 30), st.integers(1, 9), st.integers(0, 4))
def test_any_records_word_leads_to_what_the_whole_ledger_says(seed: int, epochs: int, brought: int) -> None:
    log = played(seed, epochs, brought)
    whole = Account()
    for offset, record in enumerate(log):
        whole.take(record, offset)
    wanted = said(whole)
    for word in log:
        assert said(resumed(log, word)) == wanted


@given(st.integers(0, 1 << 30), st.integers(KEPT + 1, 9))
def test_nothing_of_an_epoch_that_is_over_is_ever_drawn_again(seed: int, epochs: int) -> None:
    log = played(seed, epochs, 0)
    account = resumed(log, log[-1])
    begins = account.begins()
    assert begins is not None and begins.offset > 0
    for epoch in range(begins.over):
        assert account.closed_through(epoch, "a measure that nobody has drawn") > 10**9
        assert not account.take(entry(epoch, "present", LAST + 1, "z", 0), len(log))


@given(st.integers(0, 1 << 30), st.integers(1, 9))
def test_no_more_is_read_than_the_epochs_that_are_kept(seed: int, epochs: int) -> None:
    """From where the newest word says: records of two epochs, and what paused writers have appended since."""
    log = played(seed, epochs, 0)
    account = Account()
    for offset, record in enumerate(log):
        account.take(record, offset)
    begins = account.begins()
    first = begins.offset if begins else 0
    kept = {record.epoch for record in log[first:] if account.begun(record.epoch) and not account.over(record.epoch)}
    assert len(kept) <= KEPT
