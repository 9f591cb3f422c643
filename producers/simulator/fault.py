"""A flaw of construction: something of the part is absent, or sits where it should not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np


@dataclass(frozen=True, slots=True)
class Fault:
    """What a product's drawing is told to get wrong.

    `pick` 0…1 chooses which feature, `severity` 0…1 how much of it, `bearing` in radians the direction in which a
    misplaced feature has gone, `turn` −1…1 how far it has twisted.
    """

    kind: Literal["missing", "misplaced"]
    pick: float
    severity: float
    bearing: float
    turn: float

    def one_of(self, count: int) -> int:
        """The index of the chosen feature out of `count`."""
        return min(int(self.pick * count), count - 1)

    def shift(self, least: float, most: float) -> tuple[float, float]:
        """How far the feature has gone in x and y: `least` units at severity 0, `most` at 1."""
        length = least + (most - least) * self.severity
        return length * float(np.cos(self.bearing)), length * float(np.sin(self.bearing))

    def twist(self, least: float, most: float) -> float:
        """How far it has turned, in radians: at least `least`, with severity up to `most`."""
        size = least + (most - least) * self.severity * abs(self.turn)
        return size if self.turn >= 0 else -size
