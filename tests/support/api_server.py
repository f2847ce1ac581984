"""The API on a port of its own, served as its process does it."""

from typing import Any

from aiohttp.test_utils import TestServer

from streams.api.http import Runner


class ApiServer(TestServer):
    """A server of the API's application."""

    async def _make_runner(self, **settings: Any) -> Runner:
        return Runner(self.app, **settings)
