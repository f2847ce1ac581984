"""The API's certificate and its key, from their files, and once more when these change: a renewal needs no restart."""

import logging
import ssl
from pathlib import Path

from streams.errors import ThrongError

log = logging.getLogger("throng.api")

Stamp = tuple[tuple[int, int], ...]


class Certificate:
    """What the API shows to those who come; `context` is what a server takes, TLS 1.2 or newer.

    Raises:
        ThrongError: `config` if the two files are not a certificate and its key.
    """

    def __init__(self, certificate: str, key: str) -> None:
        self._files = certificate, key
        self.context = _context(certificate, key)
        self._stamp = self._now()

    def renew(self) -> None:
        """Take up changed files, from the next connection on. What can't be used is told, and the old one stays."""
        stamp = self._now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            _context(*self._files)
            self.context.load_cert_chain(*self._files, password=_no_password)
        except (ThrongError, OSError) as error:
            log.error("the changed certificate is not used: %s", error)
        else:
            log.info("the changed certificate is in use")

    def _now(self) -> Stamp | None:
        try:
            read = [Path(file).stat() for file in self._files]
        except OSError:
            return None
        return tuple((each.st_mtime_ns, each.st_ino) for each in read)


def _context(certificate: str, key: str) -> ssl.SSLContext:
    for setting, file in (("api.tls_certificate", certificate), ("api.tls_key", key)):
        try:
            Path(file).read_bytes()
        except OSError as error:
            raise ThrongError("config", f"setting {setting}: cannot read {file}: {error.strerror}") from error
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            said = f"setting api.tls_key: {key} is not the key of the certificate {certificate}"
        else:
            said = (
                f"settings api.tls_certificate and api.tls_key: {certificate} and {key} are no certificate and its "
                "key, both in PEM"
            )
        raise ThrongError("config", said) from error
    return context


def _no_password() -> str:
    """Asked for by an encrypted key, for which OpenSSL would wait at a terminal."""
    raise ThrongError("config", "setting api.tls_key: the key is encrypted; give one without a password")
