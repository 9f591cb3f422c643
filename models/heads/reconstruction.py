"""Heads that learn to rebuild good vectors through a narrow place: what they cannot rebuild was never seen.

Local vectors give deep feature reconstruction (Yang, Shi & Qi 2020, arXiv:2012.07122); pooled ones a plain autoencoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BATCH = 512


class Autoencoder(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Root mean square of what is lost of a standardised vector [d] on its way through `code` numbers."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, hidden: int, code: int) -> None:
        super().__init__()
        dimensions = len(mean)
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.encode = nn.Sequential(nn.Linear(dimensions, hidden), nn.ReLU(), nn.Linear(hidden, code))
        self.decode = nn.Sequential(nn.ReLU(), nn.Linear(code, hidden), nn.ReLU(), nn.Linear(hidden, dimensions))

    def forward(self, vectors: Tensor) -> Tensor:
        """float32 [M, d] to [M]."""
        given = (vectors - self.mean) * self.scale
        return (self.decode(self.encode(given)) - given).square().mean(dim=1).sqrt()

    @classmethod
    def fit(cls, vectors: Tensor, *, code: int, steps: int, seed: int) -> Autoencoder:
        """Train for `steps` batches of 512 on good vectors [M, d]; the same for the same seed."""
        deviation = vectors.std(0)
        scale = 1 / deviation.clamp_min(0.05 * float(deviation.max()) + 1e-3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module = cls(vectors.mean(0), scale, hidden=2 * code, code=code)
            optimiser = torch.optim.AdamW(module.parameters(), lr=2e-3, weight_decay=1e-4)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
            with torch.enable_grad():
                for _ in range(steps):
                    batch = vectors[torch.randint(len(vectors), (min(_BATCH, len(vectors)),))]
                    loss = module(batch).square().mean()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    schedule.step()
        module.requires_grad_(requires_grad=False)
        return module
