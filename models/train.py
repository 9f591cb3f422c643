"""From a folder of pictures to a registered detector."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models import export, registry
from models.dataset import Dataset, data_digest, read_dataset
from models.fitting import Fitted, Recipe, fit, spread
from models.judging.metrics import evaluate
from models.registry import RegisteredDetector
from models.runtime.card import DetectorCard, load_card, save_card
from models.runtime.scorer import Backend, load_scorer
from models.scoring import Progress, quiet, score_pictures
from sightline.errors import DetectorError
from sightline.settings import RegistrySettings

MAX_FRAMES = 500
"""Good frames that a fit uses at most, evenly spread over the folder: bounds memory at about 2 GB."""

PARITY_TOLERANCE = 1e-3
"""Largest difference between runtimes in a score or a map value, as a share of the threshold."""

_BATCH = 16
_PARITY_FRAMES = 8
_MAP_HEADROOM = 2.0
"""Heat maps are drawn up to this many thresholds."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished detector: its card, and its place in the registry if it was registered."""

    card: DetectorCard
    registered: RegisteredDetector | None


def train(
    data: Path,
    product: str,
    registry_settings: RegistrySettings,
    *,
    recipe: Recipe | None = None,
    threads: int = 2,
    register: bool = True,
    alias: str | None = registry.CHAMPION,
    output: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Learn what good frames look like, calibrate, evaluate where labels are, export, prove parity, register.

    `output` is a folder that keeps the bundle as well. Raises SourceError for the pictures, DetectorError for a
    detector that cannot be trusted, RegistryError when it cannot be registered.
    """
    registry.check_product(product)
    progress = progress or quiet
    torch.set_num_threads(threads)
    dataset = read_dataset(data)
    frames = spread(dataset.good, MAX_FRAMES)
    fitted = fit(frames, recipe or Recipe(), progress)
    with tempfile.TemporaryDirectory(prefix="sightline-bundle-") as temporary:
        bundle = Path(temporary)
        save_card(_card(dataset, product, registry_settings, fitted), bundle)
        progress("exporting", 0, 1)
        size = fitted.detector.features.settings.input_size
        export.write(fitted.detector, size, bundle)
        progress("exporting", 1, 1)
        prove_parity(bundle, fitted.preparation.load(spread(frames, _PARITY_FRAMES)))
        _evaluate(bundle, dataset, threads, progress)
        registered = None
        if register:
            progress("registering", 0, 1)
            card = load_card(bundle)
            registered = registry.log_and_register(
                bundle,
                registry_settings,
                metrics=card.metrics | {"review_threshold": card.review_threshold},
                params=card.parameters | card.calibration | {"method": card.method, "data_digest": card.data_digest},
                alias=alias,
            )
            progress("registering", 1, 1)
        if output:
            shutil.copytree(bundle, output, dirs_exist_ok=True)
        return Trained(load_card(bundle), registered)


def prove_parity(bundle: Path, images: NDArray[np.uint8]) -> dict[Backend, float]:
    """Largest difference of each runtime to PyTorch, as a share of the threshold.

    Raises DetectorError when one is beyond PARITY_TOLERANCE.
    """
    threads = torch.get_num_threads()
    reference = load_scorer(bundle, "torch", threads).score(images)
    threshold = load_card(bundle).threshold
    differences: dict[Backend, float] = {}
    backends: tuple[Backend, ...] = ("onnxruntime", "openvino")
    for backend in backends:
        scores = load_scorer(bundle, backend, threads).score(images)
        difference = max(
            float(np.abs(scores.maps - reference.maps).max()), float(np.abs(scores.scores - reference.scores).max())
        )
        differences[backend] = difference / threshold
        if not differences[backend] <= PARITY_TOLERANCE:
            raise DetectorError(
                f"{backend} differs from PyTorch by {differences[backend]:.1e} of the threshold, allowed is "
                f"{PARITY_TOLERANCE:.0e}: the exported graph cannot be trusted; choose another method or its options"
            )
    return differences


def _evaluate(bundle: Path, dataset: Dataset, threads: int, progress: Progress) -> None:
    """Add metrics to the card, measured with the runtime that will judge online."""
    if not dataset.test:
        return
    card = load_card(bundle)
    scorer = load_scorer(bundle, threads=threads)
    scores = score_pictures(scorer, [sample.path for sample in dataset.test], "testing", progress)
    metrics = evaluate(dataset.test, scores, card.threshold)
    save_card(replace(card, metrics=card.metrics | metrics), bundle)


def _spread(paths: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of `paths`, evenly spaced."""
    if len(paths) <= most:
        return list(paths)
    return [paths[index] for index in np.linspace(0, len(paths) - 1, most).round().astype(int)]


def _card(dataset: Dataset, product: str, registry_settings: RegistrySettings, fitted: Fitted) -> DetectorCard:
    calibration, side = fitted.calibration, fitted.preparation.picture_side
    grid = fitted.detector.features.settings.grid
    return DetectorCard(
        name=registry_settings.model_prefix + product,
        product=product,
        method=fitted.method,
        input_height=side,
        input_width=side,
        color_order="RGB",
        alignment=fitted.preparation.alignment,
        map_rows=grid,
        map_cols=grid,
        threshold=calibration.threshold,
        review_threshold=calibration.review_threshold,
        map_scale=_MAP_HEADROOM * calibration.threshold,
        calibration=calibration.on_card(),
        metrics=dict(fitted.metrics),
        data_digest=data_digest(dataset),
        run_id=None,
        created_at=datetime.now(UTC),
        parameters=dict(fitted.parameters),
    )
