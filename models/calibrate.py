"""A threshold without any known defect: from the scores of good frames that the model has not seen.

Each good frame is scored by a model fitted on the other folds. A score is the highest of many map values, so the tail
of good scores is taken for a Gumbel distribution (Coles 2001, chapter 3), fitted by L-moments (Hosking 1990). A fit to
30 scores is itself uncertain; the threshold is the quantile of the fits to many resamples taken together, so that the
false-alarm rate holds on average, not only for a lucky sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from sklearn.model_selection import KFold

from sightline.errors import DetectorError

METHOD = "gumbel-bootstrap"
MIN_SCORES = 8

FOLDS = 10
"""Fits for a threshold, where a fit is cheap."""

_RESAMPLES = 1000
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Shares of good frames that may be called defect, and defect or review, by chance."""

    false_alarm: float = 0.005
    review: float = 0.025

    @classmethod
    def usual(cls, frames: int) -> Rates:
        """The rates above, or 1 and 3 in `frames` + 1 where that is more: from 199 frames on nothing changes.

        The next of n + 1 exchangeable scores is the highest with probability 1 / (n + 1).
        """
        plain = cls()
        return cls(false_alarm=max(plain.false_alarm, 1 / (frames + 1)), review=max(plain.review, 3 / (frames + 1)))

    def __post_init__(self) -> None:
        if not 1e-6 <= self.false_alarm <= self.review <= 0.5:
            raise DetectorError(
                f"false-alarm rate {self.false_alarm} and review rate {self.review} must be from 0.000001 to 0.5, "
                "the review rate not below the other"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Thresholds and what they rest on."""

    threshold: float
    review_threshold: float
    rates: Rates
    frames: int
    folds: int
    highest: float

    def on_card(self) -> dict[str, str | float | int]:
        """The `calibration` field of a card."""
        return {
            "method": METHOD,
            "false_alarm_rate": self.rates.false_alarm,
            "review_rate": self.rates.review,
            "held_out_frames": self.frames,
            "folds": self.folds,
            "highest_held_out_score": self.highest,
        }


def held_out_scores(
    count: int, score: Callable[[NDArray[np.intp], NDArray[np.intp]], NDArray[np.float32]], folds: int = FOLDS
) -> tuple[NDArray[np.float64], int]:
    """Scores of `count` good frames, each by a model that has not seen it, and the number of folds.

    `score(learnt, held_out)` fits on the first indices and scores the second. Folds are runs of neighbours: frames that
    were taken one after the other look alike, and a twin in the training folds would flatter the score.
    """
    folds = min(folds, count)
    scores = np.empty(count)
    for learnt, held_out in KFold(folds).split(np.arange(count)):
        scores[held_out] = score(learnt, held_out)
    return scores, folds


def calibrate(scores: NDArray[np.float64], folds: int, rates: Rates | None = None) -> Calibration:
    """Thresholds for held-out scores of good frames, at `rates` or the usual ones for so many.

    Raises DetectorError for too few scores or no spread.
    """
    if len(scores) < MIN_SCORES or not np.isfinite(scores).all():
        raise DetectorError(f"{len(scores)} scores of good frames, expected at least {MIN_SCORES}, all finite")
    if np.ptp(scores) < 1e-9 * max(1.0, float(np.abs(scores).max())):
        raise DetectorError(
            f"all {len(scores)} good frames have the score {scores[0]:.4g}: they are copies of one picture; add others"
        )
    rates = rates or Rates.usual(len(scores))
    draws = np.random.default_rng(_SEED).integers(0, len(scores), (_RESAMPLES, len(scores)))
    location, scale = _gumbel(scores[draws])
    return Calibration(
        threshold=_quantile(location, scale, rates.false_alarm),
        review_threshold=_quantile(location, scale, rates.review),
        rates=rates,
        frames=len(scores),
        folds=folds,
        highest=float(scores.max()),
    )


def _gumbel(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Location and scale of a Gumbel distribution for each row, from its first two L-moments."""
    ordered = np.sort(samples, axis=1)
    count = samples.shape[1]
    weights = np.arange(count) / (count - 1)
    first = ordered.mean(axis=1)
    second = 2 * (ordered * weights).mean(axis=1) - first
    # resamples that happen to repeat one value have no spread; give them a hair's breadth
    scale = np.maximum(second / np.log(2), 1e-9 * np.abs(first).max())
    return first - np.euler_gamma * scale, scale


def _quantile(location: NDArray[np.float64], scale: NDArray[np.float64], rate: float) -> float:
    """The value that a draw from the mixture of all fits exceeds with probability `rate`."""
    bounds = stats.gumbel_r.isf(rate, location, scale)

    def excess(value: float) -> float:
        return float(stats.gumbel_r.sf(value, location, scale).mean()) - rate

    return float(optimize.brentq(excess, bounds.min() - 1e-6, bounds.max() + 1e-6))
