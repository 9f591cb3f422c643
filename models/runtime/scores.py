"""What a detector says of pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scores:
    """What a detector says of N images: `maps` float32 [N, rows, cols], `scores` float32 [N], both finite."""

    maps: NDArray[np.float32]
    scores: NDArray[np.float32]
