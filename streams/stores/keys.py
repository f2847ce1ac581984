"""Key providers: who holds the key of an epoch. One small module each; this one is a folder of files.

A provider creates a key for an epoch if there is none, uses it, and destroys it for good. Destroying the key shreds
every copy of the salt that it wraps, whatever a log segment or a backup still holds. On a copy-on-write or journaling
file system an overwritten file may survive below: put the folder on a volume of its own, or use a key service.
"""

import os
import secrets
from pathlib import Path
from typing import Protocol

from streams.errors import ThrongError

KEY_BYTES = 32


class KeyProvider(Protocol):
    """What the vault asks of a key service."""

    def key(self, epoch: int, create: bool) -> tuple[str, bytes] | None:
        """(id, 32 bytes) of the epoch's key; made if `create`. None if it was never made or is destroyed."""
        ...

    def destroy(self, epoch: int) -> None:
        """Make the key unusable for good; it may not be made again."""
        ...


class FileKeys:
    """One file a key, readable by its owner only; a tombstone in its place once destroyed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ThrongError("keys", f"cannot use the folder {folder}: {error.strerror}; set gateway.keys") from error

    def key(self, epoch: int, create: bool) -> tuple[str, bytes] | None:
        if self._tombstone(epoch).exists():
            return None
        path = self._folder / f"{epoch}.key"
        if create and not path.exists():
            self._create(path)
        try:
            key = path.read_bytes()
        except FileNotFoundError:
            return None
        if len(key) != KEY_BYTES:
            raise ThrongError("keys", f"the key file {path} has {len(key)} bytes instead of {KEY_BYTES}: restore it")
        return f"file:{epoch}", key

    def destroy(self, epoch: int) -> None:
        path = self._folder / f"{epoch}.key"
        if self._tombstone(epoch).exists() and not path.exists():
            return
        self._tombstone(epoch).touch(mode=0o600)
        _sync_folder(self._folder)
        if path.exists():
            with path.open("r+b") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                os.fsync(file.fileno())
            path.unlink()
            _sync_folder(self._folder)

    def _tombstone(self, epoch: int) -> Path:
        return self._folder / f"{epoch}.destroyed"

    def _create(self, path: Path) -> None:
        """Whole or not at all; of two that race one wins, and both read the same."""
        draft = path.with_suffix(f".{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process made it first
        finally:
            draft.unlink()
        _sync_folder(self._folder)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
