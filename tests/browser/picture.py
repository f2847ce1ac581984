"""Take the picture of the live map that the README shows, of the map that `make demo` prints the address of.

python -m tests.browser.picture 'http://127.0.0.1:…/map/#token=…' [docs/img/map.png]
"""

import asyncio
import sys
from pathlib import Path

from tests.support import browser

OUT = Path(__file__).parents[2] / "docs" / "img" / "map.png"


async def taken(address: str, out: Path) -> None:
    """The whole page, with the place chosen that has the most people."""
    origin, slash, path = address.partition("/map/")
    async with browser.started() as chromium, browser.opened(chromium, origin, slash + path) as seen:
        await seen.until("#clock", "people present", within_s=120)
        await seen.page.locator("tbody button").first.click()
        await seen.until("#place", "how long they stay", within_s=120)
        await seen.page.wait_for_timeout(1000)
        await seen.page.screenshot(path=out)


if __name__ == "__main__":
    asyncio.run(taken(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else OUT))
    print("taken")
