"""A real browser for the live map, where there is one: chromium from the system, driven by playwright.

`pip install --require-hashes -r tests/browser.txt` and a chromium on the PATH are all it takes.
"""

import importlib.util
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    """Where the browser is; None without it, or without what drives it."""
    if importlib.util.find_spec("playwright") is None:
        return None
    return next((path for name in NAMES if (path := shutil.which(name))), None)


needed = pytest.mark.skipif(found() is None, reason="needs chromium, and playwright from tests/browser.txt")


class Seen:
    """A page, and whatever it did wrong: errors, and addresses that it asked beside those of the server."""

    def __init__(self, page: Any, origin: str) -> None:
        self.page, self.errors = page, []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: "Security Policy" in said.text and self.errors.append(said.text))
        page.on("request", lambda asked: asked.url.startswith(origin) or self.errors.append(f"asked {asked.url}"))

    async def text(self, selector: str) -> str:
        return " ".join((await self.page.inner_text(selector)).split())

    async def until(self, selector: str, words: str, within_s: float = 60) -> None:
        """Wait until an element has these words."""
        has = "([selector, words]) => document.querySelector(selector)?.innerText.includes(words)"
        await self.page.wait_for_function(has, arg=[selector, words], timeout=within_s * 1000)


@asynccontextmanager
async def started() -> AsyncIterator[Any]:
    """A browser."""
    from playwright.async_api import async_playwright

    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=found(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def opened(browser: Any, origin: str, path: str = "/map/", now: str | None = None) -> AsyncIterator[Seen]:
    """A page of the server, with a profile of its own that knows nothing yet. `now`: where its clock stands still."""
    profile = await browser.new_context(viewport={"width": 1360, "height": 900})
    try:
        seen = Seen(await profile.new_page(), origin)
        if now is not None:
            await seen.page.clock.set_fixed_time(now)
        await seen.page.goto(origin + path)
        yield seen
        assert seen.errors == []
    finally:
        await profile.close()
