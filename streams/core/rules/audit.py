"""The audit log's chain: which entries count, and whether the log is the one that was written.

In: the records of the topic `audit`, in its order. Out: for each whether it counts. Kept: the entries that count, and
the hash of the log after each record. A pure function of the log, so that all who read it agree.

    previous = the log's hash      -> it counts; the log's hash is the entry's
    previous = an earlier hash     -> two decided at once and this one came second: void; the log's hash takes it up
    no entry of any release        -> `Foreign`: it is passed over once an entry that counts follows it. Until then
                                      it may be what is left of the last entry
    anything else                  -> `Broken`: changed, deleted or reordered, and nothing may rest on the log any more

So a record's place is fixed by the next one. What is missing at the end only a hash kept elsewhere can tell: every
command prints it, workers log it, and each epoch's record holds it.
"""

import hashlib
from contextlib import suppress

import msgspec

from schemas.audit import GENESIS, NAMED, Entry
from schemas.named import UNREADABLE, names
from schemas.policy import Rulebook
from streams.core.clocks import APART_MS
from streams.core.times import milliseconds, rfc3339

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Broken(ValueError):  # noqa: N818 - reads as what it is
    """The log is not what was written. `number`: the first record that shows it, counted from 0."""

    def __init__(self, number: int, sentence: str) -> None:
        super().__init__(f"record {number} of the audit log {sentence}")
        self.number = number


class Foreign(Broken):
    """The record is no entry of any release."""


class Taken(msgspec.Struct, frozen=True):
    """An entry that counts, and its record's time in ms since the Unix epoch."""

    entry: Entry
    time_ms: int

    @property
    def when(self) -> str:
        """Its time; where whoever wrote it went by a clock that said another one, by Kafka's, and that one too."""
        at = self.entry.at
        with suppress(ValueError):
            if abs(milliseconds(at) - self.time_ms) <= APART_MS:
                return at
        return f"{rfc3339(self.time_ms)} (by the writer's clock {at})"


def canonical(entry: Entry) -> bytes:
    """The one form in which an entry is written."""
    return msgspec.json.encode(entry, order="sorted")


def to_sign(entry: Entry) -> bytes:
    """What a signature of the entry is of; its place in the log is a part of it."""
    return canonical(msgspec.structs.replace(entry, hash="", signature=msgspec.UNSET))


def sealed(entry: Entry) -> Entry:
    """The entry with its hash."""
    bare = msgspec.structs.replace(entry, hash="")
    return msgspec.structs.replace(entry, hash=hashlib.sha256(canonical(bare)).hexdigest())


class Chain:
    """The log as read so far. `void`: how many records came second to another; `foreign`: were passed over."""

    def __init__(self) -> None:
        self.taken: list[Taken] = []
        self.void = self.foreign = 0
        # Hash of the log after each record, and how many entries counted by then.
        self._counted: dict[str, int] = {GENESIS: 0}
        self.head = GENESIS

    @property
    def records(self) -> int:
        """How many records were read."""
        return len(self.taken) + self.void + self.foreign

    @property
    def rules(self) -> Rulebook | None:
        """The rules after the last entry; None if there is none."""
        return self.taken[-1].entry.rules if self.taken else None

    def knows(self, head: str) -> bool:
        """Was that the log's hash, now or once?"""
        return head in self._counted

    def since(self, head: str) -> tuple[Rulebook, list[Taken]]:
        """The rules when the log's hash was `head`, and the entries since; an empty one stands for the first entry.

        Raises:
            LookupError: it never was, or nothing was in force then.
        """
        if not self.taken:
            raise LookupError("the audit log is empty")
        if head and not self.knows(head):
            raise LookupError(f"the audit log never had the hash {head}")
        number = max(1, self._counted[head] if head else 1)
        return self.taken[number - 1].entry.rules, self.taken[number:]

    def take(self, value: bytes | None, time_ms: int = 0, offset: int | None = None) -> bool:
        """Take the next record; whether it counts. `offset`: its place in the topic, where that is known.

        Raises:
            Foreign: it is no entry. Broken: it is not what was written there. In both cases nothing has changed.
        """
        if offset not in (None, self.records):
            raise Broken(self.records, "is missing")
        entry = self._read(value)
        if entry.previous == self.head:
            self.taken.append(Taken(entry, time_ms))
            self.head = entry.hash
        elif self.knows(entry.previous):
            self.void += 1
            self.head = hashlib.sha256(f"{self.head}{entry.hash}".encode()).hexdigest()
        else:
            raise Broken(self.records, "does not follow on the one before: something was changed, deleted or moved")
        counts = self.head == entry.hash
        self._counted[self.head] = len(self.taken)
        return counts

    def pass_over(self) -> None:
        """Go on behind a record that is no entry."""
        self.foreign += 1

    def _read(self, value: bytes | None) -> Entry:
        try:
            entry = msgspec.json.decode(value or b"", type=Entry)
        except UNREADABLE as error:
            known = names(value or b"", _FIELDS) & NAMED
            raise (Broken if known else Foreign)(self.records, "can't be read") from error
        if canonical(entry) != value or sealed(entry) != entry:
            raise Broken(self.records, "is not what its hash says")
        return entry
