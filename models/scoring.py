"""Pictures in files through a scorer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models.dataset import load_images
from models.progress import Progress
from models.runtime.scorer import MAX_BATCH, Scorer
from models.runtime.scores import Scores
from models.runtime.view import View, masked


def score_pictures(
    scorer: Scorer, paths: Sequence[Path], step: str, progress: Progress, view: View | None = None
) -> Scores:
    """Score the pictures at `paths` as the stream would see them, through `view` where their camera has one.

    Raises SourceError naming one that cannot be read.
    """
    card, parts = scorer.card, []
    for start in range(0, len(paths), MAX_BATCH):
        progress(step, start, len(paths))
        images = load_images(paths[start : start + MAX_BATCH], card.input_height, card.input_width, view)
        parts.append(masked(view, scorer.score(images)))
    progress(step, len(paths), len(paths))
    return Scores(np.concatenate([part.maps for part in parts]), np.concatenate([part.scores for part in parts]))
