"""What the vault refuses."""

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from msgspec.structs import replace

from schemas.salts import WrappedSalt
from streams.errors import ThrongError
from streams.stores.keys import FileKeys
from streams.stores.salts import SaltGone, Vault


class Empty:
    async def read_to_end(self) -> AsyncIterator[list[object]]:
        for nothing in ():
            yield nothing


class Log:
    """The topic in memory: its reader, and a producer. `before`: what another gateway has written meanwhile."""

    def __init__(self, before: WrappedSalt) -> None:
        self._values = [msgspec.msgpack.encode(before)]
        self._read = self._seen = 0

    async def read_to_end(self) -> AsyncIterator[list[SimpleNamespace]]:
        values, self._read = self._values[self._read : self._seen], self._seen
        yield [SimpleNamespace(topic="salts", partition=0, offset=0, value=value) for value in values]

    async def send_and_wait(self, _: str, value: bytes, key: bytes, partition: int) -> None:
        assert (key, partition) == (b"20260302", 0)
        self._values.append(value)
        self._seen = len(self._values)


async def test_of_two_salts_of_an_epoch_the_first_that_was_written_counts(tmp_path: Path) -> None:
    """Another gateway was sooner, which is known once one's own is written."""
    keys = FileKeys(tmp_path)
    sealed = keys.seal(20260302, bytes(range(32)))
    assert sealed is not None
    log = Log(sealed)
    vault = Vault(log, log, "salts", keys)  # type: ignore[arg-type]
    assert await vault.ensure(20260302) == await vault.ensure(20260302) == bytes(range(32))
    assert len(log._values) == 2


async def test_a_key_that_was_destroyed_before_there_was_a_salt_is_anothers_and_told(tmp_path: Path) -> None:
    keys = FileKeys(tmp_path)
    keys.key(20260302, create=True)
    keys.destroy(20260302)
    vault = Vault(Empty(), None, "salts", keys)  # type: ignore[arg-type]
    with pytest.raises(ThrongError, match="give this one keys of its own") as refused:
        await vault.ensure(20260302)
    assert refused.value.code == "keys"


@pytest.mark.parametrize("nonce", [b"", bytes(12), bytes(200)])
async def test_a_salt_that_somebody_else_wrote_is_told_in_a_line(tmp_path: Path, nonce: bytes) -> None:
    keys = FileKeys(tmp_path)
    keys.key(20260302, create=True)
    vault = Vault(Empty(), None, "salts", keys)  # type: ignore[arg-type]
    vault.log.first[20260302] = WrappedSalt(20260302, "file:20260302", nonce, b"sealed")
    with pytest.raises(ThrongError, match="the salt of epoch 20260302 does not open with this key"):
        await vault.ensure(20260302)


async def test_a_salt_whose_key_is_missing_is_not_gone(tmp_path: Path) -> None:
    """As on a second host with a folder of its own: half of the events would have been rejected."""
    sealed = FileKeys(tmp_path / "right").seal(20260302, bytes(32))
    assert sealed is not None
    wrong = FileKeys(tmp_path / "other")
    vault = Vault(Empty(), None, "salts", wrong)  # type: ignore[arg-type]
    vault.log.first[20260302] = sealed
    with pytest.raises(ThrongError, match="the key of epoch 20260302 is not there, but was not destroyed") as refused:
        await vault.ensure(20260302)
    assert refused.value.code == "keys"
    wrong.destroy(20260302)
    with pytest.raises(SaltGone):
        await vault.ensure(20260302)


def test_a_sealed_salt_opens_for_its_epoch_and_its_key_alone(tmp_path: Path) -> None:
    """Both are authenticated: no record can be passed off as another's, even where two epochs had one key."""
    keys = FileKeys(tmp_path)
    sealed = keys.seal(20260302, bytes(range(32)))
    assert sealed is not None and keys.open(sealed) == bytes(range(32))
    (tmp_path / "20260303.key").write_bytes((tmp_path / "20260302.key").read_bytes())
    for changed in ({"epoch": 20260303}, {"key_id": "file:20260303"}, {"epoch": 20260303, "key_id": "file:20260303"}):
        with pytest.raises(ThrongError, match="does not open with this key"):
            keys.open(replace(sealed, **changed))
