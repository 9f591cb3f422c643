"""Registered detectors: what there is, and which of them judges."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, StringConstraints

from console.api.guard import GuardedRoute, needs, remote
from console.api.roles import Role
from console.api.run_records import FILE_TYPES
from console.api.services import Here, Who
from console.api.shapes import Champion, Detector, DetectorDetail, Detectors, Shape
from models.registry import RegistryEntry

router = APIRouter(prefix="/v1", tags=["detectors"], route_class=GuardedRoute)

Product = Annotated[str, StringConstraints(pattern=r"^[\p{L}\p{N}][\p{L}\p{N}_.+-]{0,99}$")]
FilePath = Annotated[str, Query(min_length=1, max_length=500)]
Version = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}$")]


class GateVerdict(BaseModel):
    """`why` has the reasons of a refusal; `champion` is the version that it was compared with."""

    result: str | None = None
    why: str | None = None
    champion: str | None = None
    policy: str | None = None


class RunFile(Shape):
    """`size` in bytes."""

    path: str
    size: int


class RunFiles(BaseModel):
    items: list[RunFile]


class Promotion(BaseModel):
    version: Version


@router.get("/detectors")
@needs(Role.VIEWER)
def detectors(here: Here, product: Product | None = None) -> Detectors:
    """Every registered version, by product, the newest first."""
    return Detectors(items=[Detector(**_facts(entry)) for entry in here.catalogue.entries(product)])


@router.get("/detectors/{product}/{version}")
@needs(Role.VIEWER)
def detector(product: Product, version: Version, here: Here) -> DetectorDetail:
    """One version with the card of its bundle."""
    entry = here.catalogue.entry(product, version)
    return DetectorDetail(**_facts(entry), card=here.catalogue.card(entry))


@router.get("/detectors/{product}/{version}/gate")
@needs(Role.VIEWER)
def gate(product: Product, version: Version, here: Here) -> GateVerdict:
    """What the gate said of a version that a retraining made; `result` is null where no gate judged it."""
    found = here.records.gate(here.catalogue.card(here.catalogue.entry(product, version)))
    return GateVerdict(**found._asdict()) if found else GateVerdict()


@router.get("/detectors/{product}/{version}/files")
@needs(Role.VIEWER)
def files(product: Product, version: Version, here: Here) -> RunFiles:
    """Plots and reports of the version's training run: pictures, JSON, CSV and text."""
    found = here.records.files(here.catalogue.card(here.catalogue.entry(product, version)))
    return RunFiles(items=[RunFile.model_validate(file) for file in found])


@router.get(
    "/detectors/{product}/{version}/file",
    response_class=Response,
    responses={200: {"content": {kind: {} for kind in FILE_TYPES}, "description": "The file"}},
)
@needs(Role.VIEWER)
def file(product: Product, version: Version, here: Here, path: FilePath) -> Response:
    """One of these files, by its `path`."""
    data, kind = here.records.file(here.catalogue.card(here.catalogue.entry(product, version)), path)
    return Response(data, media_type=kind)


@router.post("/detectors/{product}/promote")
@needs(Role.ENGINEER)
def promote(product: Product, body: Promotion, request: Request, here: Here, who: Who) -> Champion:
    """Make a version the champion of its product; a running stream takes it within seconds."""
    champion = here.catalogue.promote(product, body.version)
    here.audit.note("promote", who.name, remote=remote(request), product=product, version=champion.version)
    return Champion.model_validate(champion)


@router.post("/detectors/{product}/rollback")
@needs(Role.ENGINEER)
def rollback(product: Product, request: Request, here: Here, who: Who) -> Champion:
    """Make the champion before this one champion again."""
    champion = here.catalogue.roll_back(product)
    here.audit.note("rollback", who.name, remote=remote(request), product=product, version=champion.version)
    return Champion.model_validate(champion)


def _facts(entry: RegistryEntry) -> dict[str, Any]:
    found = entry.detector
    return {
        "product": found.product,
        "name": found.name,
        "version": found.version,
        "digest": found.digest,
        "aliases": list(entry.aliases),
        "created_at": entry.created_at,
        "metrics": dict(entry.metrics),
        "params": {key: str(value) for key, value in entry.params.items()},
    }
