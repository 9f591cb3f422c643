"""From labelled pictures to a registered classifier."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from models import backbone, export, registry
from models.classifier import plots, tracking
from models.classifier.card import (
    GRAPH_FILE,
    PROBABILITIES,
    REFERENCE_FILE,
    ClassifierCard,
    load_card,
    save_card,
    short,
)
from models.classifier.labelled import Labelled, LabelledSet, read_labelled, require_known, split
from models.classifier.learning import History, Lesson, Tuning, learn, load, logits
from models.classifier.metrics import Quality, fit_temperature, least_confidence, measure
from models.classifier.network import Classifier, save
from models.classifier.scorer import load_classifier
from models.dataset import load_images
from models.progress import Progress, quiet
from models.registry import RegisteredDetector
from models.runtime.scorer import Backend
from sightline.errors import DetectorError, SourceError
from sightline.settings import RegistrySettings
from sightline.trainingset import Split

MAX_PICTURES = 2000
"""Pictures that are learnt from at most, evenly spread; bounds memory at about 1 GB."""

PARITY_TOLERANCE = 1e-3
"""Largest difference between runtimes in a probability."""

_PARITY_PICTURES = 8
_CHUNK = 64
"""Pictures in memory at once while a classifier is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is learnt with; `error_rate` is the share of answers that may be wrong, the others being `unknown`."""

    backbone: str = backbone.DEFAULT
    input_size: int = 256
    tuning: Tuning = field(default_factory=Tuning)
    error_rate: float = 0.05
    min_confidence: float | None = None

    def __post_init__(self) -> None:
        if not 64 <= self.input_size <= 1024:
            raise DetectorError(f"input size is {self.input_size}, expected 64 to 1024 pixels")
        if not 0 < self.error_rate < 1 or not 0 <= (self.min_confidence or 0) <= 1:
            raise DetectorError(
                f"error rate {self.error_rate} and confidence {self.min_confidence} must be shares from 0 to 1"
            )


@dataclass(frozen=True, slots=True)
class Trained:
    """A finished classifier: its card, how it looked on pictures it had not seen, and its place in the registry."""

    card: ClassifierCard
    quality: Quality
    history: History
    registered: RegisteredDetector | None


def train(
    data: Path,
    product: str,
    settings: RegistrySettings,
    *,
    course: Course | None = None,
    part_pattern: str | None = None,
    without: Sequence[str] = (),
    threads: int = 2,
    register: bool = True,
    alias: str = registry.CHAMPION,
    output: Path | None = None,
    progress: Progress = quiet,
) -> Trained:
    """Learn the labels of the pictures in `data`, calibrate, measure on parts never seen, export, prove, register.

    `output` keeps bundle and plots. Raises SourceError for the pictures, DetectorError for a classifier that cannot be
    trusted, RegistryError when it cannot be registered.
    """
    registry.check_product(product)
    course = course or Course()
    torch.set_num_threads(threads)
    torch.manual_seed(course.tuning.seed)
    labelled = split(read_labelled(data, part_pattern=part_pattern, without=without), course.tuning.seed)
    classifier = Classifier(course.backbone, len(labelled.classes)).eval()
    classifier.require_size(course.input_size)
    learnt = _spread(labelled.pictures[Split.TRAIN], MAX_PICTURES)
    lesson = _lesson(labelled, learnt, course.input_size, progress)
    history = learn(classifier, lesson, course.tuning, progress)
    found = logits(classifier, lesson.chosen_by, "calibrating", progress).numpy()
    targets = lesson.chosen_targets.numpy()
    temperature = fit_temperature(found, targets)
    classifier.temperature.fill_(temperature)
    calm = torch.softmax(torch.from_numpy(found) / temperature, 1).numpy()
    confidence = course.min_confidence
    if confidence is None:
        confidence = least_confidence(calm, targets, course.error_rate)
    card = ClassifierCard(
        name=tracking.settings_of(settings).model_prefix + product,
        product=product,
        classes=labelled.classes,
        min_confidence=confidence,
        temperature=temperature,
        input_height=course.input_size,
        input_width=course.input_size,
        color_order="RGB",
        backbone=course.backbone,
        metrics={},
        counts=labelled.counts(),
        parameters=_parameters(course, history, len(learnt)),
        data_digest=labelled.digest,
        learnt=tuple(
            sorted(short(one.sha256) for part in (Split.TRAIN, Split.VALIDATION) for one in labelled.pictures[part])
        ),
        run_id=None,
        created_at=datetime.now(UTC),
    )
    with tempfile.TemporaryDirectory(prefix="sightline-classifier-") as temporary:
        bundle, drawn = Path(temporary) / "bundle", Path(temporary) / "plots"
        bundle.mkdir()
        progress("exporting", 0, 1)
        save_card(card, bundle)
        export.write_graph(classifier, course.input_size, bundle / GRAPH_FILE, {PROBABILITIES: (len(card.classes),)})
        save(classifier, bundle / REFERENCE_FILE)
        prove_parity(bundle, lesson.chosen_by[:_PARITY_PICTURES])
        progress("exporting", 1, 1)
        quality, probabilities = _measured(bundle, labelled.pictures[Split.TEST], threads, progress)
        save_card(replace(card, metrics=quality.numbers), bundle)
        draw(card, quality, probabilities, labelled.targets(Split.TEST), drawn, history)
        registered = None
        if register:
            registered = tracking.register(
                bundle,
                settings,
                params=card.parameters | {"classes": ", ".join(card.classes), "data_digest": card.data_digest},
                history={"loss": history.learnt, "validation_loss": history.chosen_by},
                plots=drawn,
                alias=alias,
            )
        if output:
            shutil.copytree(bundle, output, dirs_exist_ok=True)
            shutil.copytree(drawn, output / "plots", dirs_exist_ok=True)
        return Trained(load_card(bundle), quality, history, registered)


def evaluate(
    bundle: Path,
    data: Path,
    *,
    part_pattern: str | None = None,
    without: Sequence[str] = (),
    backend: Backend = "openvino",
    threads: int = 1,
    plots_folder: Path | None = None,
    progress: Progress = quiet,
) -> tuple[Quality, int, int]:
    """Measure a classifier on the labelled pictures of `data` that it has not learnt from.

    Returns the quality, how many pictures it rests on, and how many were left out because they were learnt from. Raises
    SourceError when none remains or a label is not one of the classifier's.
    """
    card = load_card(bundle)
    pictures = read_labelled(data, part_pattern=part_pattern, without=without)
    require_known(pictures, card.classes)
    fresh = [one for one in pictures if not card.has_learnt(one.sha256)]
    if not fresh:
        raise SourceError(
            f"all {len(pictures)} pictures of {data} were learnt from or chosen by: they would flatter; name others"
        )
    quality, probabilities = _measured(bundle, fresh, threads, progress, backend)
    if plots_folder:
        targets = [card.classes.index(one.label) for one in fresh]
        draw(card, quality, probabilities, targets, plots_folder, None)
    return quality, len(fresh), len(pictures) - len(fresh)


def prove_parity(bundle: Path, images: NDArray[np.uint8]) -> dict[Backend, float]:
    """Largest difference of each runtime to PyTorch in a probability; raises DetectorError beyond PARITY_TOLERANCE."""
    threads = torch.get_num_threads()
    reference = load_classifier(bundle, "torch", threads).probabilities(images)
    differences: dict[Backend, float] = {}
    backends: tuple[Backend, ...] = ("onnxruntime", "openvino")
    for backend in backends:
        found = load_classifier(bundle, backend, threads).probabilities(images)
        differences[backend] = float(np.abs(found - reference).max())
        if not differences[backend] <= PARITY_TOLERANCE:
            raise DetectorError(
                f"{backend} differs from PyTorch by {differences[backend]:.1e} in a probability, allowed is "
                f"{PARITY_TOLERANCE:.0e}: the exported graph cannot be trusted; choose another backbone"
            )
    return differences


def draw(
    card: ClassifierCard,
    quality: Quality,
    probabilities: NDArray[np.float32],
    targets: Sequence[int],
    folder: Path,
    history: History | None,
) -> None:
    """Write the plots as PNG into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    truth = np.array(targets, np.intp)
    (folder / "confusion.png").write_bytes(plots.confusion(quality.confusion, card.classes))
    curves = plots.precision_recall(probabilities, truth, card.classes, quality.numbers)
    (folder / "precision_recall.png").write_bytes(curves)
    if history:
        (folder / "loss.png").write_bytes(plots.losses(history))


def _measured(
    bundle: Path, pictures: Sequence[Labelled], threads: int, progress: Progress, backend: Backend = "openvino"
) -> tuple[Quality, NDArray[np.float32]]:
    scorer = load_classifier(bundle, backend, threads)
    card = scorer.card
    parts = []
    for start in range(0, len(pictures), _CHUNK):
        progress("testing", start, len(pictures))
        paths = [one.path for one in pictures[start : start + _CHUNK]]
        parts.append(scorer.probabilities(load_images(paths, card.input_height, card.input_width)))
    progress("testing", len(pictures), len(pictures))
    probabilities = np.concatenate(parts)
    targets = np.array([card.classes.index(one.label) for one in pictures], np.intp)
    return measure(probabilities, targets, card.classes, card.min_confidence), probabilities


def _lesson(labelled: LabelledSet, learnt: Sequence[Labelled], size: int, progress: Progress) -> Lesson:
    chosen_by = labelled.pictures[Split.VALIDATION]

    def classes(pictures: Sequence[Labelled]) -> torch.Tensor:
        return torch.tensor([labelled.classes.index(one.label) for one in pictures])

    return Lesson(
        images=load([one.path for one in learnt], size, "reading", progress),
        targets=classes(learnt),
        chosen_by=load([one.path for one in chosen_by], size, "reading", progress),
        chosen_targets=classes(chosen_by),
    )


def _spread(pictures: Sequence[Labelled], most: int) -> list[Labelled]:
    """At most `most`, evenly spaced; pictures lie by path, so each label keeps its share."""
    if len(pictures) <= most:
        return list(pictures)
    return [pictures[index] for index in np.linspace(0, len(pictures) - 1, most).round().astype(int)]


def _parameters(course: Course, history: History, learnt: int) -> dict[str, str | float | int | bool]:
    tuning = course.tuning
    return {
        "backbone": course.backbone,
        "input_size": course.input_size,
        "seed": tuning.seed,
        "epochs": tuning.epochs,
        "kept_epoch": history.kept,
        "learning_rate": tuning.learning_rate,
        "weight_decay": tuning.weight_decay,
        "label_smoothing": tuning.smoothing,
        "share_tuned": tuning.share,
        "error_rate": course.error_rate,
        "pictures_learnt": learnt,
    }
