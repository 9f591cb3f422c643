"""Which variants of good frames suit a product: tried on its good frames and on synthetic defects in them.

PaDiM judges in every trial, whatever is trained afterwards: it takes seconds, and suits from which variants most
methods learn. Test pictures are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold
from torch import Tensor

from models.detector import Detector
from models.features import Features
from models.heads.positional import PositionalGaussian
from models.learning import described
from models.methods import METHODS
from models.preparation import MOST_COPIES, Preparation, Variation
from models.scoring import Progress

FRAMES = 48
"""Good frames that take part in trials, at most."""

_FOLDS = 5
_DEFECTS = 4


@dataclass(frozen=True, slots=True)
class Trial:
    """How well one tells good frames from synthetic defects that it has not learnt from: image AUROC."""

    preparation: Preparation
    auroc: float


def run(
    features: Features,
    frames: Sequence[Path],
    plain: Preparation,
    variations: Mapping[Variation, int],
    progress: Progress,
) -> list[Trial]:
    """Try `plain` with each of `variations`, given with its copies of a frame; best first, the earlier one if equal."""
    seed = features.settings.seed
    pictures = plain.load(frames)
    images = plain.seen(pictures)
    good = described(features, images)
    spoilt = described(features, plain.spoilt(pictures, _DEFECTS, seed).images).unflatten(0, (len(images), -1))
    trials: list[Trial] = []
    for variation, copies in variations.items():
        progress("trying", len(trials), len(variations))
        tried = replace(plain, variation=variation, copies=copies)
        varied = tried.varied(images, seed).reshape(-1, *images.shape[1:])
        more = described(features, varied).unflatten(0, (len(images), -1)) if copies else good[:, None][:, :0]
        trials.append(Trial(tried, _auroc(features, good, more, spoilt)))
    progress("trying", len(trials), len(variations))
    return sorted(trials, key=lambda trial: -trial.auroc)


def copies_for(frames: int, most: int) -> int:
    """Variants of each of `frames` so that `most` pictures are learnt in all."""
    return max(0, min(MOST_COPIES, most // frames - 1))


def _auroc(features: Features, good: Tensor, variants: Tensor, spoilt: Tensor) -> float:
    """Mean over folds; `good` [N, d, g, g], `variants` [N, V, d, g, g], `spoilt` [N, S, d, g, g]."""
    judge, found = METHODS["padim"], []
    for learnt, held_out in KFold(min(_FOLDS, len(good))).split(good):
        cells = torch.cat([good[learnt], variants[learnt].flatten(0, 1)])
        head = PositionalGaussian.fit(cells, judge.options["shrinkage"], judge.options["ridge"])
        detector = Detector(features, head, judge.smoothing)
        scores = [detector.judge(part, part)[1] for part in (good[held_out], spoilt[held_out].flatten(0, 1))]
        truth = np.repeat([0, 1], [len(part) for part in scores])
        found.append(roc_auc_score(truth, torch.cat(scores).numpy()))
    return float(np.mean(found))
