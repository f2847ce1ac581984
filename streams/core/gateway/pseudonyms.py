"""Pseudonyms: keyed BLAKE2b of the IMSI's text under the epoch's salt, 8 bytes (RFC 7693).

In: packed IMSIs and a salt. Out: 64-bit numbers that nobody without the salt can link to a subscriber, never 0, which
means an empty slot to the crowd. `pseudonym` is the plain definition, by the standard library; `pseudonyms` is the
same compiled for batches: the salt fills the first of the two blocks, so its compression is done once (`key_state`),
and an IMSI costs one. Nothing can fail.

The block with the IMSI has 16 words, of which 14 are zero, and all that happens to them is the same for every IMSI. So
`hash_text` writes the twelve rounds out without a table, and has no branch and no inner loop: LLVM then hashes as
many subscribers at a time as a vector register holds, 2 to 8.

A key state is as secret as the salt it comes from.
"""

import hashlib
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

SALT_BYTES: Final = 32
DIGEST_BYTES: Final = 8
PERSON: Final = b"throng.imsi"
IMSI_15: Final = 1 << 60  # of a packed IMSI: it has 15 digits, else 14

_BLOCK = 128
_IV = (
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
)  # fmt: skip
_IV0, _IV1, _IV2, _IV3, _IV4, _IV5, _IV6, _IV7 = map(np.uint64, _IV)
_SIGMA = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
    (11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4),
    (7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8),
    (9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13),
    (2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9),
    (12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11),
    (13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10),
    (6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5),
    (10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0),
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
    (14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3),
)  # fmt: skip


def pseudonym(imsi: bytes, salt: bytes) -> int:
    """The definition: little-endian BLAKE2b-64 of the IMSI's digits, keyed with the salt (32 bytes); 1 in place of
    0."""
    digest = hashlib.blake2b(imsi, key=salt, digest_size=DIGEST_BYTES, person=PERSON).digest()
    return int.from_bytes(digest, "little") or 1


def key_state(salt: bytes) -> NDArray[np.uint64]:
    """u64[8]: BLAKE2b's state once the block with the salt has gone in.

    Raises:
        ValueError: if the salt isn't of 32 bytes.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt has {SALT_BYTES} bytes")
    own = np.zeros(8, np.uint64)
    own[0] = DIGEST_BYTES | SALT_BYTES << 8 | 1 << 16 | 1 << 24
    own[6:] = np.frombuffer(PERSON.ljust(16, b"\0"), "<u8")
    block = np.zeros(16, np.uint64)
    block[: SALT_BYTES // 8] = np.frombuffer(salt, "<u8")
    state = np.array(_IV, np.uint64) ^ own
    _after_key(state, block, np.array(_SIGMA))
    block.fill(0)
    return state


def pseudonyms(imsi: NDArray[np.uint64], state: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Write the pseudonyms of packed IMSIs u64[n] under a key state to `out` u64[n]."""
    first, second = np.empty_like(imsi), np.empty_like(imsi)
    write_text(imsi, first, second)
    hash_text(state, first, second, out)


def targets(pseudonym: NDArray[np.uint64], partitions: int) -> NDArray[np.uint16]:
    """The partition of `sightings` that each pseudonym belongs to, u16[n]: its upper half scaled."""
    return np.asarray(target_of.py_func(pseudonym, partitions), np.uint16)


@njit(cache=True, nogil=True, forceinline=True)
def target_of(pseudonym, partitions):  # type: ignore[no-untyped-def]
    """The partition of one pseudonym."""
    return ((pseudonym >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)


@njit(cache=True, nogil=True)
def _after_key(state, block, sigma):  # type: ignore[no-untyped-def]
    """Take BLAKE2b's state u64[8] past its first block u64[16], in place: the function F of RFC 7693, 3.2.

    Compiled, so that no word of a salt becomes a number of Python's, which nobody can wipe.
    """
    s = state
    v = (s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7],
         _IV0, _IV1, _IV2, _IV3, _IV4 ^ np.uint64(_BLOCK), _IV5, _IV6, _IV7)  # fmt: skip
    for n in range(len(sigma)):
        m = block[sigma[n]]
        v = _round(v, m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7],
                   m[8], m[9], m[10], m[11], m[12], m[13], m[14], m[15])  # fmt: skip
        m.fill(0)
    for n in range(8):
        state[n] ^= v[n] ^ v[n + 8]


@njit(cache=True, nogil=True)
def write_text(imsi, first, second):  # type: ignore[no-untyped-def]
    """The text of packed IMSIs u64[n] as the two first words of a little-endian block, each u64[n]."""
    for i in range(len(imsi)):
        digits = imsi[i] & np.uint64(IMSI_15 - 1)
        if imsi[i] & np.uint64(IMSI_15):
            head = digits // np.uint64(10**7)
            rest = _eight_digits((digits - head * np.uint64(10**7)) * np.uint64(10)) & np.uint64((1 << 56) - 1)
        else:
            head = digits // np.uint64(10**6)
            rest = _eight_digits((digits - head * np.uint64(10**6)) * np.uint64(100)) & np.uint64((1 << 48) - 1)
        first[i] = _eight_digits(head)
        second[i] = rest


@njit(cache=True, nogil=True, forceinline=True)
def _eight_digits(number):  # type: ignore[no-untyped-def]
    """The text of a number below 10**8, the first digit in the lowest byte: halves, quarters and digits at once."""
    high = number // np.uint64(10_000)
    halves = high | (number - high * np.uint64(10_000)) << np.uint64(32)
    high = (halves * np.uint64(10_486)) >> np.uint64(20) & np.uint64(0x0000007F_0000007F)  # of each half: // 100
    quarters = high | (halves - high * np.uint64(100)) << np.uint64(16)
    high = (quarters * np.uint64(103)) >> np.uint64(10) & np.uint64(0x000F000F_000F000F)  # of each quarter: // 10
    return (high | (quarters - high * np.uint64(10)) << np.uint64(8)) + np.uint64(0x30303030_30303030)


@njit(cache=True, nogil=True)
def hash_text(state, first, second, out):  # type: ignore[no-untyped-def]
    """Write the pseudonyms of texts, as `write_text` gives them, to `out` u64[n]."""
    s0, s1, s2, s3, s4, s5, s6, s7 = state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
    for i in range(len(first)):
        length = np.uint64(_BLOCK + 14) + min(second[i] >> np.uint64(48), np.uint64(1))
        hashed = _last_block(s0, s1, s2, s3, s4, s5, s6, s7, length, first[i], second[i])
        out[i] = max(hashed, np.uint64(1))


@njit(cache=True, nogil=True, forceinline=True)
def _last_block(s0, s1, s2, s3, s4, s5, s6, s7, length, a, b):  # type: ignore[no-untyped-def]
    """The first word of the state after a last block whose words are a, b and 14 zeros: F, with SIGMA written out."""
    o = np.uint64(0)
    v = (s0, s1, s2, s3, s4, s5, s6, s7, _IV0, _IV1, _IV2, _IV3, _IV4 ^ length, _IV5, ~_IV6, _IV7)
    v = _round(v, a, b, o, o, o, o, o, o, o, o, o, o, o, o, o, o)
    v = _round(v, o, o, o, o, o, o, o, o, b, o, a, o, o, o, o, o)
    v = _round(v, o, o, o, a, o, o, o, o, o, o, o, o, o, b, o, o)
    v = _round(v, o, o, o, b, o, o, o, o, o, o, o, o, o, a, o, o)
    v = _round(v, o, a, o, o, o, o, o, o, o, b, o, o, o, o, o, o)
    v = _round(v, o, o, o, o, a, o, o, o, o, o, o, o, o, o, b, o)
    v = _round(v, o, o, b, o, o, o, o, o, a, o, o, o, o, o, o, o)
    v = _round(v, o, o, o, o, o, b, o, o, o, a, o, o, o, o, o, o)
    v = _round(v, o, o, o, o, o, o, a, o, o, o, o, o, b, o, o, o)
    v = _round(v, o, o, o, o, o, o, b, o, o, o, o, o, o, o, o, a)
    v = _round(v, a, b, o, o, o, o, o, o, o, o, o, o, o, o, o, o)
    v = _round(v, o, o, o, o, o, o, o, o, b, o, a, o, o, o, o, o)
    return s0 ^ v[0] ^ v[8]


@njit(cache=True, nogil=True, forceinline=True)
def _round(v, m0, m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14, m15):  # type: ignore[no-untyped-def]
    v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15 = v
    v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m0, m1)
    v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m2, m3)
    v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m4, m5)
    v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m6, m7)
    v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m8, m9)
    v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m10, m11)
    v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m12, m13)
    v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m14, m15)
    return v0, v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12, v13, v14, v15


@njit(cache=True, nogil=True, forceinline=True)
def _mix(a, b, c, d, x, y):  # type: ignore[no-untyped-def]
    """The function G of RFC 7693, 3.1."""
    a = a + b + x
    d = d ^ a
    d = d >> np.uint64(32) | d << np.uint64(32)
    c = c + d
    b = b ^ c
    b = b >> np.uint64(24) | b << np.uint64(40)
    a = a + b + y
    d = d ^ a
    d = d >> np.uint64(16) | d << np.uint64(48)
    c = c + d
    b = b ^ c
    b = b >> np.uint64(63) | b << np.uint64(1)
    return a, b, c, d
