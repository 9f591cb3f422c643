"""A simulated line as a source of frames."""

from __future__ import annotations

from producers.simulator import LineSimulator
from producers.sources import Captured, now

STRETCH = 10_000_000
"""Parts from one camera's first to the next one's; at 10 frames/s it lasts for eleven days."""


class SimulatedLine:
    """Frames of a rendered product, endless and labelled. Replayable: the same seed renders the same frames.

    The seed is the line: its fixture, its light, its material. Each camera over it looks at a stretch of parts of its
    own, and none at those that `sightline simulate` draws to learn from. It starts anew whenever it is opened.
    """

    live = False
    fps = None

    def __init__(
        self,
        product: str,
        *,
        seed: int,
        width: int,
        height: int,
        defect_rate: float,
        mean_run: float,
        camera: int = 0,
    ) -> None:
        self.name = f"sim:{product}?seed={seed}"
        self.product = product
        self._simulator = LineSimulator(product, seed, width, height, defect_rate=defect_rate, mean_run=mean_run)
        self._first = (camera + 1) * STRETCH
        self._next = self._first

    def open(self) -> None:
        self._next = self._first

    def read(self) -> Captured:
        part = self._simulator.render(self._next)
        self._next += 1
        return Captured(picture=part.image, captured_at=now(), label=part.label, product=part.product)

    def close(self) -> None:
        """Nothing is held."""
