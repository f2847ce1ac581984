"""A key provider: the transit engine of a HashiCorp Vault or an OpenBao, which never gives its keys away.

In: the engine's address, `https://host:8200/v1/transit`, a token, and a prefix for the names of keys. Each epoch has a
transit key of its own (`throng-20260302`), which seals and opens on the server. Destroying it deletes the key there;
before, a key `throng-20260302-destroyed` is made as a tombstone, so that none is made anew. What the token needs:
create, read and delete on `keys/throng-*`, update on `keys/throng-*/config`, `encrypt/throng-*` and `decrypt/throng-*`;
not `create` on `encrypt/*`, with which the server would make a missing key by itself.

What can fail: a server that doesn't answer, or refuses the token (`ThrongError` `keys`).
"""

import base64
import http.client
import json
from typing import Final
from urllib.parse import urlsplit

from schemas.salts import WrappedSalt
from streams.errors import ThrongError
from streams.stores.keys import bound, does_not_open

TIMEOUT_S: Final = 5.0
Answer = tuple[int, dict[str, object]]


class TransitKeys:
    """One transit key an epoch."""

    def __init__(self, address: str, token: str, prefix: str = "throng") -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.strip("/"):
            raise ThrongError("config", f"gateway.keys is {address!r}, not like https://host:8200/v1/transit")
        self._parts = parts
        self._token = token
        self._prefix = prefix

    def look(self) -> None:
        self._is_there(self._name(0))

    def seal(self, epoch: int, secret: bytes) -> WrappedSalt | None:
        if self._is_there(self._tombstone(epoch)):
            return None
        name = self._name(epoch)
        self._ask("POST", f"keys/{name}", {"type": "aes256-gcm96"})
        key_id = f"transit:{name}"
        said = self._ask("POST", f"encrypt/{name}", _texts(plaintext=secret, associated_data=bound(epoch, key_id)))
        return WrappedSalt(epoch, key_id, b"", str(said["ciphertext"]).encode())

    def open(self, wrapped: WrappedSalt) -> bytes | None:
        name = self._name(wrapped.epoch)
        if not self._is_there(name):
            return None
        bind = _texts(associated_data=bound(wrapped.epoch, wrapped.key_id))
        ciphertext = wrapped.sealed.decode(errors="replace")
        code, said = self._send("POST", f"decrypt/{name}", bind | {"ciphertext": ciphertext})
        if code == http.client.BAD_REQUEST:
            raise does_not_open(wrapped.epoch)
        return base64.b64decode(str(_data(self._allowed(code, said))["plaintext"]))

    def holds(self, epoch: int) -> bool:
        return self._is_there(self._name(epoch))

    def destroyed(self, epoch: int) -> bool:
        return self._is_there(self._tombstone(epoch))

    def destroy(self, epoch: int) -> None:
        self._ask("POST", f"keys/{self._tombstone(epoch)}", {"type": "aes256-gcm96"})
        name = self._name(epoch)
        if self._is_there(name):
            self._ask("POST", f"keys/{name}/config", {"deletion_allowed": True})
            self._ask("DELETE", f"keys/{name}")

    def _name(self, epoch: int) -> str:
        return f"{self._prefix}-{epoch}"

    def _tombstone(self, epoch: int) -> str:
        return f"{self._name(epoch)}-destroyed"

    def _is_there(self, name: str) -> bool:
        code, said = self._send("GET", f"keys/{name}")
        if code == http.client.NOT_FOUND:
            return False
        self._allowed(code, said)
        return True

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        return _data(self._allowed(*self._send(method, path, body)))

    def _allowed(self, code: int, said: dict[str, object]) -> dict[str, object]:
        if code >= http.client.BAD_REQUEST:
            what = said.get("errors") or http.client.responses.get(code, "")
            raise ThrongError("keys", f"the key service at {self._parts.hostname} answered {code}: {what}")
        return said

    def _send(self, method: str, path: str, body: dict[str, object] | None = None) -> Answer:
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(self._parts.hostname), self._parts.port, timeout=TIMEOUT_S)
        try:
            headers = {"X-Vault-Token": self._token, "Content-Type": "application/json"}
            whole = f"/{self._parts.path.strip('/')}/{path}"
            connection.request(method, whole, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else {}
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ThrongError(
                "keys",
                f"the key service at {self._parts.hostname} does not answer ({type(error).__name__}): gateway.keys",
            ) from error
        finally:
            connection.close()


def _texts(**secrets: bytes) -> dict[str, object]:
    return {name: base64.b64encode(secret).decode() for name, secret in secrets.items()}


def _data(said: dict[str, object]) -> dict[str, object]:
    data = said.get("data")
    return data if isinstance(data, dict) else {}
