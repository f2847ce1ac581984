"""The `registry` topic: what the operator knows and a subscriber has allowed. Compacted; the key is the IMSI.

A record without a value erases the subscriber. Consent states are the words of CAMARA's ConsentInfo API. No record,
no use: a subscriber who isn't here is never counted.
"""

from typing import Final, Literal

import msgspec

# A record with this key is a beat: it tells, by its record's time, how far its partition is, and nothing else.
BEAT_KEY: Final = b"beat"
PURPOSES: Final = ("market_research", "marketing", "traffic", "public")
ConsentState = Literal["granted", "pending", "denied", "revoked", "expired", "requested", "objected"]


class Subscriber(msgspec.Struct, frozen=True):
    """One subscriber's record. `consent` is by purpose; a purpose that isn't there has not been asked for. `machine`:
    no person carries the device that the SIM is in (a meter, an alarm), so it is not counted."""

    imsi: str
    birth_year: int | None = None
    gender: Literal["female", "male", "other"] | None = None
    consent: dict[str, ConsentState] = {}
    opted_out: bool = False
    machine: bool = False
