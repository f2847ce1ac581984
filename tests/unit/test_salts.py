"""What the vault refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from schemas.salts import WrappedSalt
from streams.errors import ThrongError
from streams.stores.keys import FileKeys
from streams.stores.salts import SaltGone, Vault


class Empty:
    async def read_to_end(self) -> AsyncIterator[list[object]]:
        for nothing in ():
            yield nothing


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
