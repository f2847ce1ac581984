"""The compiled tables against a dict."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.attach import pack_imsi
from schemas.registry import PURPOSES
from streams.core.compiled.lookup import Lookup
from streams.core.gateway.registry import CONSENT_SHIFT, GRANTED, OPTED_OUT, RECORD, RegistryTable

KEYS = st.one_of(st.integers(1, 40), st.integers(1, (1 << 64) - 1))
ENTRY = st.tuples(KEYS, st.integers(0, (1 << 32) - 1))
BATCH = st.lists(ENTRY, max_size=60) | st.lists(ENTRY, min_size=20, max_size=60)


@settings(deadline=None)
@given(st.lists(BATCH, max_size=12), st.lists(KEYS))
def test_a_table_reads_like_a_dict(batches: list[list[tuple[int, int]]], asked: list[int]) -> None:
    table, plain = Lookup(7), {}
    for batch in batches:
        table.put(np.array([k for k, _ in batch], np.uint64), np.array([v for _, v in batch], np.uint32))
        plain.update(batch)
        keys = [*plain, *asked]
        assert table.get(np.array(keys, np.uint64)).tolist() == [plain.get(key, 7) for key in keys]
    assert table.used == len(plain)


def test_a_million_keys_stay_within_their_bytes() -> None:
    keys = np.random.default_rng(1).permutation(np.arange(1, 1_000_001, dtype=np.uint64))
    table = Lookup(0)
    for first in range(0, len(keys), 10_000):
        table.put(keys[first : first + 10_000], keys[first : first + 10_000].astype(np.uint32))
    np.testing.assert_array_equal(table.get(keys), keys.astype(np.uint32))
    assert table.lines.nbytes / len(keys) < 32


def test_a_registry_record_that_cannot_be_read_is_no_record() -> None:
    good = b'{"imsi":"001010000000001","consent":{"marketing":"granted"}}'
    table = RegistryTable()
    table.take(
        [
            (b"001010000000001", good),
            (b"001010000000002", b'{"imsi":"001010000000001"}'),  # of somebody else
            (b"001010000000003", b"{"),
            (b"not a number", b"{"),
            (b'"001010000000007"', b'{"imsi":"nobody","consent":{"marketing":"granted"}}'),
            (None, None),
            (b"001010000000004", b'{"imsi":"001010000000004","opted_out":true}'),
        ]
    )
    bits = table.get(np.array([pack_imsi(f"00101000000000{n}") for n in range(1, 6)], np.uint64)).tolist()
    marketing = CONSENT_SHIFT + 2 * PURPOSES.index("marketing")
    assert bits[0] & RECORD and bits[0] >> marketing & 3 == GRANTED
    assert bits[1:3] == [0, 0] and bits[4] == 0
    assert bits[3] & OPTED_OUT
    assert table.unreadable == 5
    # Whom a record names in its value alone, whatever it says of them, may have opted out by it.
    for key in (b"not a number", b'"001010000000001"', None):
        table.take([(b"001010000000001", good), (key, good)])
        assert table.get(np.array([pack_imsi("001010000000001")], np.uint64)).tolist() == [0]
    table.take([(b"001010000000001", good), (b"001010000000001", None)])
    assert table.get(np.array([pack_imsi("001010000000001")], np.uint64)).tolist() == [0]
