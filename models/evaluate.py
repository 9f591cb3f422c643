"""How well a detector tells good from bad, on labelled frames."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_auc_score

from models import dataset
from models.dataset import Sample
from models.runtime.scorer import Scores

_PIXEL_SIZE = 256
"""Side at which maps and masks are compared."""


def evaluate(samples: Sequence[Sample], scores: Scores, threshold: float) -> dict[str, float]:
    """Metrics of `scores`, in the order of `samples`; those that the labels cannot give are left out.

    `image_auroc`, `f1` and `false_alarm_rate` at `threshold`, `f1_max` at the best possible one, the confusion matrix
    (defect is positive), `pixel_auroc` over frames with a mask and good ones (Bergmann et al. 2021).
    """
    if not samples:
        return {}
    defect = np.array([sample.kind != dataset.GOOD for sample in samples])
    found = at_threshold(scores.scores, defect, threshold)
    if 0 < defect.sum() < len(defect):
        found["image_auroc"] = float(roc_auc_score(defect, scores.scores))
        found["f1_max"] = _best_f1(defect, scores.scores)
    if (pixels := _pixel_auroc(samples, scores)) is not None:
        found["pixel_auroc"] = pixels
    return found


def at_threshold(scores: NDArray[np.float32], defect: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Confusion matrix, F1 and false-alarm rate of calling everything at or above `threshold` a defect."""
    called = scores >= threshold
    true_positive, false_positive = int((called & defect).sum()), int((called & ~defect).sum())
    false_negative, true_negative = int((~called & defect).sum()), int((~called & ~defect).sum())
    found: dict[str, float] = {
        "true_positives": true_positive,
        "false_positives": false_positive,
        "false_negatives": false_negative,
        "true_negatives": true_negative,
    }
    if defect.any():
        found["f1"] = 2 * true_positive / (2 * true_positive + false_positive + false_negative)
    if not defect.all():
        found["false_alarm_rate"] = false_positive / (false_positive + true_negative)
    return found


def _best_f1(defect: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    precision, recall, _ = precision_recall_curve(defect, scores)
    both = precision + recall
    return float(np.max(2 * precision * recall / np.where(both > 0, both, 1)))


def _pixel_auroc(samples: Sequence[Sample], scores: Scores) -> float | None:
    truth, values = [], []
    for sample, anomaly_map in zip(samples, scores.maps, strict=True):
        if sample.mask is None and sample.kind != dataset.GOOD:
            continue
        size = (_PIXEL_SIZE, _PIXEL_SIZE)
        mask = dataset.load_mask(sample.mask, *size) if sample.mask else np.zeros(size, bool)
        truth.append(mask.ravel())
        values.append(cv2.resize(anomaly_map, size, interpolation=cv2.INTER_LINEAR).ravel())
    if not any(mask.any() for mask in truth):
        return None
    return float(roc_auc_score(np.concatenate(truth), np.concatenate(values)))
