"""The detector that the simulator must defeat: the plain difference from the mean good picture.

A task that this solves needs no learned features, so the variation of the good parts is set to keep it low.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


def mean_difference_auroc(train: Iterable[Bytes], good: Sequence[Bytes], bad: Sequence[Bytes]) -> float:
    """Image AUROC 0…1 of |picture − mean of `train`|, all uint8 [H, W, 3]; the better of its maximum and its mean."""
    pictures = [picture.astype(np.float32) for picture in train]
    mean = np.mean(pictures, axis=0, dtype=np.float32)
    scores = [
        np.array(
            [[difference.max(), difference.mean()] for difference in (np.abs(picture - mean) for picture in group)]
        )
        for group in (good, bad)
    ]
    return max(auroc(scores[0][:, column], scores[1][:, column]) for column in range(2))


def auroc(good: NDArray[np.floating], bad: NDArray[np.floating]) -> float:
    """The share of (good, bad) pairs in which the bad one scores higher; a tie counts half."""
    above = (bad[:, None] > good[None]).mean() + (bad[:, None] == good[None]).mean() / 2
    return float(above)
