"""The leak scanner finds what is planted, in every form, and nothing in what is clean."""

import base64
import gzip
import json
import random

import cramjam
import pytest
import zstandard

from tests.support.scanner import Scanner, Secrets, bcd_forms

RNG = random.Random(1)
IMSIS = frozenset(f"00101{RNG.randrange(10**10):010d}" for _ in range(20_000))
PSEUDONYMS = frozenset(RNG.getrandbits(64) | 1 << 62 for _ in range(20_000))
SALTS = (RNG.randbytes(32), RNG.randbytes(32))
SECRETS = Secrets(IMSIS, frozenset({"+99912345678901"}), PSEUDONYMS, SALTS)
SCANNER = Scanner(SECRETS)
IMSI = sorted(IMSIS)[77]
PSEUDONYM = sorted(PSEUDONYMS)[99]
BIG, SMALL = PSEUDONYM.to_bytes(8, "big"), PSEUDONYM.to_bytes(8, "little")

CLEAN = (
    json.dumps(
        [
            {"zone": f"high-street-{n}", "start": "2026-03-02T05:00:00Z", "estimate": n * 1.7, "ts": 1772420400000 + n}
            for n in range(500)
        ]
    ).encode()
    + b'throng_gateway_sightings_total{partition="3"} 1.772427589598e+09\nnot ready: Redis does not answer\n'
)

PLANTED = {
    ("imsi", "text"): [IMSI.encode(), f'"imsi":"{IMSI}"'.encode(), b"9" + IMSI.encode() + b"7"],
    ("msisdn", "text"): [b"+99912345678901", b"tel:99912345678901"],
    ("pseudonym", "text"): [str(PSEUDONYM).encode(), b"key=%d;" % PSEUDONYM],
    ("imsi", "hex text"): [IMSI.encode().hex().encode()],
    ("pseudonym", "hex binary"): [BIG.hex().encode(), SMALL.hex().upper().encode(), b"a" + BIG.hex().encode()],
    ("salt", "hex binary"): [SALTS[0].hex().encode(), b"f" + SALTS[1].hex().upper().encode()],
    ("imsi", "base64 text"): [base64.b64encode(b"x" * n + IMSI.encode()) for n in range(3)],
    ("pseudonym", "base64 binary"): [base64.urlsafe_b64encode(b"x" * n + SMALL + b"y") for n in range(3)],
    ("salt", "base64 binary"): [base64.b64encode(SALTS[0]), base64.b64encode(b"xy" + SALTS[1] + b"z")],
    ("pseudonym", "binary"): [b"\x00" * n + order for n in range(8) for order in (BIG, SMALL)],
    ("salt", "binary"): [b"abc" + SALTS[1] + b"def"],
    ("imsi", "binary"): [b"\x01" + form + b"\x02" for form in bcd_forms(IMSI)],
}


@pytest.mark.parametrize(("kind", "form"), list(PLANTED))
def test_a_planted_secret_is_found(kind: str, form: str) -> None:
    for planted in PLANTED[kind, form]:
        for blob in (planted, CLEAN[:1003] + b" " + planted + b" " + CLEAN[1003:]):
            found = SCANNER.scan([("log", blob)])
            assert (kind, form) in [(finding.kind, finding.form) for finding in found]
            assert all(finding.blob == "log" for finding in found)


@pytest.mark.parametrize(
    "pack", [lambda d: zstandard.compress(d), gzip.compress, lambda d: bytes(cramjam.lz4.compress(d))]
)
def test_a_secret_in_a_compressed_payload_is_found(pack) -> None:
    found = SCANNER.scan([("record", b"head" + pack(CLEAN + IMSI.encode() + SMALL + CLEAN))])
    assert {finding.kind for finding in found} >= {"imsi", "pseudonym"}


def test_clean_data_has_no_finding() -> None:
    noise = random.Random(2).randbytes(300_000)
    assert SCANNER.scan([("json", CLEAN * 5), ("noise", noise), ("packed", zstandard.compress(CLEAN))]) == []


def test_findings_and_secrets_do_not_repeat_the_secret() -> None:
    said = repr(SCANNER.scan([("log", IMSI.encode())])) + repr(SECRETS)
    assert IMSI not in said
