"""What the vault refuses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.errors import ThrongError
from streams.stores.keys import FileKeys
from streams.stores.salts import Vault


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
