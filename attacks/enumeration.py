"""Enumeration: trying every number there is. An IMSI has 10 digits to guess, so a hash of it hides nothing by itself.

Everything that leaves is cut into what could be a name: runs of digits, runs of hex digits, base64, and every 64-bit
word at every offset in both orders. Then numbers of the network are tried, in plain and through the hashes that a
careless system would have used, without a salt and with short or guessable ones. People of the town are among the
numbers tried; the rest of the 10^10 could be hit by accident only, so trying them all would find nobody more.

Inside, with the salt, the same finds everyone: the attack bites. Once the salt is gone only guessing it is left.
"""

import base64
import hashlib
import re
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from attacks.town import Day, World
from schemas.attach import LONG_IMSI
from schemas.epochs import Epoch
from schemas.ledger import Publication
from streams.core.gateway.pseudonyms import PERSON, SALT_BYTES, key_state, pseudonyms
from streams.stores.released import redis_values

DIGITS: Final = re.compile(rb"\d{10,}")
HEX: Final = re.compile(rb"[0-9a-fA-F]{16,}")
SAMPLE: Final = 2_000_000
BASE64: Final = re.compile(rb"[A-Za-z0-9+/_-]{11,}")

HASHES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "md5": lambda text: hashlib.md5(text, usedforsecurity=False).digest()[:8],
    "sha1": lambda text: hashlib.sha1(text, usedforsecurity=False).digest()[:8],
    "sha256": lambda text: hashlib.sha256(text).digest()[:8],
    "blake2b": lambda text: hashlib.blake2b(text).digest()[:8],
    "blake2b-64": lambda text: hashlib.blake2b(text, digest_size=8).digest(),
    "blake2b-64, our person": lambda text: hashlib.blake2b(text, digest_size=8, person=PERSON).digest(),
    "crc32": lambda text: zlib.crc32(text).to_bytes(4, "big") * 2,
}


class Words:
    """What could be a name in bytes that left."""

    def __init__(self, blobs: Iterable[bytes]) -> None:
        blob = b"\n".join(blobs)
        self.digits = set(DIGITS.findall(blob))
        found = [_binary(blob)]
        for run in set(HEX.findall(blob)):
            found += [_binary(bytes.fromhex(part[: len(part) // 2 * 2].decode())) for part in (run, run[1:])]
        for run in set(BASE64.findall(blob)):
            found += [_binary(part) for part in _unbased(run)]
        self.binary = np.unique(np.concatenate(found))

    def hits(self, words: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which of the 64-bit words are there."""
        if len(self.binary) == 0:
            return np.zeros(len(words), np.bool_)
        at = np.minimum(np.searchsorted(self.binary, words), len(self.binary) - 1)
        found: NDArray[np.bool_] = self.binary[at] == words
        return found

    def spells(self, text: bytes) -> bool:
        """Is it part of a run of digits?"""
        return any(text in run for run in self.digits)


def _binary(blob: bytes) -> NDArray[np.uint64]:
    parts = [np.empty(0, np.uint64)]
    for shift in range(min(8, max(len(blob) - 7, 0))):
        for order in ("<u8", ">u8"):
            parts.append(np.frombuffer(blob, order, (len(blob) - shift) // 8, shift).astype(np.uint64))
    return np.unique(np.concatenate(parts))


def _unbased(run: bytes) -> Iterator[bytes]:
    plain = run.replace(b"-", b"+").replace(b"_", b"/")
    for shift in range(4):
        yield base64.b64decode(plain[shift : shift + (len(plain) - shift) // 4 * 4])


def leaving_bytes(published: Mapping[str, list[Publication]], metrics: bytes) -> Iterator[bytes]:
    """All that a consumer or an operator's screen can read: topics with their keys, Redis, metrics.

    Args:
        published: a day's publications by measure.
    """
    for measure, items in published.items():
        for item in items:
            yield item.topic.encode() + b"\0" + item.key + b"\0" + item.value
        for key, value in redis_values(items, measure).items():
            yield key.encode() + b"\0" + value
    yield metrics


def salts_guessed(epoch: Epoch) -> list[bytes]:
    """Salts that a careless system would have: none, a byte, a date, a name, a version."""
    day = str(epoch.epoch)
    words = [day, f"{day[:4]}-{day[4:6]}-{day[6:]}", str(epoch.start_ms), epoch.plan, epoch.salt, "throng", "salt", "1"]
    return [b"", *(bytes([byte]) for byte in range(256)), *(word.encode() for word in words)]


def candidates(world: World, most: int) -> list[bytes]:
    """Numbers of the network as text: of those counted in the town at most so many, and as many that nobody has."""
    own = world.imsis[world.counted][:most] & np.uint64((1 << 60) - 1)
    msins = np.random.default_rng(world.size.seed).integers(10**10, size=len(own))
    return [f"{number:015d}".encode() for number in [*own.tolist(), *(101 * 10**10 + msins).tolist()]]


def outside(words: Words, numbers: list[bytes], epoch: Epoch, told: Callable[[str], None]) -> int:
    """How many of the numbers are found in what left, in plain or through any hash and guessed salt."""
    found = {n for n, text in enumerate(numbers) if words.spells(text)}
    found |= set(np.flatnonzero(words.hits(np.array([int(text) for text in numbers], np.uint64))).tolist())
    for turn, salt in enumerate(salts_guessed(epoch)):
        if turn % 32 == 0:
            told(f"enumeration: {len(numbers)} numbers under salt {turn + 1}")
        # A salt of a byte goes before the number, others on either side of it.
        for texts in ([salt + n for n in numbers], [n + salt for n in numbers] if len(salt) > 1 else []):
            for function in HASHES.values():
                made = np.frombuffer(b"".join(map(function, texts)), ">u8").astype(np.uint64)
                found |= set(np.flatnonzero(words.hits(made)).tolist())
    return len(found)


def minutes_for_all(day: Day) -> float:
    """How long one core takes to make the pseudonyms of all numbers of a network under a known salt."""
    numbers = np.arange(SAMPLE, dtype=np.uint64) + np.uint64(LONG_IMSI | 101 * 10**10)
    day.pseudonyms(numbers[:1])
    began = time.process_time()
    day.pseudonyms(numbers)
    return (time.process_time() - began) / SAMPLE * 10**10 / 60


def inside(world: World, day: Day, salts: Iterable[bytes]) -> float:
    """The share of the day's pseudonyms that the network's numbers give under any of the salts."""
    names = np.unique(day.sightings.pseudonym)
    found = np.zeros(len(names), np.bool_)
    out = np.empty_like(world.imsis)
    for salt in salts:
        pseudonyms(world.imsis, key_state(salt.ljust(SALT_BYTES, b"\0")), out)
        found |= np.isin(names, out)
    return float(found.mean())
