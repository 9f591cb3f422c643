"""How many of the frames that people spoke of a detector gets right, before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.progress import Progress
from models.runtime.scorer import load_scorer
from models.runtime.view import View
from models.scoring import score_pictures
from sightline.retraining import Report, ReportKind
from sightline.trainingset import Split


@dataclass(frozen=True, slots=True)
class Tally:
    """Of `frames` reported ones, how many champion and challenger get right."""

    frames: int
    champion: int
    challenger: int


def tally(
    data: Path, reports: Sequence[Report], champion: Path, challenger: Path, view: View | None, progress: Progress
) -> tuple[dict[str, Tally], dict[str, Tally]]:
    """Tallies by kind: of what is held out (`validation`, `test`), and of what the challenger has learnt (`train`).

    A false alarm is right when the score stays below the detector's own threshold, a defect when it reaches it.
    `champion` and `challenger` are bundles, `data` is the set that the reports' paths are relative to.
    """
    if not reports:
        return {}, {}
    theirs, ours = (_right(bundle, data, reports, view, progress) for bundle in (champion, challenger))
    learnt = np.array([report.split == Split.TRAIN for report in reports])
    kinds = np.array([report.kind.value for report in reports])
    found: list[dict[str, Tally]] = []
    for part in (~learnt, learnt):
        chosen = {kind.value: part & (kinds == kind.value) for kind in ReportKind}
        found.append(
            {
                kind: Tally(int(mask.sum()), int(theirs[mask].sum()), int(ours[mask].sum()))
                for kind, mask in chosen.items()
                if mask.any()
            }
        )
    return found[0], found[1]


def _right(
    bundle: Path, data: Path, reports: Sequence[Report], view: View | None, progress: Progress
) -> NDArray[np.bool_]:
    scorer = load_scorer(bundle)
    scores = score_pictures(scorer, [data / report.path for report in reports], "reports", progress, view).scores
    called = scores >= scorer.card.threshold
    defective = np.array([report.kind is not ReportKind.FALSE_ALARM for report in reports])
    return np.asarray(called == defective)
