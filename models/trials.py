"""Which variants of good frames suit a product: those that make good frames likely which were not learnt.

PaDiM's Gaussians judge, whatever is trained afterwards: it takes seconds, and what suits them suits most methods.
Defects, real or synthetic, have no say, and test pictures are never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from models.features import Features
from models.heads.positional import likelihoods
from models.learning import described
from models.methods import METHODS
from models.preparation import MOST_COPIES, Preparation, Variation
from models.progress import Progress


@dataclass(frozen=True, slots=True)
class Trial:
    """How likely good frames are that were not learnt: mean log-density in nats a channel, at the best shrinkage."""

    preparation: Preparation
    likelihood: float


def run(
    features: Features,
    frames: Sequence[Path],
    plain: Preparation,
    variations: Mapping[Variation, int],
    progress: Progress,
) -> list[Trial]:
    """Try `plain` with each of `variations`, given with its copies of a frame; best first, the earlier one if equal."""
    seed, ridge = features.settings.seed, METHODS["padim"].options["ridge"]
    images = plain.seen(plain.load(frames))
    good = described(features, images).unsqueeze(1)
    trials: list[Trial] = []
    for variation, copies in variations.items():
        progress("trying", len(trials), len(variations))
        tried, learnt = replace(plain, variation=variation, copies=copies), good
        if copies:
            varied = tried.varied(images, seed).reshape(-1, *images.shape[1:])
            learnt = torch.cat([good, described(features, varied).unflatten(0, (len(images), -1))], dim=1)
        trials.append(Trial(tried, float(likelihoods(learnt, ridge).max())))
    progress("trying", len(trials), len(variations))
    return sorted(trials, key=lambda trial: -trial.likelihood)


def copies_for(frames: int, most: int) -> int:
    """Variants of each of `frames` so that `most` pictures are learnt in all."""
    return max(0, min(MOST_COPIES, most // frames - 1))
