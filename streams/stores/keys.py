"""Key providers: who holds the key of an epoch, and seals its salt. One small module each; this one is files.

A provider seals a secret under a key of its epoch, which it makes if there is none, opens it, and destroys the key for
good. Destroying it shreds every copy of the salt, whatever a log segment or a backup still holds. On a copy-on-write
or journaling file system an overwritten file may survive below: put the folder on a volume of its own, or use a key
service (`transit_keys`), which never gives the key away.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from schemas.salts import WrappedSalt
from streams.errors import ThrongError
from streams.stores.wiping import wipe

KEY_BYTES = 32
NONCE_BYTES = 12


class KeyProvider(Protocol):
    """What the vault asks of a key service. All of it may wait; `ThrongError` `keys`: it doesn't answer, or can't."""

    def look(self) -> None:
        """Find out whether a key could be had now, where it can be known without making one."""
        ...

    def seal(self, epoch: int, secret: bytes) -> WrappedSalt | None:
        """The secret under the epoch's key, bound to both. None if the key is destroyed: it is not made again."""
        ...

    def open(self, wrapped: WrappedSalt) -> bytes | None:
        """The secret, an object of its own that the caller wipes. None if the key was never made or is destroyed.

        Raises:
            ThrongError: `salts` if it does not open with this key.
        """
        ...

    def holds(self, epoch: int) -> bool:
        """Is the epoch's key there, if only because it could not be destroyed?"""
        ...

    def destroyed(self, epoch: int) -> bool:
        """Was the epoch's key destroyed, or begun to be? One that is not there need not have been: a volume may not be
        mounted."""
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

    def look(self) -> None:
        """By a draft: a full or read-only volume shows the keys that it has, and takes no other."""
        with self._told("no key can be made"):
            self._draft(self._path(0)).unlink()

    def seal(self, epoch: int, secret: bytes) -> WrappedSalt | None:
        held = self.key(epoch, create=True)
        if held is None:
            return None
        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            return WrappedSalt(epoch, held[0], nonce, AESGCM(held[1]).encrypt(nonce, secret, bound(epoch, held[0])))
        finally:
            wipe(held[1])

    def open(self, wrapped: WrappedSalt) -> bytes | None:
        held = self.key(wrapped.epoch, create=False)
        if held is None:
            return None
        try:
            return AESGCM(held[1]).decrypt(wrapped.nonce, wrapped.sealed, bound(wrapped.epoch, wrapped.key_id))
        except (InvalidTag, ValueError):  # another key's; with a nonce that nobody would take
            raise does_not_open(wrapped.epoch) from None
        finally:
            wipe(held[1])

    def holds(self, epoch: int) -> bool:
        with self._told("no key can be asked for"):
            return self._path(epoch).exists()

    def key(self, epoch: int, create: bool) -> tuple[str, bytes] | None:
        """(id, 32 bytes) of the epoch's key, to be wiped after use; made if `create`. None if it was never made or is
        destroyed.

        Raises:
            ThrongError: `keys` if the folder takes or gives none, or the file isn't whole.
        """
        if self.destroyed(epoch):
            return None
        path = self._path(epoch)
        with self._told(f"the key of epoch {epoch} can't be {'made' if create else 'read'}"):
            if create and not path.exists():
                self._create(path)
            try:
                handle = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                return None
            try:
                key = os.read(handle, KEY_BYTES + 1)  # into the object itself: a buffer would keep a copy
            finally:
                os.close(handle)
        if len(key) != KEY_BYTES:
            raise ThrongError("keys", f"the key file {path} has {len(key)} bytes instead of {KEY_BYTES}: restore it")
        return f"file:{epoch}", key

    def destroyed(self, epoch: int) -> bool:
        with self._told("no key can be asked for"):
            return self._tombstone(epoch).exists()

    def destroy(self, epoch: int) -> None:
        path = self._path(epoch)
        if self.destroyed(epoch) and not self.holds(epoch):
            return
        with self._told(f"the key of epoch {epoch} is there still"):
            self._tombstone(epoch).touch(mode=0o600)
            _sync_folder(self._folder)
            if path.exists():
                with path.open("r+b") as file:
                    file.write(secrets.token_bytes(KEY_BYTES))
                    os.fsync(file.fileno())
                path.unlink()
                _sync_folder(self._folder)

    def _path(self, epoch: int) -> Path:
        return self._folder / f"{epoch}.key"

    def _tombstone(self, epoch: int) -> Path:
        return self._folder / f"{epoch}.destroyed"

    def _create(self, path: Path) -> None:
        """Whole or not at all; of two that race one wins, and both read the same."""
        draft = self._draft(path)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process made it first
        finally:
            draft.unlink()
        _sync_folder(self._folder)

    def _draft(self, path: Path) -> Path:
        """A file beside `path` with a fresh key, or none: of a volume that is full a try would leave one each time."""
        draft = path.with_suffix(f".{secrets.token_hex(4)}")
        handle, key = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), secrets.token_bytes(KEY_BYTES)
        try:
            os.write(handle, key)
            os.fsync(handle)
        except OSError:
            draft.unlink()
            raise
        finally:
            os.close(handle)
            wipe(key)
        return draft

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            why = f"the folder {self._folder}: {error.strerror or error}"
            raise ThrongError(
                "keys", f"{what}: {why}; make room, mount it to be written, or set gateway.keys"
            ) from error


def missing(epoch: int) -> ThrongError:
    """The error of a key that is not there, and that nobody destroyed."""
    return ThrongError(
        "keys",
        f"the key of epoch {epoch} is not there, but was not destroyed: is gateway.keys what all gateways share, and "
        "mounted? Nothing is rejected for it; if it is lost, see docs/how-to/outages.md",
    )


def bound(epoch: int, key_id: str) -> bytes:
    """What a sealed salt is authenticated with: it opens for its epoch and its key alone."""
    return f"throng salt {epoch} {key_id}".encode()


def does_not_open(epoch: int) -> ThrongError:
    """The error of a salt and a key that don't belong together."""
    return ThrongError("salts", f"the salt of epoch {epoch} does not open with this key: is gateway.keys right?")


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
