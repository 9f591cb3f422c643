"""A whole detector as one module: what is fitted, exported to ONNX and kept as the reference."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.features import Features
from models.heads.student import Student


class Detector(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """uint8 [N, H, W, 3] RGB to (anomaly_map float32 [N, grid, grid], score float32 [N]), the highest value of the map.

    `smoothing` is the standard deviation, in cells, of the Gaussian filter that the map passes; 0 for none.
    """

    kernel: Tensor

    def __init__(self, features: Features, head: nn.Module, smoothing: float) -> None:
        super().__init__()
        self.features = features
        self.head = head
        self.register_buffer("kernel", _gaussian(smoothing), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        pixels = self.features.pixels(images)
        return self.judge(self.features(pixels), pixels)

    def judge(self, features: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and scores of features [N, d, grid, grid]; only a student looks at the normalised pixels as well."""
        maps = self.head(features, pixels) if isinstance(self.head, Student) else self.head(features)
        grid = self.features.settings.grid
        maps = self._smooth(maps.reshape(-1, 1, grid, grid)).reshape(-1, grid, grid)
        return maps, maps.amax(dim=(1, 2))

    def _smooth(self, maps: Tensor) -> Tensor:
        radius = self.kernel.shape[0] // 2
        if radius == 0:
            return maps
        maps = F.pad(maps, (radius, radius, radius, radius), mode="replicate")
        return F.conv2d(F.conv2d(maps, self.kernel.view(1, 1, 1, -1)), self.kernel.view(1, 1, -1, 1))


def _gaussian(deviation: float) -> Tensor:
    """Weights of a one-dimensional Gaussian filter, reaching three standard deviations."""
    radius = round(3 * deviation)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-offsets.square() / (2 * deviation**2)) if radius else torch.ones(1)
    return weights / weights.sum()
