"""From a folder of pictures to a registered detector."""

from __future__ import annotations

import logging
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models import examples, export, integers, registry
from models.dataset import Dataset, data_digest
from models.fitting import Fitted, Recipe, fit, spread
from models.judging.metrics import evaluate
from models.progress import Progress, quiet
from models.registry import RegisteredDetector
from models.runtime.card import (
    GRAPH_FILE,
    LATENCY_BUDGET_MS,
    REFERENCE_FILE,
    DetectorCard,
    is_int8,
    load_card,
    save_card,
)
from models.runtime.graph import INPUT
from models.runtime.onnx_rewriting import BACKBONE
from models.runtime.processor_time import processor_ms
from models.runtime.scorer import Backend, load_scorer
from models.runtime.self_test import picture, save_self_test
from models.runtime.view import View
from models.scoring import score_pictures
from models.trainingset import load_training_set
from sightline.errors import DetectorError
from sightline.settings import RegistrySettings

log = logging.getLogger(__name__)

MAX_FRAMES = 500
"""Good frames that a fit uses at most, evenly spread over the folder: bounds memory at about 2 GB."""

PARITY_TOLERANCE = 1e-3
"""Largest difference between runtimes in a score or a map value, as a share of the threshold."""

INT8_TOLERANCE = 0.1
"""The same for scores of quantised graphs, between OpenVINO and ONNX Runtime.

A value on the edge between two integers falls to either side by the last bit of a float sum, and moves what follows.
"""

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
    mixed_sizes: bool = False,
    progress: Progress | None = None,
) -> Trained:
    """Learn what good frames look like, calibrate, evaluate where labels are, export, prove parity, register.

    `output` is a folder that keeps the bundle as well; `mixed_sizes` takes pictures of several sizes. Raises
    SourceError for the pictures, DetectorError for a detector that cannot be trusted, RegistryError when it cannot be
    registered.
    """
    registry.check_product(product)
    progress = progress or quiet
    torch.set_num_threads(threads)
    dataset = load_training_set(data, mixed_sizes=mixed_sizes).dataset
    frames = spread(dataset.good, MAX_FRAMES)
    recipe = recipe or Recipe()
    fitted = fit(frames, recipe, progress)
    with tempfile.TemporaryDirectory(prefix="sightline-bundle-") as temporary:
        bundle = Path(temporary)
        card = _card(dataset, product, registry_settings, fitted)
        save_card(replace(card, latency_budget_ms=recipe.latency_budget_ms), bundle)
        progress("exporting", 0, 1)
        size = fitted.detector.features.settings.side
        export.write(fitted.detector, size, bundle)
        if fitted.ranges is not None:
            _quantise(bundle, fitted.ranges, symmetric=recipe.symmetric)
        progress("exporting", 1, 1)
        prove_parity(bundle, fitted.preparation.load(spread(frames, _PARITY_FRAMES)))
        _evaluate(bundle, dataset, recipe.view, threads, progress)
        _keep_examples(bundle, dataset, recipe.view, threads)
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

    A quantised detector has no PyTorch reference: OpenVINO is compared with ONNX Runtime.

    Raises DetectorError when one is beyond PARITY_TOLERANCE.
    """
    threads = torch.get_num_threads()
    if is_int8(load_card(bundle)):
        return _prove_int8(bundle, images, threads)
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


def _prove_int8(bundle: Path, images: NDArray[np.uint8], threads: int) -> dict[Backend, float]:
    openvino, onnxruntime = (
        load_scorer(bundle, backend, threads).score(images).scores for backend in ("openvino", "onnxruntime")
    )
    difference = float(np.abs(openvino - onnxruntime).max()) / load_card(bundle).threshold
    if not difference <= INT8_TOLERANCE:
        raise DetectorError(
            f"OpenVINO and ONNX Runtime differ by {difference:.1%} of the threshold on the quantised graph, allowed is "
            f"{INT8_TOLERANCE:.0%}: keep the detector in float"
        )
    return {"onnxruntime": difference}


def _quantise(bundle: Path, ranges: NDArray[np.uint8], *, symmetric: bool) -> None:
    """Put integers in place of the backbone's floats; the float reference would be another detector's."""
    feeds = ({INPUT: image[None]} for image in ranges)
    integers.quantise(bundle / GRAPH_FILE, bundle / GRAPH_FILE, feeds, BACKBONE, symmetric=symmetric)
    (bundle / REFERENCE_FILE).unlink()


def _evaluate(bundle: Path, dataset: Dataset, view: View | None, threads: int, progress: Progress) -> None:
    """Add metrics to the card, measured with the runtime that will judge online."""
    if not dataset.test:
        return
    card = load_card(bundle)
    scorer = load_scorer(bundle, threads=threads)
    scores = score_pictures(scorer, [sample.path for sample in dataset.test], "testing", progress, view)
    metrics = evaluate(dataset.test, scores, card.threshold, view)
    save_card(replace(card, metrics=card.metrics | metrics), bundle)


def _keep_examples(bundle: Path, dataset: Dataset, view: View | None, threads: int) -> None:
    """Put the self-test into the bundle; whoever takes the detector over will hold its latency budget against it."""
    scorer = load_scorer(bundle, threads=threads)
    card, found = scorer.card, examples.choose(scorer, dataset, view)
    save_self_test(found, card, bundle)
    if not found:
        log.warning("no picture is clear of the thresholds: the bundle has no self-test", extra={"detector": card.name})
        return
    budget = card.latency_budget_ms or LATENCY_BUDGET_MS
    if (taken := processor_ms(scorer, picture(found[0], card), budget)) > budget:
        log.warning(
            "one picture takes more processor time than the latency budget: a line will refuse the detector",
            extra={"detector": card.name, "taken_ms": round(taken), "budget_ms": budget},
        )


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
