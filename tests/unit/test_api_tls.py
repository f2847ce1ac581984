"""The API's certificate: shown to a real client over TLS, renewed without a restart; a wrong one told in a line."""

import ssl
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from streams.api.tls import Certificate
from streams.errors import ThrongError
from streams.settings import load_settings
from tests.support import secured


def made(folder: Path) -> secured.Certificate:
    folder.mkdir()
    return secured.Certificate(folder)


async def trusted(port: int, shown: secured.Certificate) -> bool:
    """Does a client that trusts this certificate alone get an answer?"""
    context = ssl.create_default_context(cafile=shown.certificate)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as client:
        try:
            async with client.get(f"https://127.0.0.1:{port}/") as answer:
                return answer.status == 404
        except aiohttp.ClientConnectorCertificateError:
            return False


async def test_a_client_is_answered_over_tls_and_a_renewed_certificate_is_shown_without_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown, renewed = made(tmp_path / "shown"), made(tmp_path / "renewed")
    files = tmp_path / "certificate", tmp_path / "key"
    files[0].write_bytes(shown.certificate.read_bytes())
    files[1].write_bytes(shown.key.read_bytes())
    tls = Certificate(*map(str, files))
    server = TestServer(web.Application())
    await server.start_server(ssl=tls.context)
    try:
        assert server.port is not None
        assert await trusted(server.port, shown) and not await trusted(server.port, renewed)
        renewed.certificate.replace(files[0])
        tls.renew()
        assert "not the key of" in caplog.text
        assert await trusted(server.port, shown)
        renewed.key.replace(files[1])
        tls.renew()
        shown_before, renewed.certificate = shown, files[0]
        assert await trusted(server.port, renewed) and not await trusted(server.port, shown_before)
    finally:
        await server.close()


def test_a_wrong_pair_of_files_is_told_in_a_line_that_names_the_setting(tmp_path: Path) -> None:
    shown, other = made(tmp_path / "shown"), made(tmp_path / "other")
    locked, folder = tmp_path / "locked", tmp_path / "folder"
    key = load_pem_private_key(shown.key.read_bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    folder.mkdir()
    for certificate, private, said in (
        (tmp_path / "none", shown.key, r"^setting api.tls_certificate: cannot read .*none: No such file"),
        (shown.certificate, folder, r"^setting api.tls_key: cannot read .*: Is a directory"),
        (shown.certificate, other.key, r"^setting api.tls_key: .*other.* is not the key of the certificate .*shown"),
        (shown.key, shown.certificate, r"^settings api.tls_certificate and api.tls_key: .* in PEM"),
        (shown.certificate, locked, r"^setting api.tls_key: the key is encrypted"),
    ):
        with pytest.raises(ThrongError, match=said) as error:
            Certificate(str(certificate), str(private))
        assert error.value.code == "config" and "\n" not in error.value.sentence
    with pytest.raises(ThrongError, match="give both, or neither"):
        load_settings(None, {"api.tls_key": "key.pem"}, {})
