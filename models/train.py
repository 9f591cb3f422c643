"""From a folder of pictures to a registered detector."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from models import calibrate, export, registry
from models.calibrate import Calibration, Rates
from models.dataset import Dataset, data_digest, load_images, read_dataset
from models.detector import Detector
from models.features import Features, FeatureSettings
from models.judging.metrics import evaluate
from models.learning import Material, gather
from models.methods import Method, choose, with_options
from models.registry import RegisteredDetector
from models.runtime.card import DetectorCard, load_card, save_card
from models.runtime.scorer import Backend, load_scorer
from models.runtime.view import WHOLE
from models.scoring import Progress, quiet, score_pictures
from sightline.errors import DetectorError
from sightline.settings import RegistrySettings

DEFAULT_METHOD = "padim"

MAX_FRAMES = 500
"""Good frames that a fit uses at most, evenly spread over the folder: bounds memory at about 2 GB."""

FEW_FRAMES = 40
"""Below this many good frames their mild variants are learnt too; above, the frames themselves vary enough."""

FEW_VARIANTS = 4

PICTURES = 600
"""Good ones that a method which learns from synthetic defects sees, variants included, and as many spoilt ones."""

MOST_COPIES = 12

PARITY_TOLERANCE = 1e-3
"""Largest difference between runtimes in a score or a map value, as a share of the threshold."""

_BATCH = 16
_PARITY_FRAMES = 8
_MAP_HEADROOM = 2.0
"""Heat maps are drawn up to this many thresholds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to learn: a method of `models.methods`, and what differs from its defaults."""

    method: str = DEFAULT_METHOD
    features: FeatureSettings | None = None
    options: Mapping[str, float] = field(default_factory=dict)
    smoothing: float | None = None
    rates: Rates = field(default_factory=Rates)


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
    frames = _spread(dataset.good, MAX_FRAMES)
    fitted = fit(frames, recipe or Recipe(), progress)
    with tempfile.TemporaryDirectory(prefix="sightline-bundle-") as temporary:
        bundle = Path(temporary)
        save_card(_card(dataset, product, registry_settings, fitted), bundle)
        progress("exporting", 0, 1)
        size = fitted.detector.features.settings.input_size
        export.write(fitted.detector, size, bundle)
        progress("exporting", 1, 1)
        prove_parity(bundle, load_images(_spread(frames, _PARITY_FRAMES), size, size))
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


@dataclass(frozen=True, slots=True)
class Fitted:
    """A detector that has learnt, its thresholds, and what a card says of how."""

    method: str
    detector: Detector
    calibration: Calibration
    parameters: Mapping[str, str | float | int | bool]
    metrics: Mapping[str, float]


def fit(frames: Sequence[Path], recipe: Recipe, progress: Progress) -> Fitted:
    """Learn from the good pictures at `frames` and calibrate on those that each fold has not seen."""
    method = choose(recipe.method)
    options = with_options(method, recipe.options)
    settings = recipe.features or method.features
    smoothing = method.smoothing if recipe.smoothing is None else recipe.smoothing
    features = Features(settings).eval()
    copies, defects = _copies(method, len(frames))
    with torch.no_grad():
        features.fit(_batches(frames, settings.input_size))
        material = gather(
            features,
            frames,
            variants=copies,
            defects=defects,
            with_pixels=method.pixels,
            seed=settings.seed,
            progress=progress,
        )
        calibration, metrics = _calibrate(features, material, method, options, smoothing, recipe.rates, progress)
        detector = Detector(features, method.fit(material.of(slice(None)), options), smoothing).eval()
    parameters = settings.on_card() | dict(options)
    parameters |= {"channels": features.dimensions, "smoothing": smoothing, "variants": copies, "synthetic": defects}
    parameters |= {WHOLE: method.whole}
    return Fitted(recipe.method, detector, calibration, parameters, metrics)


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


def _copies(method: Method, count: int) -> tuple[int, int]:
    """Variants and synthetic defects of each of `count` frames: one defect at least, to validate with."""
    if method.defects:
        each = max(1, min(MOST_COPIES, PICTURES // count))
        return each - 1, each
    return (FEW_VARIANTS if count < FEW_FRAMES else 0), 1


def _batches(frames: Sequence[Path], size: int) -> Iterator[Tensor]:
    for start in range(0, len(frames), _BATCH):
        yield torch.from_numpy(load_images(frames[start : start + _BATCH], size, size))


def _calibrate(
    features: Features,
    material: Material,
    method: Method,
    options: Mapping[str, float],
    smoothing: float,
    rates: Rates,
    progress: Progress,
) -> tuple[Calibration, dict[str, float]]:
    """Thresholds from frames that a fold has not seen, and how well their synthetic defects are told from them."""
    done, count = 0, len(material)
    spoilt = np.empty((count, material.spoilt.shape[1]), np.float32)

    def score(learnt: NDArray[np.intp], held_out: NDArray[np.intp]) -> NDArray[np.float32]:
        nonlocal done
        detector = Detector(features, method.fit(material.of(learnt), options), smoothing)
        found = _judged(detector, *material.frames(held_out))
        if not method.pixels:
            defects = material.synthetic(held_out)
            spoilt[held_out] = _judged(detector, defects, defects).reshape(len(held_out), -1)
        done += len(held_out)
        progress("calibrating", done, count)
        return found

    scores, folds = calibrate.held_out_scores(count, score, method.folds)
    calibration = calibrate.calibrate(scores, folds, rates)
    if method.pixels:
        return calibration, {}
    truth = np.concatenate([np.zeros(count), np.ones(spoilt.size)])
    auroc = float(roc_auc_score(truth, np.concatenate([scores, spoilt.ravel()])))
    return calibration, {"synthetic_auroc": auroc}


def _judged(detector: Detector, features: Tensor, pixels: Tensor) -> NDArray[np.float32]:
    """Scores of features in batches."""
    parts = [
        detector.judge(features[start : start + _BATCH], pixels[start : start + _BATCH])[1]
        for start in range(0, len(features), _BATCH)
    ]
    found: NDArray[np.float32] = torch.cat(parts).numpy()
    return found


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
    settings, calibration = fitted.detector.features.settings, fitted.calibration
    return DetectorCard(
        name=registry_settings.model_prefix + product,
        product=product,
        method=fitted.method,
        input_height=settings.input_size,
        input_width=settings.input_size,
        color_order="RGB",
        map_rows=settings.grid,
        map_cols=settings.grid,
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
