"""Heads that remember good vectors: nearest neighbour, PatchCore's coreset, local outlier factor."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MemoryBank(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Distance to the nearest of `bank` [B, d], over the root of d (Roth et al. 2022, arXiv:2106.08265)."""

    bank: Tensor

    def __init__(self, bank: Tensor) -> None:
        super().__init__()
        self.register_buffer("bank", bank)

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 [M, d] to [M]."""
        return squared_distances(vectors, self.bank).amin(dim=1).div(self.bank.shape[1]).sqrt()


class LocalOutlierFactor(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """How much thinner the bank is around a vector than around its neighbours (Breunig et al. 2000); about 1 is usual.

    `bank` [B, d], `reach` [B] the distance of each to its k-th neighbour, `density` [B] its local reachability density.
    """

    bank: Tensor
    reach: Tensor
    density: Tensor

    def __init__(self, bank: Tensor, reach: Tensor, density: Tensor, k: int) -> None:
        super().__init__()
        self.register_buffer("bank", bank)
        self.register_buffer("reach", reach)
        self.register_buffer("density", density)
        self.k = k

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 [M, d] to [M]."""
        nearest = torch.topk(squared_distances(vectors, self.bank), self.k, dim=1, largest=False)
        reached = torch.maximum(nearest.values.sqrt(), self.reach[nearest.indices])
        return self.density[nearest.indices].mean(dim=1) * reached.mean(dim=1)

    @classmethod
    def fit(cls, bank: Tensor, k: int) -> LocalOutlierFactor:
        """Remember `bank` [B, d], B > k."""
        squared = squared_distances(bank, bank).fill_diagonal_(torch.inf)
        nearest = torch.topk(squared, k, dim=1, largest=False)
        reach = nearest.values[:, -1].sqrt()
        reached = torch.maximum(nearest.values.sqrt(), reach[nearest.indices])
        return cls(bank, reach, 1 / reached.mean(dim=1).clamp_min(1e-10), k)


def squared_distances(vectors: Tensor, bank: Tensor) -> Tensor:
    """Squared Euclidean distances of [M, d] to [B, d], [M, B], by one matrix product; never below 0."""
    products = vectors @ bank.T
    squared = vectors.square().sum(1, keepdim=True) - 2 * products + bank.square().sum(1)
    return squared.clamp_min(0)


def coreset(cells: Tensor, count: int, seed: int, project_to: int = 32) -> Tensor:
    """`count` of `cells` [M, d] that leave no other far from one of them: greedy k-center (Sener & Savarese 2018).

    Distances are taken after a random projection, which keeps them nearly (Johnson & Lindenstrauss 1984), as PatchCore
    does.
    """
    if len(cells) <= count:
        return cells
    generator = torch.Generator().manual_seed(seed)
    small = cells
    if cells.shape[1] > project_to:
        small = cells @ (torch.randn(cells.shape[1], project_to, generator=generator) / project_to**0.5)
    norms = small.square().sum(1)
    chosen = [int(torch.randint(len(cells), (1,), generator=generator))]
    distance = torch.full((len(cells),), torch.inf)
    for _ in range(count - 1):
        last = chosen[-1]
        distance = torch.minimum(distance, norms - 2 * (small @ small[last]) + norms[last])
        chosen.append(int(distance.argmax()))
    return cells[torch.tensor(chosen)]
