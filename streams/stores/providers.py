"""Which key provider the settings name: a folder of files, or the address of a transit engine.

Another provider is one module that has what `keys.KeyProvider` asks for, and a line here.
"""

from pathlib import Path

from streams.errors import ThrongError
from streams.settings import Settings
from streams.stores.keys import FileKeys, KeyProvider
from streams.stores.transit_keys import TransitKeys


def key_provider(settings: Settings) -> KeyProvider:
    """The provider of gateway.keys; deployments that share one are told apart by their namespace.

    Raises:
        ThrongError: `keys` if its folder can't be used, `config` if its address or its token can't.
    """
    where, namespace = settings.gateway.keys, settings.kafka.namespace
    if "://" not in where:
        return FileKeys(Path(where) / namespace)
    if not settings.gateway.keys_token:
        raise ThrongError("config", "setting gateway.keys is the address of a key service: name gateway.keys_token too")
    try:
        token = Path(settings.gateway.keys_token).read_text().strip()
    except OSError as error:
        raise ThrongError(
            "config", f"cannot read the token of the key service: {error.strerror}; set gateway.keys_token to its file"
        ) from error
    return TransitKeys(where, token, f"throng-{namespace}" if namespace else "throng")
