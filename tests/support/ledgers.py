"""Ledger records of people present, as a release would have written them: weeks of quarters of an hour."""

from collections.abc import Iterable

import msgspec
import zstandard

from schemas.ledger import LedgerRecord, Publication
from schemas.released import Footfall
from schemas.topics import FOOTFALL


def present(number: int, end_ms: int, said: Iterable[Footfall], panes_offset: int = 0) -> LedgerRecord:
    """The record of a pane with these publications."""
    items = [Publication(FOOTFALL, each.zone.encode(), msgspec.json.encode(each)) for each in said]
    return LedgerRecord(
        epoch=20260302,
        measure="present",
        number=number,
        start_ms=end_ms - 300_000,
        end_ms=end_ms,
        kind="release",
        noisy=b"",
        sigma=79.0,
        state=b"",
        publish=zstandard.compress(msgspec.msgpack.encode(items)),
        panes_offset=panes_offset,
        rho=0.01,
        writer="one",
    )
