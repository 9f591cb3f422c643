"""Classifiers in MLflow's model registry, beside the detectors and under a prefix of their own.

Their names never start with the detectors' prefix, so that no stream takes one for a detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from models import registry
from models.classifier.card import BUNDLE_FILES, bundle_digest, load_card, save_card
from models.judging import tracking
from models.registry import RegisteredDetector
from sightline.settings import RegistrySettings


def settings_of(settings: RegistrySettings) -> RegistrySettings:
    """The settings under which classifiers are found: `sightline-classifier.` for the detectors' `sightline.`"""
    prefix = settings.model_prefix.rstrip(".") or "sightline"
    return settings.model_copy(update={"model_prefix": f"{prefix}-classifier."})


def register(
    folder: Path,
    settings: RegistrySettings,
    *,
    params: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    plots: Path,
    alias: str,
) -> RegisteredDetector:
    """Log the bundle in `folder` and the files in `plots` as a run, register it, and give it `alias`.

    The run's id is written on the card first. Raises RegistryError when the registry cannot be reached or refuses.
    """
    card, own = load_card(folder), settings_of(settings)

    def sign(run_id: str) -> str:
        save_card(replace(card, run_id=run_id), folder)
        return bundle_digest(folder)

    found = registry.register_version(
        folder,
        own,
        name=card.name,
        product=card.product,
        sign=sign,
        metrics={"min_confidence": card.min_confidence, "temperature": card.temperature, **card.metrics},
        params=params,
        history=history,
        alias=alias,
    )
    run_id = load_card(folder).run_id
    assert run_id is not None
    registry.add_to_run(run_id, plots, own, metrics={}, artifact_path="plots")
    return found


def fetch(target: str, folder: Path, settings: RegistrySettings) -> Path:
    """The bundle of `PRODUCT`, `PRODUCT@VERSION` or `PRODUCT@ALIAS` at `folder`; a folder of that name goes first.

    Raises RegistryError when there is none, DetectorError when its files were changed.
    """
    if Path(target).is_dir() or len(Path(target).parts) > 1:
        return Path(target)
    own = settings_of(settings)
    return registry.fetch(tracking.find(target, own), folder, own, digest_of=bundle_digest, files=BUNDLE_FILES)
