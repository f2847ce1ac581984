"""The raw contract: what a record of the `attach` topic holds. One JSON object, or an array of them.

All kinds of network events travel on this topic. Unknown fields are allowed and ignored; `null` for an optional field
is the same as leaving it out. A beat carries no event: it tells, by its record's time, how far its source is.

Cells are named by fixed-width hexadecimal text, as 3GPP TS 29.571 (5.4.4) writes cell identities and TS 23.003 puts
them together: CGI `MCC-MNC-LLLL-CCCC`, ECGI `MCC-MNC-EEEEEEE`, NCGI `MCC-MNC-NNNNNNNNN`; MCC and MNC in decimal
digits.
"""

import re
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

KINDS: Final = ("update", "attach", "handover", "service", "detach")
UPDATE: Final = 0
ATTACH: Final = 1
HANDOVER: Final = 2
SERVICE: Final = 3
DETACH: Final = 4
# An event may be so much ahead of its record; one that is more is a clock error.
AHEAD_MS: Final = 60_000
RATS: Final = ("unknown", "gsm", "umts", "lte", "nr")

EARLIEST_MS: Final = 946_684_800_000  # 2000-01-01
LATEST_MS: Final = 4_102_444_800_000  # 2100-01-01

IMSI_PATTERN: Final = r"^(001|[2-7][0-9]{2})[0-9]{11,12}$"
CELL_PATTERN: Final = r"^[0-9]{3}-[0-9]{2,3}-([0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}|[0-9A-Fa-f]{7}|[0-9A-Fa-f]{9})$"
MSISDN_PATTERN: Final = r"^\+?[0-9]{5,15}$"
TAC_PATTERN: Final = r"^[0-9]{8}$"

LONG_IMSI: Final = 1 << 60
CELL_MARK: Final = 1 << 62

_IMSI = re.compile(IMSI_PATTERN, re.ASCII)
_CELL = re.compile(CELL_PATTERN, re.ASCII)


class AttachEvent(msgspec.Struct, frozen=True):
    """One network event of one subscriber (E.212 IMSI; times in ms since the Unix epoch, or RFC 3339)."""

    event_id: Annotated[str, Meta(min_length=1, max_length=64)]
    imsi: Annotated[str, Meta(pattern=IMSI_PATTERN)]
    ts: int | str
    cell: Annotated[str, Meta(pattern=CELL_PATTERN)]
    kind: Literal["update", "attach", "handover", "service", "detach"] | None = None
    msisdn: Annotated[str, Meta(pattern=MSISDN_PATTERN)] | None = None
    tac: Annotated[str, Meta(pattern=TAC_PATTERN)] | None = None
    rat: Literal["gsm", "umts", "lte", "nr", "GSM", "UMTS", "LTE", "NR"] | None = None


class Beat(msgspec.Struct, frozen=True):
    """A sign of life of a source."""

    kind: Literal["beat"]
    source: str
    ts: int | str


def pack_imsi(text: str) -> int:
    """An IMSI as u64: its decimal value, and bit 60 set if it has 15 digits (else 14).

    Raises:
        ValueError: it isn't one. The message does not repeat it.
    """
    if not _IMSI.fullmatch(text):
        raise ValueError("imsi: expected 14 or 15 digits with the MCC 001 or 200 to 799")
    return int(text) | (LONG_IMSI if len(text) == 15 else 0)


def unpack_imsi(packed: int) -> str:
    """The reverse of `pack_imsi`."""
    return f"{packed & (LONG_IMSI - 1):0{15 if packed & LONG_IMSI else 14}d}"


def pack_cell(text: str) -> int:
    """A cell as u64, never 0: 1 << 62 | type << 58 | MCC << 48 | 3-digit MNC << 47 | MNC << 37 | identity.

    The type is 0 for CGI (identity LAC << 16 | CI), 1 for ECGI (28 bits), 2 for NCGI (36 bits).

    Raises:
        ValueError: it isn't one.
    """
    if not _CELL.fullmatch(text):
        raise ValueError(f"cell {text!r}: expected MCC-MNC-LLLL-CCCC, MCC-MNC-EEEEEEE or MCC-MNC-NNNNNNNNN")
    mcc, mnc, *identity = text.split("-")
    digits = "".join(identity)
    kind = {8: 0, 7: 1, 9: 2}[len(digits)]
    long_mnc = len(mnc) == 3
    return CELL_MARK | kind << 58 | int(mcc) << 48 | long_mnc << 47 | int(mnc) << 37 | int(digits, 16)
