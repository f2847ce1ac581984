"""Signatures of decisions: Ed25519 (RFC 8032) over an entry of the audit log, by a key that only its operator has.

Keys are PEM files, as `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout` write them.
"""

from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from msgspec import UNSET
from msgspec.structs import replace

from schemas.audit import Entry
from streams.core.rules.audit import to_sign
from streams.errors import ThrongError


def private_key(file: Path) -> Ed25519PrivateKey:
    """The key to sign by.

    Raises:
        ThrongError: `config`, naming the setting, if the file holds none that can be used.
    """
    try:
        key = load_pem_private_key(_read("setting audit.key:", file), None)
    except TypeError as error:
        raise ThrongError("config", f"setting audit.key: {file} is encrypted; give a key without a password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ThrongError("config", f"setting audit.key: {file} is no private key in PEM") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ThrongError("config", f"setting audit.key: {file} is no Ed25519 key: openssl genpkey -algorithm ed25519")
    return key


def public_key(file: Path) -> Ed25519PublicKey:
    """The key to verify by.

    Raises:
        ThrongError: `usage` if the file holds none that can be used.
    """
    try:
        key = load_pem_public_key(_read("--key", file))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ThrongError("usage", f"--key {file} is no public key in PEM: openssl pkey -pubout makes it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ThrongError("usage", f"--key {file} is no Ed25519 key")
    return key


def signed(entry: Entry, key: Ed25519PrivateKey) -> Entry:
    """The entry with its signature; to be sealed after that."""
    return replace(entry, signature=key.sign(to_sign(entry)).hex())


def is_signed(entry: Entry, key: Ed25519PublicKey) -> bool:
    """Is the entry's signature of this key, and of just this entry?"""
    if entry.signature is UNSET:
        return False
    try:
        key.verify(bytes.fromhex(entry.signature), to_sign(entry))
    except (InvalidSignature, ValueError):
        return False
    return True


def _read(what: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        code = "usage" if what.startswith("--") else "config"
        raise ThrongError(code, f"{what} cannot read {file}: {error.strerror}") from error
