"""Registered detectors: what there is, and which of them judges."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, StringConstraints

from console.api.guard import GuardedRoute, needs, remote
from console.api.roles import Role
from console.api.services import Here, Who
from console.api.shapes import Champion, Detector, DetectorDetail, Detectors
from models.registry import RegistryEntry

router = APIRouter(prefix="/v1", tags=["detectors"], route_class=GuardedRoute)

Product = Annotated[str, StringConstraints(pattern=r"^[^\W_][\w.+-]{0,99}$")]
Version = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,8}$")]


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
