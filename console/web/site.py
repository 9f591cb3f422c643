"""All routers of the pages, and the feed of the cameras that belongs to them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from starlette.concurrency import run_in_threadpool

from console.web import access, alerts, assets, detectors, history, live, quality, wall
from console.web.floor_feed import FloorFeed

ROUTERS: tuple[APIRouter, ...] = (
    assets.router,
    access.router,
    live.router,
    wall.router,
    alerts.data,
    alerts.router,
    history.router,
    quality.router,
    detectors.router,
)


def routers(feed: FloorFeed) -> tuple[APIRouter, ...]:
    """What `create_app` takes beside the API's; `feed` ends with the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.floor_feed = feed
        yield
        await run_in_threadpool(feed.stop)

    return (APIRouter(lifespan=lifespan), *ROUTERS)
