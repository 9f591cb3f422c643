"""A picture in, a verdict out: the registered champion or a named version, at once."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from console.api.batching import Scored
from console.api.catalogue import CHAMPION, LoadedDetector
from console.api.guard import GuardedRoute, needs
from console.api.problems import Problem
from console.api.roles import Role
from console.api.routes.detectors import Product, Version
from console.api.services import Here, Services
from console.api.shapes import Judgement
from models.runtime.decode import DecodedFrame, decode
from models.runtime.interpret import heat_map, overlay_thumbnail, regions, verdict
from sightline.contracts import Verdict
from sightline.settings import MAX_MESSAGE_BYTES

router = APIRouter(prefix="/v1", tags=["inspect"], route_class=GuardedRoute)

_TYPES = ("image/jpeg", "application/octet-stream")
_THUMBNAIL_WIDTH = 192


@router.post(
    "/inspect",
    response_model=Judgement,
    max_body_size=MAX_MESSAGE_BYTES,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {name: {"schema": {"type": "string", "format": "binary"}} for name in _TYPES},
        }
    },
)
@needs(Role.OPERATOR)
async def inspect(
    request: Request,
    here: Here,
    product: Annotated[Product, Query()],
    version: Annotated[Version | Literal["champion"], Query()] = CHAMPION,
) -> Response:
    """Judge one JPEG as the stream would, whole frame and without a camera's mask; nothing is stored.

    Requests that come together are scored in one batch.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TYPES:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "media-type",
            f"send the picture itself as image/jpeg, not {kind or 'a body without a type'}",
        )
    jpeg = await request.body()
    if len(jpeg) > here.settings.max_image_bytes:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"the picture has {len(jpeg)} bytes, at most {here.settings.max_image_bytes} are taken; compress it more",
        )
    detector, decoded = await to_thread.run_sync(_decoded, here, product, version, jpeg, limiter=here.decoding)
    scored = await asyncio.wrap_future(detector.batcher.submit(decoded.image))
    return await to_thread.run_sync(_answer, product, detector, decoded, scored, limiter=here.decoding)


def _decoded(here: Services, product: str, version: str, jpeg: bytes) -> tuple[LoadedDetector, DecodedFrame]:
    detector = here.catalogue.loaded(product, version)
    return detector, decode(jpeg, detector.card.input_height, detector.card.input_width)


def _answer(product: str, detector: LoadedDetector, decoded: DecodedFrame, scored: Scored) -> Response:
    """The judgement as JSON: FastAPI would check and write it once more, and while the next pictures wait."""
    judgement = _judgement(product, detector, decoded, scored)
    return Response(judgement.model_dump_json(), media_type="application/json")


def _judgement(product: str, detector: LoadedDetector, decoded: DecodedFrame, scored: Scored) -> Judgement:
    card, seen = detector.card, scored.anomaly_map
    ruling = verdict(scored.score, card)
    height = max(1, min(2 * _THUMBNAIL_WIDTH, round(_THUMBNAIL_WIDTH * decoded.height / decoded.width)))
    return Judgement.model_validate(
        {
            "product": product,
            "detector": detector.ref,
            "width": decoded.width,
            "height": decoded.height,
            "score": scored.score,
            "threshold": card.threshold,
            "verdict": ruling,
            "regions": [] if ruling is Verdict.OK else regions(seen, card, decoded.covered),
            "heat_map": heat_map(seen, card),
            "quality": decoded.quality,
            "thumbnail": overlay_thumbnail(decoded.image, seen, card, _THUMBNAIL_WIDTH, height)
            if ruling is Verdict.DEFECT
            else None,
            "milliseconds": scored.milliseconds,
            "batch": scored.batch,
        }
    )
