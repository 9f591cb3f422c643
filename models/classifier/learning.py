"""How a classifier learns: a linear layer on frozen features first, then the last stages of the backbone with it.

Fine-tuning is kept only where the pictures that were kept for choosing say that it helped.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from models.augment import variants
from models.classifier.network import Classifier
from models.dataset import load_images
from models.progress import Progress
from sightline.errors import DetectorError

_BATCH = 16
_STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Inverse regularisation of the linear layer; the validation pictures choose."""
_LEAST_DEVIATION = 0.1
"""Channels that hardly vary are scaled as if they varied by this share of the others: fine-tuning may wake them."""
_MOST_WEIGHT = 10.0
"""A picture of a rare class counts for at most so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How the backbone is fine-tuned; no epochs leave it as it was."""

    epochs: int = 6
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    smoothing: float = 0.05
    """Label smoothing: what is taken from the right class and given to all."""
    share: float = 0.3
    """Share of the backbone's tensors that learn, the last ones."""
    patience: int = 2
    """Epochs without a lower loss after which it ends."""
    pictures: int = 600
    """Pictures an epoch at most; bounds its time."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.patience < 1 or self.pictures < 1:
            raise DetectorError(f"epochs {self.epochs}, patience {self.patience}, pictures {self.pictures}: too few")
        if not (self.learning_rate > 0 and 0 <= self.smoothing < 1 and 0 < self.share <= 1 and self.weight_decay >= 0):
            raise DetectorError(
                f"learning rate {self.learning_rate} must be above 0, smoothing {self.smoothing} a share below 1, "
                f"share {self.share} one above 0"
            )


@dataclass(slots=True)
class Lesson:
    """Pictures [N, H, W, 3] uint8 with their classes [N], to learn from and to choose by."""

    images: NDArray[np.uint8]
    targets: Tensor
    chosen_by: NDArray[np.uint8]
    chosen_targets: Tensor


@dataclass(slots=True)
class History:
    """Loss of each epoch on both kinds of pictures; the first entry is the linear layer alone, `kept` what was kept."""

    learnt: list[float] = field(default_factory=list)
    chosen_by: list[float] = field(default_factory=list)
    kept: int = 0


def load(paths: Sequence[Path], size: int, step: str, progress: Progress) -> NDArray[np.uint8]:
    """The pictures at `paths` as the stream would see them, uint8 [N, size, size, 3]."""
    images = np.empty((len(paths), size, size, 3), np.uint8)
    for start in range(0, len(paths), _BATCH):
        progress(step, start, len(paths))
        images[start : start + _BATCH] = load_images(paths[start : start + _BATCH], size, size)
    progress(step, len(paths), len(paths))
    return images


def learn(classifier: Classifier, lesson: Lesson, tuning: Tuning, progress: Progress) -> History:
    """Fit `classifier` in place; the same for the same pictures and seed."""
    history = History()
    _probe(classifier, lesson, history, tuning, progress)
    if tuning.epochs:
        _tune(classifier, lesson, history, tuning, progress)
    return history


def logits(classifier: Classifier, images: NDArray[np.uint8], step: str, progress: Progress) -> Tensor:
    """float32 [N, C] before temperature."""
    with torch.no_grad():
        return classifier.logits(_pooled(classifier, images, step, progress))


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """What a picture of each class counts: all classes alike in all, within bounds."""
    counts = torch.bincount(targets, minlength=classes).clamp_min(1)
    return (len(targets) / (classes * counts)).clamp_max(_MOST_WEIGHT).float()


def _pooled(classifier: Classifier, images: NDArray[np.uint8], step: str, progress: Progress) -> Tensor:
    parts = []
    for start in range(0, len(images), _BATCH):
        progress(step, start, len(images))
        parts.append(classifier.pooled(torch.from_numpy(images[start : start + _BATCH])))
    progress(step, len(images), len(images))
    return torch.cat(parts)


def _probe(classifier: Classifier, lesson: Lesson, history: History, tuning: Tuning, progress: Progress) -> None:
    """Logistic regression on the features of a backbone that stays as it is."""
    with torch.no_grad():
        learnt = _pooled(classifier, lesson.images, "features", progress)
        chosen_by = _pooled(classifier, lesson.chosen_by, "features 2", progress)
        classifier.mean.copy_(learnt.mean(0))
        deviation = learnt.std(0)
        classifier.deviation.copy_(deviation.clamp_min(_LEAST_DEVIATION * float(deviation.mean())))
        scaled = ((learnt - classifier.mean) / classifier.deviation).double().numpy()
        best = math.inf
        for number, strength in enumerate(_STRENGTHS):
            progress("probing", number, len(_STRENGTHS))
            fit = LogisticRegression(C=strength, class_weight="balanced", max_iter=500, random_state=tuning.seed)
            fit.fit(scaled, lesson.targets.numpy())
            weight, bias = _both_sides(fit)
            before = copy.deepcopy(classifier.linear.state_dict())
            classifier.linear.load_state_dict({"weight": weight, "bias": bias})
            loss = _loss(classifier, chosen_by, lesson.chosen_targets)
            if loss < best:
                best = loss
            else:
                classifier.linear.load_state_dict(before)
        progress("probing", len(_STRENGTHS), len(_STRENGTHS))
        history.chosen_by.append(best)
        history.learnt.append(_loss(classifier, learnt, lesson.targets))


def _both_sides(fit: LogisticRegression) -> tuple[Tensor, Tensor]:
    """Weight [C, D] and bias [C]; of two classes scikit-learn keeps one row, for the second."""
    weight, bias = (torch.from_numpy(part).float() for part in (fit.coef_, fit.intercept_))
    return (weight, bias) if len(bias) > 1 else (torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2)


def _tune(classifier: Classifier, lesson: Lesson, history: History, tuning: Tuning, progress: Progress) -> None:
    backbone = list(classifier.backbone.parameters())
    own = backbone[-math.ceil(tuning.share * len(backbone)) :]
    tuned = [*own, *classifier.linear.parameters()]
    for parameter in tuned:
        parameter.requires_grad_(requires_grad=True)
    optimizer = torch.optim.AdamW(
        [{"params": own}, {"params": list(classifier.linear.parameters()), "weight_decay": 0.0}],
        lr=tuning.learning_rate,
        weight_decay=tuning.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, tuning.epochs)
    weights = class_weights(lesson.targets, classifier.linear.out_features)
    best, best_state = history.chosen_by[0], copy.deepcopy(classifier.state_dict())
    for epoch in range(1, tuning.epochs + 1):
        seen, total = 0, 0.0
        batches = list(_batches(lesson, tuning, epoch))
        for number, rows in enumerate(batches):
            progress(f"epoch {epoch}", number, len(batches) + 1)
            images = variants(lesson.images[rows], 1, tuning.seed + 1000 * epoch + number)[:, 0]
            # statistics of the backbone's normalisation stay: too few pictures to know better
            found = classifier.logits(classifier.pooled(torch.from_numpy(images)))
            loss = F.cross_entropy(found, lesson.targets[rows], weights, label_smoothing=tuning.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen, total = seen + len(rows), total + float(loss.detach()) * len(rows)
        schedule.step()
        with torch.no_grad():
            pooled = _pooled(classifier, lesson.chosen_by, f"epoch {epoch}", lambda *_: None)
            history.chosen_by.append(_loss(classifier, pooled, lesson.chosen_targets))
        history.learnt.append(total / seen)
        progress(f"epoch {epoch}", 1, 1)
        if history.chosen_by[-1] < best:
            best, history.kept, best_state = history.chosen_by[-1], epoch, copy.deepcopy(classifier.state_dict())
        elif epoch - history.kept >= tuning.patience:
            break
    classifier.load_state_dict(best_state)
    for parameter in tuned:
        parameter.requires_grad_(requires_grad=False)


def _batches(lesson: Lesson, tuning: Tuning, epoch: int) -> Iterator[NDArray[np.intp]]:
    order = np.random.default_rng([tuning.seed, epoch]).permutation(len(lesson.images))[: tuning.pictures]
    for start in range(0, len(order), _BATCH):
        yield order[start : start + _BATCH]


def _loss(classifier: Classifier, pooled: Tensor, targets: Tensor) -> float:
    """Log loss, each class counting alike."""
    weights = class_weights(targets, classifier.linear.out_features)
    return float(F.cross_entropy(classifier.logits(pooled), targets, weights))
