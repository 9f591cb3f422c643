"""A simulated line as a source of frames."""

from __future__ import annotations

from producers.simulator import LineSimulator
from producers.sources import Captured, now


class SimulatedLine:
    """Frames of a rendered product, endless and labelled. Replayable: the same seed renders the same frames.

    It starts with the first part whenever it is opened.
    """

    live = False
    fps = None

    def __init__(
        self, product: str, *, seed: int, width: int, height: int, defect_rate: float, mean_run: float
    ) -> None:
        self.name = f"sim:{product}?seed={seed}"
        self.product = product
        self._simulator = LineSimulator(product, seed, width, height, defect_rate=defect_rate, mean_run=mean_run)
        self._next = 0

    def open(self) -> None:
        self._next = 0

    def read(self) -> Captured:
        part = self._simulator.render(self._next)
        self._next += 1
        return Captured(picture=part.image, captured_at=now(), label=part.label, product=part.product)

    def close(self) -> None:
        """Nothing is held."""
