"""What a head's vectors stand for: each grid cell by itself, or the whole picture."""

from __future__ import annotations

from torch import Tensor, nn


class Local(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Every cell is judged by `estimator`, whatever its position: parts may lie in any pose."""

    def __init__(self, estimator: nn.Module) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, features: Tensor) -> Tensor:
        """float32 [N, d, g, g] to maps [N, g, g]."""
        count, _, rows, cols = features.shape
        return self.estimator(cells_of(features)).reshape(count, rows, cols)


class Pooled(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """The mean over all cells is judged by `estimator`: a score for the picture, the same at every place of the map."""

    def __init__(self, estimator: nn.Module) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, features: Tensor) -> Tensor:
        """float32 [N, d, g, g] to maps [N, g, g], each of one value."""
        count, _, rows, cols = features.shape
        return self.estimator(pooled(features)).reshape(count, 1, 1).expand(count, rows, cols)


def cells_of(features: Tensor) -> Tensor:
    """[N, d, g, g] to one row a cell, [N·g·g, d]."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def pooled(features: Tensor) -> Tensor:
    """[N, d, g, g] to one row a picture, [N, d]."""
    # over both axes in one step: OpenVINO 2026.4 gave wrong means for a flattened one and more than one picture
    return features.mean(dim=(2, 3))
