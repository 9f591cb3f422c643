"""How right a classifier is, how honest its probabilities are, and from which confidence on it may answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.metrics import accuracy_score, average_precision_score, confusion_matrix, log_loss

_BINS = 10
_TEMPERATURES = (0.2, 10.0)
_NEVER_BELOW = 0.5
_SURE = 0.99

Floats = NDArray[np.float64] | NDArray[np.float32]
Targets = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Quality:
    """`numbers` by name, and `confusion` [C, C + 1]: labels down, answers across, the last column `unknown`."""

    numbers: dict[str, float]
    confusion: NDArray[np.intp]


def measure(probabilities: Floats, targets: Targets, classes: tuple[str, ...], min_confidence: float) -> Quality:
    """Quality of `probabilities` [N, C] against `targets` [N], indices into `classes`.

    `accuracy`, `balanced_accuracy` and `log_loss` are of the most likely class, without `unknown`; `pr_auc` is the mean
    of `pr_auc/CLASS`, the average precision of each class against all others; `ece` see `calibration_error`; `answered`
    is the share that is not `unknown`, `answered_accuracy` how many of these are right.
    """
    found, count = probabilities.argmax(1), len(classes)
    sure = probabilities.max(1) >= min_confidence
    present = np.unique(targets)
    # rows of float32 add up to 1 only nearly, which scikit-learn warns of
    exact = probabilities.astype(np.float64)
    areas = {
        f"pr_auc/{classes[index]}": float(average_precision_score(targets == index, probabilities[:, index]))
        for index in present
    }
    numbers = {
        "accuracy": float(accuracy_score(targets, found)),
        "balanced_accuracy": float(np.mean([(found[targets == index] == index).mean() for index in present])),
        "log_loss": float(log_loss(targets, exact / exact.sum(1, keepdims=True), labels=range(count))),
        "pr_auc": float(np.mean(list(areas.values()))),
        "ece": calibration_error(probabilities, targets),
        "answered": float(sure.mean()),
    } | areas
    if sure.any():
        numbers["answered_accuracy"] = float((found == targets)[sure].mean())
    table = confusion_matrix(targets, np.where(sure, found, count), labels=range(count + 1))
    return Quality(numbers, table[:count])


def calibration_error(probabilities: Floats, targets: Targets) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599): confidence less accuracy, over ten equal bins."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == targets
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(float(confidence[own].mean() - right[own].mean())) * own.mean() for own in (bins == b for b in set(bins))
    ]
    return float(sum(gaps))


def fit_temperature(logits: Floats, targets: Targets) -> float:
    """The temperature that makes `logits` [N, C] / temperature most likely (Guo et al. 2017).

    Targets are softened as Platt (1999) does, by how many there are: where all are right, certainty would be chosen.
    """
    count, classes = logits.shape
    doubt = 1 / (count + 2)
    wanted = np.full((count, classes), doubt / (classes - 1))
    wanted[np.arange(count), targets] = 1 - doubt

    def loss(log_temperature: float) -> float:
        return -float((wanted * log_softmax(logits / np.exp(log_temperature), axis=1)).sum(1).mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log(_TEMPERATURES), method="bounded").x))


def least_confidence(probabilities: Floats, targets: Targets, error_rate: float) -> float:
    """The lowest confidence from which on at most `error_rate` of the answers are wrong, never below 0.5.

    0.99 where there is none.
    """
    confidence = probabilities.max(1).astype(np.float64)
    order = np.argsort(-confidence, kind="stable")
    wrong = (probabilities.argmax(1) != targets)[order].cumsum() / np.arange(1, len(order) + 1)
    allowed = np.flatnonzero(wrong <= error_rate)
    # equal confidences are answered together
    ordered = confidence[order]
    last = [place for place in allowed if place + 1 == len(ordered) or ordered[place + 1] < ordered[place]]
    if not last:
        return _SURE
    end = last[-1]
    edge = 0.0 if end + 1 == len(ordered) else (ordered[end] + ordered[end + 1]) / 2
    return float(np.clip(edge, _NEVER_BELOW, _SURE))
