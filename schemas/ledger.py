"""The `ledger` topic: every draw of noise. The first record of (epoch, measure, number) is the release. Internal."""

from typing import Final, Literal

import msgspec

BROUGHT: Final = -1
# Every release's records have these names: by them a record is told from what throng didn't write.
NAMED: Final = frozenset({"epoch", "measure", "number"})


class Publication(msgspec.Struct, frozen=True, array_like=True):
    """One record to publish, byte for byte."""

    topic: str
    key: bytes
    value: bytes


class Beginning(msgspec.Struct, frozen=True, array_like=True):
    """From where on the ledger says all of what is not over.

    Attributes:
        offset: of the record there. over: epochs before this one are over; nothing of them is drawn any more.
        epoch, measure, number, writer: the record's own, so that it is known again.
    """

    offset: int
    over: int
    epoch: int
    measure: str
    number: int
    writer: str


class LedgerRecord(msgspec.Struct, frozen=True):
    """One drawn pane of a measure, or a `void` in place of one that can't be.

    Attributes:
        number: base pane at whose end the measure's pane ends; nothing of the measure at or below it is drawn again.
        noisy: little-endian i64, one for each public key. sigma: scale of the noise in it.
        state: what the estimates of the next pane build on (`core.release.State`).
        publish: zstd of msgpack of the publications.
        panes_offset: of the `panes` topic; below it every pane is wholly in the ledger already. BROUGHT: a replay has
            brought the record from another deployment, whose offsets say nothing here, and nothing is published yet.
        rho, delta: the measure's cost in this epoch, charged once; delta only if its keys come from data.
        keys: of `noisy`, little-endian u32, where they come from data; else empty: all of them, in order.
        writer: a random id of the process that drew it.
        reason: of a void; lost: retention took the pane before every partition's part of it was read; shut: a
            partition's state was lost, so it can't count the measure for now; policy: the rules forbid to tell it.
        begins: where whoever reads the ledger had to begin when this was written; None: at its start.
    """

    epoch: int
    measure: str
    number: int
    start_ms: int
    end_ms: int
    kind: Literal["release", "void"]
    noisy: bytes
    sigma: float
    state: bytes
    publish: bytes
    panes_offset: int
    rho: float
    writer: str
    reason: Literal["", "lost", "shut", "policy"] = ""
    keys: bytes = b""
    delta: float = 0.0
    begins: Beginning | None = None
