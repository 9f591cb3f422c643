"""From a folder of pictures to a registered detector."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models import augment, calibrate, export, padim, registry
from models.calibrate import Calibration, Rates
from models.dataset import Dataset, data_digest, load_images, read_dataset
from models.judging.metrics import evaluate
from models.padim import Embedding, Padim, PadimSettings
from models.registry import RegisteredDetector
from models.runtime.card import DetectorCard, load_card, save_card
from models.runtime.scorer import Backend, Scorer, Scores, load_scorer
from sightline.errors import DetectorError
from sightline.settings import RegistrySettings

MAX_FRAMES = 500
"""Good frames that a fit uses at most, evenly spread over the folder: bounds memory at about 1 GB."""

FEW_FRAMES = 40
"""Below this many good frames their mild variants are learnt too; above, the frames themselves vary enough."""

PARITY_TOLERANCE = 1e-3
"""Largest difference between runtimes in a score or a map value, as a share of the threshold."""

_BATCH = 16
_PARITY_FRAMES = 8
_MAP_HEADROOM = 2.0
"""Heat maps are drawn up to this many thresholds."""

Progress = Callable[[str, int, int], None]
"""Called with the step's name, what is done and what is to do."""


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
    settings: PadimSettings | None = None,
    rates: Rates | None = None,
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
    progress = progress or _quiet
    settings, rates = settings or PadimSettings(), rates or Rates()
    torch.set_num_threads(threads)
    dataset = read_dataset(data)
    module = Padim(Embedding(settings), settings).eval()
    frames = _spread(dataset.good, MAX_FRAMES)
    with torch.inference_mode():
        features = _embed(module, frames, settings, progress)
        calibration = _calibrate(module, features, settings, rates, progress)
        padim.fit(module, features.learnt(slice(None)), settings)
    with tempfile.TemporaryDirectory(prefix="sightline-bundle-") as temporary:
        bundle = Path(temporary)
        save_card(_card(dataset, product, registry_settings, settings, calibration), bundle)
        progress("exporting", 0, 1)
        export.write(module, settings.input_size, bundle)
        progress("exporting", 1, 1)
        prove_parity(bundle, load_images(_spread(frames, _PARITY_FRAMES), settings.input_size, settings.input_size))
        _evaluate(bundle, dataset, threads, progress)
        registered = None
        if register:
            progress("registering", 0, 1)
            card = load_card(bundle)
            registered = registry.log_and_register(
                bundle,
                registry_settings,
                metrics=card.metrics | {"review_threshold": card.review_threshold},
                params=card.parameters | card.calibration | {"data_digest": card.data_digest},
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
                f"{PARITY_TOLERANCE:.0e}: the exported graph cannot be trusted; train with a larger ridge"
            )
    return differences


def _quiet(step: str, done: int, total: int) -> None:
    """Progress for nobody."""


@dataclass(frozen=True, slots=True)
class _Features:
    """Embedded frames [N, d, grid, grid] and their variants [N, V, d, grid, grid], V possibly 0; used by every fold."""

    frames: Tensor
    variants: Tensor

    def learnt(self, part: slice | Tensor) -> Tensor:
        """What is fitted on when the frames of `part` are learnt."""
        return torch.cat([self.frames[part], self.variants[part].flatten(0, 1)])


def _embed(module: Padim, frames: Sequence[Path], settings: PadimSettings, progress: Progress) -> _Features:
    copies = settings.variants if len(frames) < FEW_FRAMES else 0
    shape = (settings.dimensions, settings.grid, settings.grid)
    features = _Features(torch.empty(len(frames), *shape), torch.empty(len(frames), copies, *shape))
    batch = max(1, _BATCH // (1 + copies))
    for start in range(0, len(frames), batch):
        progress("features", start, len(frames))
        part = slice(start, start + batch)
        images = load_images(frames[part], settings.input_size, settings.input_size)
        features.frames[part] = module.embedding(torch.from_numpy(images))
        if copies:
            varied = augment.variants(images, copies, settings.seed + start)
            flat = varied.reshape(-1, *images.shape[1:])
            features.variants[part] = module.embedding(torch.from_numpy(flat)).unflatten(0, varied.shape[:2])
    progress("features", len(frames), len(frames))
    return features


def _calibrate(
    module: Padim, features: _Features, settings: PadimSettings, rates: Rates, progress: Progress
) -> Calibration:
    done, count = 0, len(features.frames)

    def score(learnt: NDArray[np.intp], held_out: NDArray[np.intp]) -> NDArray[np.float32]:
        nonlocal done
        padim.fit(module, features.learnt(torch.from_numpy(learnt)), settings)
        _, scores = module.judge(features.frames[torch.from_numpy(held_out)])
        done += len(held_out)
        progress("calibrating", done, count)
        found: NDArray[np.float32] = scores.numpy()
        return found

    return calibrate.calibrate(*calibrate.held_out_scores(count, score), rates)


def _evaluate(bundle: Path, dataset: Dataset, threads: int, progress: Progress) -> None:
    """Add metrics to the card, measured with the runtime that will judge online."""
    if not dataset.test:
        return
    card = load_card(bundle)
    scorer = load_scorer(bundle, threads=threads)
    scores = _score_files(scorer, [sample.path for sample in dataset.test], progress)
    metrics = evaluate(dataset.test, scores, card.threshold)
    save_card(replace(card, metrics=metrics), bundle)


def _score_files(scorer: Scorer, paths: Sequence[Path], progress: Progress) -> Scores:
    card = scorer.card
    parts = []
    for start in range(0, len(paths), _BATCH):
        progress("testing", start, len(paths))
        parts.append(scorer.score(load_images(paths[start : start + _BATCH], card.input_height, card.input_width)))
    progress("testing", len(paths), len(paths))
    return Scores(np.concatenate([part.maps for part in parts]), np.concatenate([part.scores for part in parts]))


def _spread(paths: Sequence[Path], most: int) -> list[Path]:
    """At most `most` of `paths`, evenly spaced."""
    if len(paths) <= most:
        return list(paths)
    return [paths[index] for index in np.linspace(0, len(paths) - 1, most).round().astype(int)]


def _card(
    dataset: Dataset,
    product: str,
    registry_settings: RegistrySettings,
    settings: PadimSettings,
    calibration: Calibration,
) -> DetectorCard:
    return DetectorCard(
        name=registry_settings.model_prefix + product,
        product=product,
        method=padim.METHOD,
        input_height=settings.input_size,
        input_width=settings.input_size,
        color_order="RGB",
        map_rows=settings.grid,
        map_cols=settings.grid,
        threshold=calibration.threshold,
        review_threshold=calibration.review_threshold,
        map_scale=_MAP_HEADROOM * calibration.threshold,
        calibration=calibration.on_card(),
        metrics={},
        data_digest=data_digest(dataset),
        run_id=None,
        created_at=datetime.now(UTC),
        parameters=asdict(settings),
    )
