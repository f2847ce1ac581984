"""A worker's process, where decisions are signed, and the API."""

from typing import Annotated

import msgspec
from msgspec import Meta


class Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One process."""

    http_host: Annotated[str, Meta(description="Address of `/metrics`, `/healthz` and `/readyz`.")] = "127.0.0.1"
    http_port: Annotated[int, Meta(ge=0, le=65535, description="Port of the same; 0 takes a free one and logs it.")] = 0
    log_level: Annotated[
        str, Meta(pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")
    ] = "info"
    stall_s: Annotated[
        int,
        Meta(ge=10, le=3600, description="Lag without any progress after which a worker gives up and exits, s."),
    ] = 120


class Audit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The log of decisions, where they are made (`throng policy`, `throng salts rotate`)."""

    key: Annotated[
        str,
        Meta(
            description="File of the operator's Ed25519 private key (PEM) that decisions are signed by, for `throng "
            "audit verify --key`. Empty: they aren't. Workers need none."
        ),
    ] = ""


class Api(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is served to consumers over HTTP (`throng worker api`)."""

    host: Annotated[
        str, Meta(description="Address of the API. Beyond this machine give it TLS: without, it only warns.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="Port of the API; 0 takes a free one and logs it.")] = 8400
    tokens: Annotated[
        str, Meta(description="File of the tokens' hashes (`throng api token`). Read again when it changes.")
    ] = ".throng/tokens"
    token_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days after which a token ends, unless `throng api token --expires` says.")
    ] = 90
    tls_certificate: Annotated[
        str,
        Meta(
            description="File with the API's certificate and those of who vouches for it, PEM. Empty: plain HTTP. Read "
            "again when it changes."
        ),
    ] = ""
    tls_key: Annotated[str, Meta(description="File with the certificate's key, PEM, without a password.")] = ""
    requests_s: Annotated[
        float, Meta(ge=0.01, le=100_000, description="Requests a second that each token may make in the long run.")
    ] = 10.0
    burst: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Requests that each token may make at once, after a silence.")
    ] = 50
    history_hours: Annotated[
        int, Meta(ge=1, le=168, description="Hours of records at hand, in memory: about 1 KB a record.")
    ] = 24
    feeds: Annotated[int, Meta(ge=1, le=10_000, description="Most live feeds that may be open.")] = 100
    feed_records: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Records that may wait in a feed before it is dropped as too slow.")
    ] = 20_000
