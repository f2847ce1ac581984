"""The transit key provider, on a small stand-in for the server, and on a real one where there is one.

A real one is started if `bao` or `vault` is on the PATH (`.ci/run` installs the one of tests/openbao.txt), or named:
`THRONG_TEST_TRANSIT="http://127.0.0.1:8200/v1/transit TOKEN"`. Tried on OpenBao 2.7.2; the stand-in answers as Vault
1.21.4 did.
"""

import base64
import json
import os
import secrets
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams.errors import ThrongError
from streams.local.ports import free_ports
from streams.local.processes import wait_for_port
from streams.settings import load_settings
from streams.stores.keys import FileKeys, KeyProvider
from streams.stores.providers import key_provider
from streams.stores.transit_keys import TransitKeys

EPOCH, NEXT = 20260302, 20260303
SALT = bytes(range(32))
TOKEN = "stand-in"


class StandIn(BaseHTTPRequestHandler):
    """Transit keys in memory."""

    keys: dict[str, dict[str, object]]

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        self.answer(None)

    def do_DELETE(self) -> None:
        self.answer(None)

    def do_POST(self) -> None:
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body: dict[str, str] | None) -> None:
        if self.headers["X-Vault-Token"] != TOKEN:
            return self.say(403, {"errors": ["permission denied"]})
        what, name, *rest = self.path.removeprefix("/v1/transit/").split("/")
        key = self.keys.get(name)
        if what == "keys" and self.command == "GET":
            return self.say(404, {"errors": []}) if key is None else self.say(200, {"data": {"name": name}})
        if what == "keys" and self.command == "DELETE":
            if key is None or not key["deletion_allowed"]:
                return self.say(400, {"errors": ["deletion is not allowed for this key"]})
            del self.keys[name]
            return self.say(204)
        assert body is not None
        if what == "keys" and rest:
            self.keys[name] |= body
            return self.say(200, {"data": {"name": name}})
        if what == "keys":
            self.keys.setdefault(name, {"secret": AESGCM.generate_key(256), "deletion_allowed": False})
            return self.say(200, {"data": {"name": name}})
        if key is None:
            return self.say(400, {"errors": ["encryption key not found"]})
        with_ = base64.b64decode(body["associated_data"])
        cipher = AESGCM(key["secret"])  # type: ignore[arg-type]
        if what == "encrypt":
            nonce = secrets.token_bytes(12)
            sealed = nonce + cipher.encrypt(nonce, base64.b64decode(body["plaintext"]), with_)
            return self.say(200, {"data": {"ciphertext": "vault:v1:" + base64.b64encode(sealed).decode()}})
        sealed = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"))
        try:
            plain = cipher.decrypt(sealed[:12], sealed[12:], with_)
        except InvalidTag:
            return self.say(400, {"errors": ["invalid ciphertext: unable to decrypt"]})
        return self.say(200, {"data": {"plaintext": base64.b64encode(plain).decode()}})

    def say(self, code: int, body: object = None) -> None:
        text = b"" if body is None else json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A real server's engine and a token."""
    if named := os.environ.get("THRONG_TEST_TRANSIT"):
        address, token = named.split()
        yield address, token
        return
    program = shutil.which("bao") or shutil.which("vault")
    if program is None:
        pytest.skip("neither bao nor vault is here, and THRONG_TEST_TRANSIT names no server")
    (port,) = free_ports(1)
    home = tmp_path_factory.mktemp("bao")
    told = [f"-dev-root-token-id={TOKEN}", f"-dev-listen-address=127.0.0.1:{port}"]
    with (home / "log").open("wb") as log:
        environ = os.environ | {"HOME": str(home)}
        running = subprocess.Popen([program, "server", "-dev", *told], env=environ, stdout=log, stderr=log)
    try:
        assert wait_for_port(running, port, time.monotonic() + 30), (home / "log").read_text()
        mount = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/sys/mounts/transit",
            json.dumps({"type": "transit"}).encode(),
            {"X-Vault-Token": TOKEN},
        )
        urllib.request.urlopen(mount, timeout=10).close()
        yield f"http://127.0.0.1:{port}/v1/transit", TOKEN
    finally:
        running.terminate()
        running.wait()


@pytest.fixture(params=["stand-in", "real"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """The engine's address and a token."""
    if request.param == "real":
        yield request.getfixturevalue("real")
        return
    handler = type("Handler", (StandIn,), {"keys": {}})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}/v1/transit", TOKEN
        listening.shutdown()
        thread.join()


@pytest.fixture(params=["files", "transit"])
def provider(request: pytest.FixtureRequest, tmp_path: Path, server: tuple[str, str]) -> KeyProvider:
    """Both providers must do what the vault asks for."""
    return FileKeys(tmp_path) if request.param == "files" else TransitKeys(*server, f"throng-{secrets.token_hex(4)}")


def test_a_salt_is_sealed_and_opened(provider: KeyProvider) -> None:
    assert not provider.holds(EPOCH)
    wrapped = provider.seal(EPOCH, SALT)
    assert wrapped is not None and provider.holds(EPOCH) and not provider.holds(NEXT)
    assert SALT not in wrapped.sealed and base64.b64encode(SALT) not in wrapped.sealed
    assert provider.open(wrapped) == SALT
    again = provider.seal(EPOCH, SALT)
    assert again is not None and again.sealed != wrapped.sealed and provider.open(again) == SALT


def test_no_copy_opens_once_the_key_is_destroyed_and_none_is_made_again(provider: KeyProvider) -> None:
    wrapped, other = provider.seal(EPOCH, SALT), provider.seal(NEXT, SALT)
    assert wrapped is not None and other is not None
    assert not provider.destroyed(EPOCH) and not provider.destroyed(NEXT + 1)
    provider.destroy(EPOCH)
    provider.destroy(EPOCH)
    assert not provider.holds(EPOCH) and provider.destroyed(EPOCH) and not provider.destroyed(NEXT)
    assert provider.open(wrapped) is None
    assert provider.seal(EPOCH, SALT) is None
    assert provider.open(wrapped) is None
    assert provider.open(other) == SALT


def test_a_key_may_be_destroyed_before_it_was_made(provider: KeyProvider) -> None:
    provider.destroy(EPOCH)
    assert provider.seal(EPOCH, SALT) is None and not provider.holds(EPOCH)


def test_a_salt_opens_for_its_own_epoch_and_key_alone(provider: KeyProvider) -> None:
    wrapped = provider.seal(EPOCH, SALT)
    provider.seal(NEXT, SALT)
    for changed in ({"epoch": NEXT}, {"key_id": "another"}, {"sealed": wrapped.sealed[:-2] + b"AA"}):  # type: ignore[union-attr]
        with pytest.raises(ThrongError, match="does not open") as refused:
            provider.open(msgspec.structs.replace(wrapped, **changed))  # type: ignore[type-var]
        assert refused.value.code == "salts"


def test_two_gateways_have_the_same_key(server: tuple[str, str]) -> None:
    name = f"throng-{secrets.token_hex(4)}"
    one, other = TransitKeys(*server, name), TransitKeys(*server, name)
    wrapped = one.seal(EPOCH, SALT)
    assert wrapped is not None and other.open(wrapped) == SALT
    other.destroy(EPOCH)
    assert one.open(wrapped) is None and one.seal(EPOCH, SALT) is None


def test_a_wrong_token_is_told(server: tuple[str, str]) -> None:
    with pytest.raises(ThrongError, match="answered 403") as refused:
        TransitKeys(server[0], "wrong").seal(EPOCH, SALT)
    assert refused.value.code == "keys" and "wrong" not in refused.value.sentence


def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(ThrongError, match="does not answer"):
        TransitKeys("http://127.0.0.1:9/v1/transit", TOKEN).holds(EPOCH)


def test_the_settings_choose_the_provider(tmp_path: Path, server: tuple[str, str]) -> None:
    token = tmp_path / "token"
    token.write_text(f"{server[1]}\n")
    given = {"gateway.keys": server[0], "gateway.keys_token": str(token)}
    assert isinstance(key_provider(load_settings(None, given, {})), TransitKeys)
    assert key_provider(load_settings(None, given, {})).holds(19000101) is False
    assert isinstance(key_provider(load_settings(None, {"gateway.keys": str(tmp_path)}, {})), FileKeys)
    with pytest.raises(ThrongError, match=r"address of a key service: name gateway\.keys_token too"):
        key_provider(load_settings(None, {"gateway.keys": server[0]}, {}))
    with pytest.raises(ThrongError, match="gateway.keys_token"):
        key_provider(load_settings(None, {"gateway.keys": server[0], "gateway.keys_token": str(tmp_path / "no")}, {}))
    with pytest.raises(ThrongError, match="not like https"):
        key_provider(load_settings(None, {"gateway.keys": "ftp://x", "gateway.keys_token": str(token)}, {}))
