"""All routers of the pages."""

from __future__ import annotations

from fastapi import APIRouter

from console.web import access, assets

ROUTERS: tuple[APIRouter, ...] = (assets.router, access.router)
"""What `create_app` takes beside the API's."""
