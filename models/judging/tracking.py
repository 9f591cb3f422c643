"""Judgements and the registry: which detector is meant, and its run as the place where judgements are kept."""

from __future__ import annotations

from pathlib import Path

from models import registry
from models.judging.judgement import Judgement
from models.registry import CHAMPION, RegisteredDetector
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings

METRIC_PREFIX = "evaluated/"
"""Set before the names of metrics, so that those of training, which `sightline detectors` lists, stay as they were."""

_ARTIFACTS = "evaluations"


def find(target: str, settings: RegistrySettings) -> RegisteredDetector:
    """The detector that `PRODUCT`, `PRODUCT@VERSION` or `PRODUCT@ALIAS` names; without either the champion.

    Raises RegistryError saying which there are.
    """
    product, _, wanted = target.partition("@")
    wanted = wanted or CHAMPION
    known = [entry for entry in registry.entries(settings) if entry.detector.product == registry.check_product(product)]
    for entry in known:
        if wanted == entry.detector.version or wanted in entry.aliases:
            return entry.detector
    there = ", ".join("@".join((product, name)) for entry in known for name in (entry.detector.version, *entry.aliases))
    raise RegistryError(
        f"no detector {product}@{wanted}: "
        + (f"there are {there}" if there else f"none is registered for {product!r}, and there is no such folder")
        + "; list all with `sightline detectors`"
    )


def log(judgement: Judgement, folder: Path, settings: RegistrySettings) -> str:
    """Add the judgement's numbers and the files in `folder` to the detector's run; where they lie in it.

    Each judgement gets a folder of its own; the metrics are those of the last. Raises RegistryError when the detector
    has no run, or the registry cannot be reached.
    """
    run_id = judgement.card.run_id
    if run_id is None:
        raise RegistryError(
            f"{judgement.card.name} has no training run on its card, so there is nowhere to log to; register it with "
            "`sightline train`, or evaluate without logging"
        )
    place = f"{_ARTIFACTS}/{judgement.judged_at:%Y%m%dT%H%M%SZ}"
    metrics = {METRIC_PREFIX + name: float(value) for name, value in judgement.numbers().items()}
    registry.add_to_run(run_id, folder, settings, metrics=metrics, artifact_path=place)
    return place
