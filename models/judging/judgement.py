"""What is known of a detector once it has been judged; everything that plots and reports show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.dataset import Sample
from models.judging.metrics import KindCount, by_kind, image_metrics, is_defect
from models.judging.thresholds import Thresholds, recalibrated
from models.runtime.card import DetectorCard
from models.runtime.scorer import Backend, Precision
from models.runtime.scores import Scores
from models.runtime.view import View


@dataclass(frozen=True, slots=True)
class Speed:
    """What one call on `batch` frames takes, decoding not included; the median of `calls`."""

    batch: int
    ms_per_frame: float
    frames_per_second: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A detector's scores on labelled frames, and what follows from them.

    `samples` and `scores` are in the same order. `card` is the bundle's; what the frames are called follows
    `thresholds`, which may differ from it. `sizes` are bytes by file name. `command` gives the same report again.
    """

    bundle: Path
    data: Path
    view: View | None = None
    card: DetectorCard
    digest: str
    samples: Sequence[Sample]
    scores: Scores
    thresholds: Thresholds
    metrics: Mapping[str, float]
    kinds: Mapping[str, KindCount]
    speeds: Sequence[Speed]
    sizes: Mapping[str, int]
    backend: Backend
    precision: Precision
    threads: int
    machine: str
    judged_at: datetime
    command: str

    @property
    def defect(self) -> NDArray[np.bool_]:
        """True for each frame that is not good, [N]."""
        return is_defect(self.samples)

    @property
    def new_card(self) -> DetectorCard:
        """The bundle's card with these thresholds and metrics; raises DetectorError where it cannot hold them."""
        return replace(recalibrated(self.card, self.thresholds), metrics=dict(self.metrics))

    def under(self, thresholds: Thresholds) -> Judgement:
        """The same scores, cut elsewhere."""
        scores = self.scores.scores
        return replace(
            self,
            thresholds=thresholds,
            metrics={**self.metrics, **image_metrics(self.defect, scores, thresholds.threshold)},
            kinds=by_kind(self.samples, scores, thresholds.threshold, thresholds.review_threshold),
        )

    def numbers(self) -> dict[str, float]:
        """Everything that can be compared between detectors: metrics, thresholds, speed and size."""
        found = dict(self.metrics)
        found["threshold"] = self.thresholds.threshold
        found["review_threshold"] = self.thresholds.review_threshold
        for speed in self.speeds:
            found[f"ms_per_frame_batch_{speed.batch}"] = speed.ms_per_frame
            found[f"frames_per_second_batch_{speed.batch}"] = speed.frames_per_second
        found["size_bytes"] = sum(self.sizes.values())
        return found

    def summary(self) -> dict[str, object]:
        """`metrics.json`: the numbers, and what they rest on."""
        return {
            "detector": {"name": self.card.name, "method": self.card.method, "digest": self.digest},
            "data": str(self.data),
            "frames": len(self.samples),
            "metrics": dict(self.metrics),
            "thresholds": {
                "threshold": self.thresholds.threshold,
                "review_threshold": self.thresholds.review_threshold,
                **self.thresholds.on_card(),
            },
            "kinds": {kind: asdict(count) for kind, count in self.kinds.items()},
            "speeds": [asdict(speed) for speed in self.speeds],
            "sizes": dict(self.sizes),
            "backend": self.backend,
            "precision": self.precision,
            "threads": self.threads,
            "machine": self.machine,
            "judged_at": self.judged_at.isoformat(),
            "command": self.command,
        }
