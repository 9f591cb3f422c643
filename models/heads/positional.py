"""PaDiM: one Gaussian of image features at each position (Defard et al. 2020, arXiv:2011.08785).

The covariance at each position is shrunk towards the mean covariance of all positions, because 30 images alone do not
determine 100 × 100 numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_AT_ONCE = 128
"""Positions whose centred features are in memory together."""


class PositionalGaussian(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Mahalanobis distance over the root of d at each cell: about 1 is usual.

    `mean` is [g², 1, d], `whitening` [g², d, d]: (x - mean) @ whitening has unit covariance at its position.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, mean: Tensor, whitening: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("whitening", whitening)

    def forward(self, features: Tensor) -> Tensor:
        """float32 [N, d, g, g] to maps [N, g, g]."""
        cells = features.flatten(2).permute(2, 0, 1)
        whitened = torch.matmul(cells - self.mean, self.whitening)
        return whitened.square().mean(dim=2).sqrt().permute(1, 0).unflatten(1, features.shape[2:])

    @classmethod
    def fit(cls, features: Tensor, shrinkage: float, ridge: float) -> PositionalGaussian:
        """From good pictures' features [N, d, g, g], N ≥ 2.

        `shrinkage` is the weight of the mean covariance, `ridge` is added to the diagonal.
        """
        count, dimensions = features.shape[:2]
        cells = features.flatten(2)
        mean = cells.mean(dim=0).T.unsqueeze(1).contiguous()
        covariance = torch.empty(cells.shape[2], dimensions, dimensions)
        for part in torch.arange(cells.shape[2]).split(_AT_ONCE):
            centred = cells[:, :, part].permute(2, 0, 1) - mean[part]
            covariance[part] = centred.transpose(1, 2) @ centred / (count - 1)
        unit = torch.eye(dimensions)
        shared = covariance.mean(dim=0)
        covariance.mul_(1 - shrinkage).add_(shrinkage * shared).add_(ridge * unit)
        lower = torch.linalg.cholesky(covariance)
        # the transposed inverse of the Cholesky factor whitens row vectors
        whitening = torch.linalg.solve_triangular(lower, unit.expand_as(lower), upper=False).transpose(1, 2)
        return cls(mean, whitening.contiguous())
