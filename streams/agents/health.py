"""What a worker says of itself over HTTP: `/metrics`, `/healthz` and `/readyz`.

Health is being able to answer at all. Readiness is a list of reasons why the worker does not do its job right now;
it is ready when the list is empty. A role adds a reason under a name and takes it away when it is over.
"""

import errno
import logging
import re

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from streams.errors import ThrongError

log = logging.getLogger("throng.health")


class Readiness:
    """Reasons why not, by name. Starts with `starting`."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {"starting": "the worker has not been told yet what to read"}

    def waiting(self, name: str, reason: str) -> None:
        """Not ready because of `reason` until `over(name)`."""
        if _without_numbers(self._reasons.get(name, "")) != _without_numbers(reason):
            log.warning("not ready: %s", reason)
        self._reasons[name] = reason

    def over(self, name: str) -> None:
        """What was said under `name` no longer holds."""
        if self._reasons.pop(name, None) is not None and not self._reasons:
            log.info("ready")

    @property
    def names(self) -> frozenset[str]:
        """The names of the reasons."""
        return frozenset(self._reasons)

    @property
    def reasons(self) -> list[str]:
        """Why the worker isn't ready; empty if it is."""
        return list(self._reasons.values())


def _without_numbers(reason: str) -> str:
    """A reason that counts seconds is logged once, not each second."""
    return re.sub(r"\d+", "", reason)


def cannot_listen(host: str, port: int, setting: str, error: OSError) -> ThrongError:
    """What to tell a user of a port that can't be had. `setting`: the variable that chooses it."""
    if error.errno == errno.EADDRINUSE:
        return ThrongError("port", f"port {port} is taken: choose another with {setting}, or 0 for a free one")
    said = f"cannot listen on {host}:{port}: {error.strerror}"
    return ThrongError("port", f"{said}: correct {setting.replace('_PORT', '_HOST')}, or choose another port")


class HealthServer:
    """The HTTP server of one worker."""

    def __init__(
        self, role: str, host: str, port: int, readiness: Readiness, registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._role = role
        self._host = host
        self._port = port
        self._readiness = readiness
        self._registry = registry
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Serve; returns the port.

        Raises:
            ThrongError: `port` if the port is taken.
        """
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise cannot_listen(self._host, self._port, "THRONG_WORKER_HTTP_PORT", error) from error
        port = int(self._runner.addresses[0][1])
        log.info("%s serves metrics and health on http://%s:%d", self._role, self._host, port)
        return port

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        """All of them, or those of `name[]`, as Prometheus' own clients have it: a page of all takes milliseconds."""
        names = request.query.getall("name[]", [])
        chosen = self._registry.restricted_registry(names) if names else self._registry
        return web.Response(body=generate_latest(chosen), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.json_response({"role": self._role, "alive": True})

    async def _readyz(self, _: web.Request) -> web.Response:
        reasons = self._readiness.reasons
        return web.json_response(
            {"role": self._role, "ready": not reasons, "reasons": reasons}, status=503 if reasons else 200
        )
