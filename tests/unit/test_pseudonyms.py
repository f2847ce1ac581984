"""Pseudonyms: golden vectors, and the compiled batch against hashlib."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from schemas.attach import pack_imsi
from streams.core.gateway.pseudonyms import key_state, pseudonym, pseudonyms, targets

SALT = bytes(range(32))
# Computed once by hashlib.blake2b(imsi, key=salt, digest_size=8, person=b"throng.imsi") and written down.
GOLDEN = {
    b"001010000000001": 0x2D5F3FDF3E5BDC5D,
    b"262011234567890": 0x22695EF9A9DCE1A0,
    b"00101123456789": 0x476C3FA5B32642B1,
}


def batch(imsis: list[bytes], salt: bytes) -> list[int]:
    packed = np.array([pack_imsi(imsi.decode()) for imsi in imsis], np.uint64)
    out = np.empty(len(imsis), np.uint64)
    pseudonyms(packed, key_state(salt), out)
    return out.tolist()


def test_golden_vectors() -> None:
    assert {imsi: pseudonym(imsi, SALT) for imsi in GOLDEN} == GOLDEN
    assert batch(list(GOLDEN), SALT) == list(GOLDEN.values())


@given(
    st.lists(st.from_regex(r"(001|[2-7][0-9]{2})[0-9]{11,12}", fullmatch=True), max_size=50),
    st.binary(min_size=32, max_size=32),
)
def test_the_compiled_batch_equals_hashlib(imsis: list[str], salt: bytes) -> None:
    expected = [
        int.from_bytes(hashlib.blake2b(i.encode(), key=salt, digest_size=8, person=b"throng.imsi").digest(), "little")
        for i in imsis
    ]
    assert batch([i.encode() for i in imsis], salt) == expected


def test_another_salt_gives_unrelated_pseudonyms() -> None:
    imsis = [f"00101{number:010d}".encode() for number in range(1000)]
    assert not set(batch(imsis, SALT)) & set(batch(imsis, bytes(32)))


def test_subscribers_spread_evenly_over_partitions() -> None:
    imsis = [f"00101{number:010d}".encode() for number in range(64_000)]
    shares = np.bincount(targets(np.array(batch(imsis, SALT), np.uint64), 64), minlength=64)
    # Each share is binomial with mean 1000 and standard deviation 31: six of them are out of reach by chance.
    assert 1000 - 190 < shares.min() <= shares.max() < 1000 + 190
