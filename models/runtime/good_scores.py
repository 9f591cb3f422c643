"""How rare a score is among good frames, from what a card says of its own thresholds.

A card names two scores and the share of good frames that reaches each: `threshold` with `false_alarm_rate`,
`review_threshold` with `review_rate`. Training takes good scores for a Gumbel distribution (`models.calibrate`; Coles
2001, chapter 3), so the Gumbel distribution through these two points is what the card says of all other scores. It is
exact at the two thresholds, and no better elsewhere than the card's calibration.

This is a tail probability, not the probability of a defect: how scores of defects are spread, and how often defects
come, stands on no card.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models.runtime.card import DetectorCard


@dataclass(frozen=True, slots=True)
class GoodScores:
    """A Gumbel distribution of the scores of good frames, in the detector's unit."""

    location: float
    scale: float

    @classmethod
    def of(cls, card: DetectorCard) -> Self | None:
        """The distribution that `card` stands for; None where it does not state two different rates."""
        alarm, review = (card.calibration.get(name) for name in ("false_alarm_rate", "review_rate"))
        if not isinstance(alarm, float) or not isinstance(review, float) or not 0 < alarm < review < 1:
            return None
        if card.threshold <= card.review_threshold:
            return None
        high, low = _reduced(alarm), _reduced(review)
        scale = (card.threshold - card.review_threshold) / (high - low)
        return cls(card.threshold - high * scale, scale)

    def reaching(self, scores: ArrayLike) -> NDArray[np.float64]:
        """The share of good frames that score at least `scores` [N], from 0 to 1, [N]."""
        reduced = (np.asarray(scores, np.float64) - self.location) / self.scale
        with np.errstate(over="ignore"):
            return np.asarray(-np.expm1(-np.exp(-reduced)), np.float64)


def _reduced(rate: float) -> float:
    """How many scales above the location the value lies that a share `rate` reaches."""
    return -math.log(-math.log1p(-rate))
