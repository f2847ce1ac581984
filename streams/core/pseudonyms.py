"""Pseudonyms: keyed BLAKE2b of the IMSI's text under the epoch's salt, 8 bytes (RFC 7693).

In: packed IMSIs and a salt. Out: 64-bit numbers that nobody without the salt can link to a subscriber, never 0, which
means an empty slot to the crowd. `pseudonym` is the plain definition, by the standard library; `pseudonyms` is the
same compiled for batches: the salt fills the first of the two blocks, so its compression is done once (`key_state`),
and an IMSI costs one. Nothing can fail.

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
_IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    np.uint64,
)  # fmt: skip
_SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    np.uint8,
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
    parameters = np.zeros(8, np.uint64)
    parameters[0] = DIGEST_BYTES | SALT_BYTES << 8 | 1 << 16 | 1 << 24
    parameters[6:] = np.frombuffer(PERSON.ljust(16, b"\0"), "<u8")
    state = np.empty(8, np.uint64)
    _compress(_IV ^ parameters, np.frombuffer(salt.ljust(_BLOCK, b"\0"), "<u8"), np.uint64(_BLOCK), np.uint64(0), state)
    return state


def pseudonyms(imsi: NDArray[np.uint64], state: NDArray[np.uint64], out: NDArray[np.uint64]) -> None:
    """Write the pseudonyms of packed IMSIs u64[n] under a key state to `out` u64[n]."""
    _pseudonyms(imsi, state, out)


def targets(pseudonym: NDArray[np.uint64], partitions: int) -> NDArray[np.uint16]:
    """The partition of `sightings` that each pseudonym belongs to, u16[n]: its upper half scaled."""
    return (((pseudonym >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32)).astype(np.uint16)


@njit(cache=True, nogil=True)
def _pseudonyms(imsi, state, out):  # type: ignore[no-untyped-def]
    message = np.zeros(16, np.uint64)
    hashed = np.empty(8, np.uint64)
    for i in range(len(imsi)):
        digits = 15 if imsi[i] & np.uint64(IMSI_15) else 14
        _write_digits(imsi[i] & np.uint64(IMSI_15 - 1), digits, message)
        _compress(state, message, np.uint64(_BLOCK + digits), ~np.uint64(0), hashed)
        out[i] = max(hashed[0], np.uint64(1))


@njit(cache=True, nogil=True)
def _write_digits(number, digits, message):  # type: ignore[no-untyped-def]
    """The decimal text of `number` as the first two words of a little-endian block."""
    low, high = np.uint64(0), np.uint64(0)
    for at in range(digits - 1, -1, -1):
        rest = number // np.uint64(10)
        letter = np.uint64(0x30) + number - rest * np.uint64(10)
        number = rest
        if at < 8:
            low |= letter << np.uint64(8 * at)
        else:
            high |= letter << np.uint64(8 * at - 64)
    message[0], message[1] = low, high


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _compress(state, m, length, last, out):  # type: ignore[no-untyped-def]
    """The function F of RFC 7693, 3.2: `out` is the state after block m u64[16]; `length` in bytes so far."""
    v0, v1, v2, v3, v4, v5, v6, v7 = state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
    v8, v9, v10, v11 = _IV[0], _IV[1], _IV[2], _IV[3]
    v12, v13, v14, v15 = _IV[4] ^ length, _IV[5], _IV[6] ^ last, _IV[7]
    for r in range(12):
        s = _SIGMA[r]
        v0, v4, v8, v12 = _mix(v0, v4, v8, v12, m[s[0]], m[s[1]])
        v1, v5, v9, v13 = _mix(v1, v5, v9, v13, m[s[2]], m[s[3]])
        v2, v6, v10, v14 = _mix(v2, v6, v10, v14, m[s[4]], m[s[5]])
        v3, v7, v11, v15 = _mix(v3, v7, v11, v15, m[s[6]], m[s[7]])
        v0, v5, v10, v15 = _mix(v0, v5, v10, v15, m[s[8]], m[s[9]])
        v1, v6, v11, v12 = _mix(v1, v6, v11, v12, m[s[10]], m[s[11]])
        v2, v7, v8, v13 = _mix(v2, v7, v8, v13, m[s[12]], m[s[13]])
        v3, v4, v9, v14 = _mix(v3, v4, v9, v14, m[s[14]], m[s[15]])
    out[0], out[1], out[2], out[3] = state[0] ^ v0 ^ v8, state[1] ^ v1 ^ v9, state[2] ^ v2 ^ v10, state[3] ^ v3 ^ v11
    out[4], out[5], out[6], out[7] = state[4] ^ v4 ^ v12, state[5] ^ v5 ^ v13, state[6] ^ v6 ^ v14, state[7] ^ v7 ^ v15
