"""A small network that imitates the frozen features on good pictures only (EfficientAD: Batzner et al. 2024, WACV).

Where it fails to imitate, the picture shows what it never saw. As there, only the worst tenth of its errors is learnt
from at each step, so that it does not learn to imitate in general; the autoencoder for logical anomalies is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_BATCH = 8
_HARDEST = 0.1


class Student(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """Root mean square difference to the standardised features [N, d, g, g], from normalised pixels [N, 3, H, W]."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, halvings: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean.view(1, -1, 1, 1))
        self.register_buffer("scale", scale.view(1, -1, 1, 1))
        layers: list[nn.Module] = []
        channels = 3
        for depth in range(halvings):
            out = width * 2**depth
            layers += [nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.ReLU()]
            channels = out
        layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, len(mean), 1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Tensor, pixels: Tensor) -> Tensor:
        """Maps [N, g, g]."""
        return self._squared(features, pixels).mean(dim=1).sqrt()

    def _squared(self, features: Tensor, pixels: Tensor) -> Tensor:
        return ((features - self.mean) * self.scale - self.layers(pixels)).square()

    @classmethod
    def fit(cls, features: Tensor, pixels: Tensor, *, halvings: int, width: int, steps: int, seed: int) -> Student:
        """Imitate `features` [N, d, g, g] of `pixels` [N, 3, H, W], g = H / 2**halvings."""
        mean, deviation = features.mean(dim=(0, 2, 3)), features.std(dim=(0, 2, 3))
        scale = 1 / deviation.clamp_min(1e-3 * float(deviation.max()) + 1e-12)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(seed)
            module = cls(mean, scale, halvings, width)
            optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3, weight_decay=1e-5)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
            for _ in range(steps):
                picked = torch.randint(len(features), (_BATCH,))
                errors = module._squared(features[picked], pixels[picked])
                limit = torch.quantile(errors.detach().flatten()[::7], 1 - _HARDEST)
                loss = errors[errors >= limit].mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        module.eval().requires_grad_(requires_grad=False)
        return module
