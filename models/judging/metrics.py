"""How well a detector tells good from bad, on labelled frames.

Image metrics need scores only. Pixel metrics compare anomaly maps with masks, and rest on one sort of all map values:
between two values of defective pixels a curve can only run level, so its corners lie at those values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from models import dataset
from models.dataset import Sample
from models.runtime.scores import Scores
from models.runtime.view import View

PRO_LIMITS = {"aupro_30": 0.3, "aupro_05": 0.05}
"""Metric name to the pixel false-positive rate up to which per-region overlap is integrated."""

_PIXEL_SIZE = 256
"""Side at which maps and masks are compared."""


@dataclass(frozen=True, slots=True)
class KindCount:
    """What became of the frames of one kind: at or above the threshold, in the review band, below it."""

    frames: int
    found: int
    review: int
    missed: int


@dataclass(frozen=True, slots=True)
class PixelCurves:
    """Corners of two curves over the pixel false-positive rate, all float64 [P], from (0, 0) to (1, 1).

    `recall` is the share of all defective pixels that are called, `overlap` the mean of that share over regions.
    """

    false_positive_rate: NDArray[np.float64]
    recall: NDArray[np.float64]
    overlap: NDArray[np.float64]


def evaluate(samples: Sequence[Sample], scores: Scores, threshold: float, view: View | None = None) -> dict[str, float]:
    """Metrics of `scores`, in the order of `samples`; those that the labels cannot give are left out.

    Those of `image_metrics` at `threshold`, and those of `pixel_metrics`; `view` is what was scored of each frame.
    """
    if not samples:
        return {}
    return image_metrics(is_defect(samples), scores.scores, threshold) | pixel_metrics(samples, scores.maps, view)


def is_defect(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """True for each sample, in their order, that is not good; [N]."""
    return np.array([sample.kind != dataset.GOOD for sample in samples], bool)


def image_metrics(defect: NDArray[np.bool_], scores: NDArray[np.float32], threshold: float) -> dict[str, float]:
    """Metrics of `scores` [N] against the labels `defect` [N], defect being positive.

    What `at_threshold` gives, and where there are frames of both labels `image_auroc`, `image_pr_auc` (average
    precision) and `f1_max`, the F1 at the best possible threshold.
    """
    found = at_threshold(scores, defect, threshold)
    if 0 < defect.sum() < len(defect):
        found["image_auroc"] = float(roc_auc_score(defect, scores))
        found["image_pr_auc"] = float(average_precision_score(defect, scores))
        found["f1_max"] = _best_f1(defect, scores)
    return found


def at_threshold(scores: NDArray[np.float32], defect: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Confusion matrix, accuracy, F1 and false-alarm rate of calling everything at or above `threshold` a defect."""
    called = scores >= np.float64(threshold)
    true_positive, false_positive = int((called & defect).sum()), int((called & ~defect).sum())
    false_negative, true_negative = int((~called & defect).sum()), int((~called & ~defect).sum())
    found: dict[str, float] = {
        "true_positives": true_positive,
        "false_positives": false_positive,
        "false_negatives": false_negative,
        "true_negatives": true_negative,
    }
    if len(scores):
        found["accuracy"] = (true_positive + true_negative) / len(scores)
    if defect.any():
        found["f1"] = 2 * true_positive / (2 * true_positive + false_positive + false_negative)
    if not defect.all():
        found["false_alarm_rate"] = false_positive / (false_positive + true_negative)
    return found


def by_kind(
    samples: Sequence[Sample], scores: NDArray[np.float32], threshold: float, review_threshold: float
) -> dict[str, KindCount]:
    """What became of each kind's frames, by the kind's name; for `good`, `found` counts false alarms."""
    kinds = np.array([sample.kind for sample in samples], str)
    counts = {}
    for kind in sorted(set(kinds.tolist())):
        own = scores[kinds == kind]
        found, passed = int((own >= np.float64(threshold)).sum()), int((own < np.float64(review_threshold)).sum())
        counts[kind] = KindCount(len(own), found, len(own) - found - passed, passed)
    return counts


def pixel_metrics(samples: Sequence[Sample], maps: NDArray[np.float32], view: View | None = None) -> dict[str, float]:
    """`pixel_auroc`, and the area under the per-region overlap for each of PRO_LIMITS; empty without any mask.

    Maps [N, rows, cols] are brought to 256 × 256 bilinearly. Good frames count as masks without a defect; defective
    frames whose mask is missing or empty are left out. Regions are 8-connected (Bergmann et al. 2021, "The MVTec
    Anomaly Detection Dataset", IJCV, section 6.1).
    """
    masks = {index: mask for index, mask in enumerate(_masks(samples, view)) if mask is not None}
    if not any(mask.any() for mask in masks.values()):
        return {}
    size = (_PIXEL_SIZE, _PIXEL_SIZE)
    values = np.empty((len(masks), *size), np.float32)
    for value, index in zip(values, masks, strict=True):
        cv2.resize(maps[index], size, dst=value, interpolation=cv2.INTER_LINEAR)
    curves = pixel_curves(np.stack(list(masks.values())), values)
    if curves is None:
        return {}
    found = {"pixel_auroc": area(curves.false_positive_rate, curves.recall, 1.0)}
    for name, limit in PRO_LIMITS.items():
        found[name] = area(curves.false_positive_rate, curves.overlap, limit)
    return found


def pixel_curves(masks: NDArray[np.bool_], values: NDArray[np.float32]) -> PixelCurves | None:
    """The curves of `values` [N, H, W] against `masks` [N, H, W]; None when all pixels are of one label."""
    sound = values[~masks]
    sound.sort()
    defective, weights = _region_weights(masks, values)
    if not len(sound) or not len(defective):
        return None
    corners, place = np.unique(defective, return_inverse=True)
    recall = np.bincount(place)[::-1].cumsum() / len(defective)
    overlap = np.minimum(np.bincount(place, weights)[::-1].cumsum(), 1.0)
    above, reached = (np.searchsorted(sound, corners[::-1], side) for side in ("right", "left"))
    # at each corner the curve first has the pixels above it, then those that equal it as well
    false_alarms = 1 - np.stack([above, reached], 1).ravel() / len(sound)
    return PixelCurves(
        np.concatenate([[0.0], false_alarms, [1.0]]),
        np.concatenate([[0.0, 0.0], np.repeat(recall, 2)]),
        np.concatenate([[0.0, 0.0], np.repeat(overlap, 2)]),
    )


def area(false_positive_rate: NDArray[np.float64], curve: NDArray[np.float64], limit: float) -> float:
    """Area under `curve` [P] for false-positive rates up to `limit`, over `limit`: 1 is perfect.

    By trapezoids; at `limit` the curve is interpolated. Rates ascend from 0 to 1 and may repeat.
    """
    inside = int(np.searchsorted(false_positive_rate, limit, "right"))
    rates, heights = false_positive_rate[:inside], curve[:inside]
    if inside < len(curve):
        run = false_positive_rate[inside] - rates[-1]
        end = heights[-1] + (curve[inside] - heights[-1]) * (limit - rates[-1]) / run
        rates, heights = np.append(rates, limit), np.append(heights, end)
    return float(np.trapezoid(heights, rates) / limit)


def _best_f1(defect: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    precision, recall, _ = precision_recall_curve(defect, scores)
    both = precision + recall
    return float(np.max(2 * precision * recall / np.where(both > 0, both, 1)))


def _masks(samples: Sequence[Sample], view: View | None) -> Iterator[NDArray[np.bool_] | None]:
    for sample in samples:
        if sample.kind == dataset.GOOD:
            yield np.zeros((_PIXEL_SIZE, _PIXEL_SIZE), bool)
            continue
        mask = dataset.load_mask(sample.mask, _PIXEL_SIZE, _PIXEL_SIZE, view) if sample.mask else None
        yield mask if mask is not None and mask.any() else None


def _region_weights(
    masks: NDArray[np.bool_], values: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Values of defective pixels, and of each the weight that makes every region count alike; both [D]."""
    defective, weights, regions = [], [], 0
    for mask, value in zip(masks, values, strict=True):
        if not mask.any():
            continue
        count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
        sizes = np.bincount(labels.ravel(), minlength=count)
        defective.append(value[mask])
        weights.append(1 / sizes[labels[mask]])
        regions += count - 1
    if not regions:
        return np.empty(0, np.float32), np.empty(0)
    return np.concatenate(defective), np.concatenate(weights) / regions
