"""The live map: a page that asks this API, by the token of whoever looks at it.

Its files are the package's own and hold no data. Nothing of it comes from elsewhere, and it may talk to nobody but
this server: the headers say so to the browser (Content Security Policy Level 3). The token comes with the address,
behind `#`, which browsers send to nobody, or is typed in; so nothing of it is in a log or a cookie.
"""

from importlib.resources import files
from typing import Final

from aiohttp import web

MAP: Final = "/map/"
KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def page() -> list[web.RouteDef]:
    """Routes of the page and of what it is made of; the server's root leads to it."""
    held = {file.name: file.read_bytes() for file in (files(__package__) / "map").iterdir() if file.is_file()}

    async def told(request: web.Request) -> web.Response:
        name = request.match_info["name"] or "index.html"
        if name not in held:
            raise web.HTTPNotFound
        kind = KINDS[name[name.rindex(".") :]]
        return web.Response(body=held[name], content_type=kind, charset="utf-8", headers=HEADERS)

    async def there(_: web.Request) -> web.Response:
        return web.Response(status=308, headers={**HEADERS, "Location": MAP})

    return [web.get("/", there), web.get("/map", there), web.get(MAP + "{name:[a-z]*[.]?[a-z]*}", told)]
