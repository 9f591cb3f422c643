"""Scripts, styles and icons, under an address that changes with what they hold, so that browsers may keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from typing import NamedTuple

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from console.api.guard import EVERYONE, GuardedRoute, needs
from console.api.problems import not_found

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


class _Static(NamedTuple):
    """All files by name, and one digest over them: modules that import each other by name keep to one address."""

    digest: str
    files: dict[str, bytes]


def asset(name: str) -> str:
    """The address of a file of `static/`; raises KeyError where there is none, so that a typing error shows at once."""
    static = _static()
    static.files[name]
    return f"/assets/{static.digest}/{name}"


@router.get("/assets/{digest}/{name}", response_class=Response)
@needs(EVERYONE)
def file(digest: str, name: str) -> Response:
    """One file. One that was asked for under an older digest is as it is now, and not kept."""
    static = _static()
    if name not in static.files:
        raise not_found("file", name, "load the page again")
    kept = "public, max-age=31536000, immutable" if digest == static.digest else "no-store"
    return Response(
        static.files[name], media_type=_TYPES["." + name.rpartition(".")[2]], headers={"Cache-Control": kept}
    )


@router.get("/favicon.ico", response_class=RedirectResponse, status_code=HTTPStatus.FOUND)
@needs(EVERYONE)
def icon() -> RedirectResponse:
    """What browsers ask for by themselves."""
    return RedirectResponse(asset("logo.svg"), HTTPStatus.FOUND)


@cache
def _static() -> _Static:
    folder = files("console.web") / "static"
    found = {
        file.name: file.read_bytes()
        for file in sorted(folder.iterdir(), key=lambda file: file.name)
        if "." + file.name.rpartition(".")[2] in _TYPES
    }
    digest = hashlib.sha256()
    for name, data in found.items():
        digest.update(f"{name} {len(data)} ".encode() + data)
    return _Static(digest.hexdigest()[:16], found)
