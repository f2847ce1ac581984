"""Looks for identifiers in bytes that leave: in text, hex, base64, raw binary and BCD, and inside compressed payloads.

In: secrets of a run and named blobs. Out: findings that name blob, form and place, never the secret. Made for needles
by the hundred thousand: text is cut into runs of digits that are looked up, binary is looked at as 64-bit words at all
alignments.
"""

import base64
import gzip
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

import cramjam
import numpy as np
import zstandard

DIGITS = re.compile(rb"\d{10,}")
HEX = re.compile(rb"[0-9a-fA-F]{16,}")
BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{11,}")
ZSTD, GZIP, LZ4 = b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\x04\x22\x4d\x18"
DEEPEST = 3
# Runs as long as names are, most of which are the same in each record: looked at once.
OFTEN = 40


class Secrets(NamedTuple):
    """What must never leave: decimal text, 64-bit numbers, 32-byte salts."""

    imsis: frozenset[str]
    msisdns: frozenset[str]
    pseudonyms: frozenset[int]
    salts: tuple[bytes, ...]

    def __repr__(self) -> str:
        return "Secrets(...)"


class Finding(NamedTuple):
    """A secret of a kind was found in a blob, in a form, at or after an offset."""

    blob: str
    kind: str
    form: str
    offset: int


class Scanner:
    """Prepared for a run's secrets."""

    def __init__(self, secrets: Secrets) -> None:
        self._text = {
            "imsi": {s.encode() for s in secrets.imsis},
            "msisdn": {s.lstrip("+").encode() for s in secrets.msisdns},
        }
        self._lengths = {kind: sorted({len(s) for s in known}) for kind, known in self._text.items()}
        self._pseudonyms = secrets.pseudonyms
        self._salts = secrets.salts
        self._clean: set[tuple[str, bytes]] = set()
        bcd = [form for imsi in secrets.imsis for form in bcd_forms(imsi)]
        packed = [int(imsi) | (1 << 60 if len(imsi) == 15 else 0) for imsi in secrets.imsis]
        self._words = {
            "pseudonym": np.sort(np.fromiter(secrets.pseudonyms, np.uint64)),
            "imsi": np.sort(np.array([*packed, *(int.from_bytes(b, "little") for b in bcd)], np.uint64)),
        }

    def scan(self, blobs: Iterable[tuple[str, bytes]]) -> list[Finding]:
        """All findings, a form of a kind once a blob."""
        found: dict[tuple[str, str, str], Finding] = {}
        for name, data in blobs:
            for kind, form, offset in self._scan(data, "", 0):
                found.setdefault((name, kind, form), Finding(name, kind, form, offset))
        return list(found.values())

    def _scan(self, data: bytes, within: str, depth: int) -> Iterator[tuple[str, str, int]]:
        yield from self._digits(data, within)
        yield from self._binary(data, within)
        if depth >= DEEPEST:
            return
        for form, runs, decoded in (("hex ", HEX, _from_hex), ("base64 ", BASE64, _from_base64)):
            for run in runs.finditer(data):
                text = run.group()
                if (form, text) in self._clean:
                    continue
                found = [(k, f) for inner in decoded(text) for k, f, _ in self._scan(inner, within + form, DEEPEST)]
                if not found and len(text) <= OFTEN:
                    self._clean.add((form, text))
                yield from ((kind, found_form, run.start()) for kind, found_form in found)
        for inner, at in _expanded(data):
            yield from ((k, f, at) for k, f, _ in self._scan(inner, within + "compressed ", depth + 1))

    def _digits(self, data: bytes, within: str) -> Iterator[tuple[str, str, int]]:
        for run in DIGITS.finditer(data):
            digits = run.group()
            for kind, known in self._text.items():
                for length in self._lengths[kind]:
                    for at in range(len(digits) - length + 1):
                        if digits[at : at + length] in known:
                            yield kind, within + "text", run.start() + at
            if len(digits) >= 15 and int(digits[-20:]) in self._pseudonyms:
                yield "pseudonym", within + "text", run.start()

    def _binary(self, data: bytes, within: str) -> Iterator[tuple[str, str, int]]:
        for salt in self._salts:
            at = data.find(salt)
            if at >= 0:
                yield "salt", within + "binary", at
        for shift in range(8):
            count = (len(data) - shift) // 8
            if count <= 0:
                return
            for order in ("<u8", ">u8"):
                words = np.frombuffer(data, order, count, shift).astype(np.uint64)
                for kind, known in self._words.items():
                    if len(known) == 0:
                        continue
                    near = np.minimum(np.searchsorted(known, words), len(known) - 1)
                    hits = np.flatnonzero(known[near] == words)
                    if len(hits):
                        yield kind, within + "binary", shift + 8 * int(hits[0])


def bcd_forms(imsi: str) -> list[bytes]:
    """The 8-byte forms of a 15-digit IMSI: TBCD (3GPP TS 29.002), mobile identity (TS 24.008, 10.5.1.4), plain BCD."""
    if len(imsi) != 15:
        return []
    swapped = imsi + "f"
    tbcd = bytes(int(swapped[n + 1] + swapped[n], 16) for n in range(0, 16, 2))
    identity = bytes([int(imsi[0]) << 4 | 9, *(int(imsi[n + 1] + imsi[n], 16) for n in range(1, 15, 2))])
    return [tbcd, identity, bytes.fromhex(imsi + "f"), bytes.fromhex("0" + imsi)]


def _from_hex(text: bytes) -> Iterator[bytes]:
    for shift in (0, 1):
        part = text[shift:]
        yield bytes.fromhex(part[: len(part) // 2 * 2].decode())


def _from_base64(text: bytes) -> Iterator[bytes]:
    text = text.replace(b"-", b"+").replace(b"_", b"/")
    for shift in range(4):
        part = text[shift:]
        yield base64.b64decode(part[: len(part) // 4 * 4] + _tail(part))


def _tail(part: bytes) -> bytes:
    """The last, incomplete group of a base64 text without its padding, padded."""
    rest = part[len(part) // 4 * 4 :]
    return rest + b"=" * (4 - len(rest)) if len(rest) > 1 else b""


def _expanded(data: bytes) -> Iterator[tuple[bytes, int]]:
    for magic in (ZSTD, GZIP, LZ4):
        at = data.find(magic)
        while at >= 0:
            # The magic may be there by chance, or the stream cut off.
            with suppress(zstandard.ZstdError, OSError, EOFError, cramjam.DecompressionError):
                yield _expand(magic, data[at:]), at
            at = data.find(magic, at + 1)


def _expand(magic: bytes, data: bytes) -> bytes:
    if magic == ZSTD:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if magic == GZIP:
        return gzip.decompress(data)
    return bytes(cramjam.lz4.decompress(data))
