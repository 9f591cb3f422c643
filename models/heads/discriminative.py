"""A small head taught to tell good cells from spoilt ones, without any real defect.

As in SimpleNet (Liu et al. 2023, arXiv:2303.15140) good features with noise stand for anomalies, and as in
SuperSimpleNet (Rolih et al. 2024, arXiv:2408.03143) only under random shapes; synthetic defects in the pixels
(`models.synthetic`) are learnt beside them. A few small convolutions: the cheapest head to run.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BATCH = 8
_FOCUS = 2.0
"""Exponent of the focal loss (Lin et al. 2017): cells that are already right count little."""
_TOUCHED = 0.15
"""A cell is bad when at least this share of its pixels changed; one that changed less is left out."""


class Discriminator(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Softplus of a logit for each cell: 0 is good, 0.7 is undecided, above that more like the spoilt ones."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, hidden: int) -> None:
        super().__init__()
        dimensions = len(mean)
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        self.layers = nn.Sequential(
            nn.Conv2d(dimensions, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden, padding_mode="replicate"),
            nn.Conv2d(hidden, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """float32 [N, d, g, g] to maps [N, g, g]."""
        return F.softplus(self.logits(features)).squeeze(1)

    def logits(self, features: Tensor) -> Tensor:
        """float32 [N, d, g, g] to [N, 1, g, g]."""
        return self.layers((features - self.mean) * self.scale)

    @classmethod
    def fit(
        cls,
        good: Tensor,
        spoilt: Tensor,
        masks: Tensor,
        *,
        hidden: int,
        steps: int,
        noise: float,
        seed: int,
    ) -> Discriminator:
        """Learn from good features [N, d, g, g] and from those of synthetic defects [S, d, g, g].

        `masks` [S, g, g] is the share of each cell that changed; `noise` is in standard deviations of a channel.
        """
        mean, deviation = good.mean(dim=(0, 2, 3)), good.std(dim=(0, 2, 3))
        scale = 1 / deviation.clamp_min(1e-3 * float(deviation.max()) + 1e-12)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            module = cls(mean, scale, hidden)
            optimiser = torch.optim.AdamW(module.parameters(), lr=2e-3, weight_decay=1e-2)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
            for _ in range(steps):
                batch, truth, counts = _batch(good, spoilt, masks, noise / scale.view(1, -1, 1, 1))
                loss = _focal(module.logits(batch), truth, counts)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        module.eval().requires_grad_(requires_grad=False)
        return module


def _batch(good: Tensor, spoilt: Tensor, masks: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features, truth and weight of every cell [2B, 1, g, g]: good frames partly under noise, and synthetic defects."""
    clean = good[torch.randint(len(good), (_BATCH,))]
    under = _clouds(_BATCH, clean.shape[-1])
    clean = clean + under * noise * torch.randn_like(clean)
    picked = torch.randint(len(spoilt), (_BATCH,))
    share = masks[picked].unsqueeze(1)
    truth = torch.cat([under, (share >= _TOUCHED).float()])
    certain = torch.cat([torch.ones_like(under), ((share >= _TOUCHED) | (share == 0)).float()])
    return torch.cat([clean, spoilt[picked]]), truth, certain


def _clouds(count: int, grid: int) -> Tensor:
    """Random smooth shapes, 0 or 1, [count, 1, grid, grid]; every second picture has none."""
    coarse = torch.randn(count, 1, max(2, grid // 4), max(2, grid // 4))
    smooth = F.interpolate(coarse, size=(grid, grid), mode="bicubic", align_corners=False)
    shapes = (smooth > 1.2).float()
    shapes[::2] = 0
    return shapes


def _focal(logits: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """Focal loss, good and bad cells weighing alike in sum."""
    each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    each = each * (1 - torch.exp(-each)) ** _FOCUS * counts
    bad, fine = truth * counts, (1 - truth) * counts
    return (each * bad).sum() / bad.sum().clamp_min(1) + (each * fine).sum() / fine.sum().clamp_min(1)
