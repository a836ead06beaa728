"""Folders of files as a plain static web site on loopback, each under its name.

What a static server has, and nothing more: content types, ETag and Last-Modified with 304, `index.html` for a folder,
a redirect to the folder's slash, byte ranges, HEAD, 404. There is no robots.txt and no sitemap unless a folder has it.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send


def create_app(folder: Path, entries: Mapping[str, str]) -> Starlette:
    """`folder/<name>/` as `/<name>/` for each name of `entries`; `/` links to each site's entry page."""
    links = "".join(
        f'<li><a href="/{html.escape(name)}/{html.escape(entry)}">{html.escape(name)}</a></li>\n'
        for name, entry in entries.items()
    )
    page = f'<!DOCTYPE html><html lang="en"><head><title>Sites</title></head><body><ul>\n{links}</ul></body></html>'

    def index(request: Request) -> HTMLResponse:
        return HTMLResponse(page)

    sites = [Mount(f"/{name}", StaticFiles(directory=folder / name, html=True)) for name in entries]
    return Starlette(routes=[Route("/", index), *sites])


def logged(app: ASGIApp, log: TextIO) -> ASGIApp:
    """Append one JSON line a request to `log`: method, path, status, bytes of the body that was sent."""

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        line = {"method": scope["method"], "path": scope["path"], "status": 0, "bytes": 0}

        async def count(message: Message) -> None:
            line["status"] = message.get("status", line["status"])
            line["bytes"] += len(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body"):
                log.write(json.dumps(line) + "\n")
                log.flush()  # before the client can have the end of its answer, and look here
            await send(message)

        await app(scope, receive, count)

    return wrapper


def serve(folder: Path, entries: Mapping[str, str], host: str, port: int, log: Path | None = None) -> None:
    """Serve until interrupted."""
    import uvicorn  # only the server needs it

    app: ASGIApp = create_app(folder, entries)
    if log is not None:
        app = logged(app, log.open("a", encoding="utf-8"))
    print(f"http://{host}:{port}/ serves {', '.join(entries)}", flush=True)
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, lifespan="off", ws="none")
