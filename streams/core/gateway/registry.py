"""The registry as the gateway asks it: 16 to 24 bytes a subscriber in a hash table.

In: records of the `registry` topic, in the order of the log, a batch at a time. Out: for packed IMSIs one number
each, whose bits say everything that the gateway decides by. A record that can't be read counts as no record, of
whomever its key names, or else its value: no record, no use. Beats (by their key) say nothing of anybody.

    bits 0-7   year of birth - 1900 + 1, 0 unknown
    bits 8-9   gender, as in schemas.cohorts
    bit  10    opted out
    bits 11-   two for each purpose of schemas.registry: 1 granted, 2 refused (denied, revoked, expired, objected)
    bit  30    a machine
    bit  31    there is a record
"""

from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.attach import pack_imsi
from schemas.cohorts import GENDERS
from schemas.named import UNREADABLE
from schemas.registry import BEAT_KEY, PURPOSES, Subscriber
from streams.core.compiled.lookup import Lookup

FIRST_YEAR = 1900
GENDER_SHIFT = 8
OPTED_OUT = 1 << 10
CONSENT_SHIFT = 11
GRANTED, REFUSED = 1, 2
MACHINE = 1 << 30
RECORD = 1 << 31
STATES = {"granted": GRANTED, "denied": REFUSED, "revoked": REFUSED, "expired": REFUSED, "objected": REFUSED}

_DECODER = msgspec.json.Decoder(Subscriber)


def pack(subscriber: Subscriber) -> int:
    """The bits of a record."""
    born = subscriber.birth_year
    bits = born - FIRST_YEAR + 1 if born is not None and known_year(born) else 0
    bits |= GENDERS.index(subscriber.gender or "unknown") << GENDER_SHIFT
    bits |= OPTED_OUT if subscriber.opted_out else 0
    bits |= MACHINE if subscriber.machine else 0
    for number, purpose in enumerate(PURPOSES):
        bits |= STATES.get(subscriber.consent.get(purpose, ""), 0) << (CONSENT_SHIFT + 2 * number)
    return bits | RECORD


def known_year(born: int | None) -> bool:
    """Is it a year of birth that is gone by? Any other counts as unknown."""
    return born is not None and FIRST_YEAR <= born < FIRST_YEAR + 255


def read(key: bytes | None, value: bytes | None) -> tuple[int | None, int | None]:
    """(packed IMSI, bits) of a record, 0 for one that erases; None in place of what can't be read.

    Under a key that is no IMSI (in quotes, say) there may stand an opt-out, so it isn't passed over.
    """
    try:
        imsi = pack_imsi((key or b"").decode("ascii"))
    except ValueError:
        return _named(value), None
    if value is None:
        return imsi, 0
    try:
        subscriber = _DECODER.decode(value)
    except UNREADABLE:
        return imsi, None
    return imsi, pack(subscriber) if subscriber.imsi.encode() == key else None


def _named(value: bytes | None) -> int | None:
    try:
        return pack_imsi(_DECODER.decode(value or b"").imsi)
    except (*UNREADABLE, ValueError):
        return None


class RegistryTable:
    """All subscribers' bits; 0 for one without a record."""

    def __init__(self, room: int = 0) -> None:
        self._table = Lookup(0, room)
        self.unreadable = 0

    @property
    def lines(self) -> NDArray[np.uint64]:
        """For compiled loops, as `Lookup` has it: an IMSI's bits, until the next `take`."""
        return self._table.lines

    @property
    def subscribers(self) -> int:
        """How many are or were there."""
        return self._table.used

    def take(self, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Take (key, value) records in the order of the log."""
        keys: list[int] = []
        values: list[int] = []
        for key, value in records:
            if key == BEAT_KEY:
                continue
            imsi, bits = read(key, value)
            self.unreadable += imsi is None or bits is None
            if imsi is not None:
                keys.append(imsi)
                values.append(bits or 0)
        self._table.put(np.array(keys, np.uint64), np.array(values, np.uint32))

    def get(self, imsis: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """The bits of packed IMSIs."""
        return self._table.get(imsis)
