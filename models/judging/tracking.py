"""Judgements and the registry: which detector is meant, and its run as the place where judgements are kept."""

from __future__ import annotations

from pathlib import Path

from models import registry
from models.judging.judgement import Judgement
from models.registry import find as find
from sightline.errors import RegistryError
from sightline.settings import RegistrySettings

METRIC_PREFIX = "evaluated/"
"""Set before the names of metrics, so that those of training, which `sightline detectors` lists, stay as they were."""

_ARTIFACTS = "evaluations"


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
