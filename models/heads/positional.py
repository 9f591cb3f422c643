"""PaDiM: one Gaussian of image features at each position (Defard et al. 2020, arXiv:2011.08785).

The covariance at each position is shrunk towards the mean covariance of all positions, because 30 images alone do not
determine 100 × 100 numbers. How far, good images say themselves: as far as makes those most likely that a fold has not
seen (cross-validated likelihood; Friedman 1989, "Regularized Discriminant Analysis", JASA 84).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.model_selection import KFold
from torch import Tensor, nn

SHRINKAGES = (0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
"""Weights of the mean covariance that are tried."""

_AT_ONCE = 128
"""Positions whose centred features are in memory together, and those by which a shrinkage is judged."""

_FOLDS = 5


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
        cells = features.flatten(2)
        mean = cells.mean(dim=0).T.unsqueeze(1).contiguous()
        dimensions = cells.shape[1]
        covariance = torch.empty(cells.shape[2], dimensions, dimensions)
        for part in torch.arange(cells.shape[2]).split(_AT_ONCE):
            covariance[part] = _covariance(cells[:, :, part], mean[part])
        lower = torch.linalg.cholesky(_shrunk(covariance, covariance.mean(dim=0), shrinkage, ridge))
        # the transposed inverse of the Cholesky factor whitens row vectors
        unit = torch.eye(dimensions)
        whitening = torch.linalg.solve_triangular(lower, unit.expand_as(lower), upper=False).transpose(1, 2)
        return cls(mean, whitening.contiguous())


def likelihoods(features: Tensor, ridge: float) -> Tensor:
    """How likely each of SHRINKAGES makes good pictures that it has not learnt: log-density in nats a channel, [8].

    `features` [N, 1 + V, d, g, g] are those of N pictures, N ≥ 2, each before its V variants, which are learnt with it
    and never judged. Folds are runs of neighbours, as in `models.calibrate`.
    """
    chosen = torch.randperm(features[0, 0, 0].numel(), generator=torch.Generator().manual_seed(0))[:_AT_ONCE]
    cells = features.flatten(3)[..., chosen]
    found = [
        _log_densities(cells[torch.from_numpy(learnt)].flatten(0, 1), cells[torch.from_numpy(held_out), 0], ridge)
        for learnt, held_out in KFold(min(_FOLDS, len(cells))).split(np.arange(len(cells)))
    ]
    return torch.stack(found).mean(dim=0)


def likeliest_shrinkage(features: Tensor, ridge: float) -> float:
    """The one of SHRINKAGES that `likelihoods` puts first."""
    return SHRINKAGES[int(likelihoods(features, ridge).argmax())]


def _log_densities(learnt: Tensor, held_out: Tensor, ridge: float) -> Tensor:
    """Mean log-density a channel of `held_out` [n, d, P] under Gaussians of `learnt` [M, d, P], [8]."""
    mean = learnt.mean(dim=0).T.unsqueeze(1)
    covariance = _covariance(learnt, mean)
    shared, centred = covariance.mean(dim=0), (held_out.permute(2, 0, 1) - mean).transpose(1, 2)
    found = []
    for shrinkage in SHRINKAGES:
        lower, failed = torch.linalg.cholesky_ex(_shrunk(covariance.clone(), shared, shrinkage, ridge))
        if failed.any():  # too little of what is shared to make it invertible: more will
            found.append(torch.tensor(-math.inf))
            continue
        whitened = torch.linalg.solve_triangular(lower, centred, upper=False)
        log_root = lower.diagonal(dim1=1, dim2=2).log().mean()
        found.append(-0.5 * (whitened.square().mean() + math.log(2 * math.pi)) - log_root)
    return torch.stack(found)


def _covariance(cells: Tensor, mean: Tensor) -> Tensor:
    """Of [M, d, P] about `mean` [P, 1, d]: [P, d, d]."""
    centred = cells.permute(2, 0, 1) - mean
    return centred.transpose(1, 2) @ centred / (len(cells) - 1)


def _shrunk(covariance: Tensor, shared: Tensor, shrinkage: float, ridge: float) -> Tensor:
    """`covariance` [P, d, d], which is overwritten, shrunk towards `shared` [d, d]."""
    return covariance.mul_(1 - shrinkage).add_(shrinkage * shared).add_(ridge * torch.eye(len(shared)))
