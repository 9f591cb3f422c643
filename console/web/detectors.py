"""Detectors: the versions of each product, what is known of one, who judges, and retraining."""

from __future__ import annotations

from itertools import groupby
from pathlib import PurePosixPath
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from console.api.catalogue import CHAMPION
from console.api.guard import needs
from console.api.problems import not_found
from console.api.roles import Role
from console.api.routes.detectors import Product, Version
from console.api.routes.retraining import told
from console.api.services import Here, Services
from console.web.asked import shown
from console.web.pages import PageRoute, page
from models.registry import RegistryEntry

router = APIRouter(prefix="/detectors", route_class=PageRoute, include_in_schema=False)

_PICTURES = (".png", ".jpg", ".jpeg")
_SHOWN = ("image_auroc", "pixel_auroc", "image_pr_auc", "f1", "aupro_30", "false_alarm_rate")
"""Metrics that tell versions apart, in the table; a version's own page has all."""


@router.get("", response_class=HTMLResponse)
@needs(Role.VIEWER)
def detectors(request: Request, here: Here) -> HTMLResponse:
    """Every product with its champion."""
    found = shown(request, here.catalogue.entries)
    products = []
    for product, versions in groupby(found.answer or [], key=lambda entry: entry.detector.product):
        listed = list(versions)
        champion = next((entry for entry in listed if CHAMPION in entry.aliases), None)
        products.append({"product": product, "champion": champion, "versions": listed})
    return page(
        request, "detectors.html.j2", "Detectors", status=found.status, fault=found.fault, products=products,
        shown=_SHOWN,
    )  # fmt: skip


@router.get("/{product}", response_class=HTMLResponse)
@needs(Role.VIEWER)
def detector(request: Request, product: Product, here: Here, version: Version | None = None) -> HTMLResponse:
    """One product's versions, and one of them in full: the champion unless another is named."""
    versions = here.catalogue.entries(product)
    if not versions:
        raise not_found("detector of product", product, "train one with `sightline train DATA --product NAME`")
    chosen = _chosen(versions, version)
    if chosen is None:
        raise not_found(f"version of {product}", version or "", "choose one of the list")
    details = shown(request, lambda: _details(here, chosen))
    engineer = bool(request.state.principal.role.covers(Role.ENGINEER))
    return page(
        request, "detector.html.j2", product, product=product, versions=versions, chosen=chosen, details=details,
        champion=_chosen(versions, None), shown=_SHOWN, engineer=engineer,
        retraining=told(here.retrainings) if engineer else None,
    )  # fmt: skip


def _chosen(versions: list[RegistryEntry], version: str | None) -> RegistryEntry | None:
    if version is not None:
        return next((entry for entry in versions if entry.detector.version == version), None)
    return next((entry for entry in versions if CHAMPION in entry.aliases), versions[0])


def _details(here: Services, chosen: RegistryEntry) -> dict[str, Any]:
    card = here.catalogue.card(chosen)
    files = here.records.files(card)
    return {
        "card": card,
        "gate": here.records.gate(card),
        "plots": [file for file in files if PurePosixPath(file.path).suffix.lower() in _PICTURES],
        "files": [file for file in files if PurePosixPath(file.path).suffix.lower() not in _PICTURES],
    }
