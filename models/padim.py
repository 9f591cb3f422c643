"""PaDiM: one Gaussian of image features at each position (Defard et al. 2020, arXiv:2011.08785).

Features of three depths meet on a grid and are brought to `dimensions` channels by a fixed random semi-orthogonal
projection (Kim et al. 2021, arXiv:2105.14737), which varied less from seed to seed than PaDiM's choice of channels. The
covariance at each position is shrunk towards the mean covariance of all positions, because 30 images alone do not
determine 100 × 100 numbers. The anomaly map is the Mahalanobis distance over the root of `dimensions`, so that about 1
is usual, smoothed; the score is its highest value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor, nn

from models import backbone
from models.runtime.card import DetectorCard
from sightline.errors import DetectorError

METHOD = "padim"


@dataclass(frozen=True, slots=True, kw_only=True)
class PadimSettings:
    """What PaDiM is fitted with; the defaults were chosen by measurement (docs/detectors.md).

    `shrinkage` is the weight of the mean covariance, `ridge` is added to its diagonal, `smoothing` is the standard
    deviation of the Gaussian filter in grid cells (0 for none), `stride` is image pixels per grid cell, `variants` is
    how many mild variants of each frame are learnt too where frames are few (`models.augment`).
    """

    backbone: str = backbone.DEFAULT
    input_size: int = 256
    stride: int = 8
    dimensions: int = 100
    shrinkage: float = 0.2
    ridge: float = 0.01
    smoothing: float = 0.7
    variants: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        deepest = backbone.STRIDES[-1]
        if self.input_size % deepest or not 64 <= self.input_size <= 1024:
            raise DetectorError(f"input size is {self.input_size}, expected a multiple of {deepest} from 64 to 1024")
        if self.stride not in backbone.STRIDES:
            raise DetectorError(f"stride is {self.stride}, expected one of {backbone.STRIDES}")
        if self.dimensions < 1:
            raise DetectorError(f"dimensions is {self.dimensions}, expected 1 or more")
        if not 0 <= self.variants <= 16:
            raise DetectorError(f"variants is {self.variants}, expected 0 to 16")
        if not 0 <= self.shrinkage <= 1 or self.ridge <= 0 or self.smoothing < 0:
            raise DetectorError(
                f"shrinkage {self.shrinkage} must be 0 to 1, ridge {self.ridge} above 0, smoothing {self.smoothing} "
                "0 or more"
            )

    @property
    def grid(self) -> int:
        """Rows and columns of the anomaly map."""
        return self.input_size // self.stride


class Embedding(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """uint8 [N, H, W, 3] RGB to float32 [N, dimensions, grid, grid]; frozen, the same for every product."""

    def __init__(self, settings: PadimSettings, *, weights: bool = True) -> None:
        super().__init__()
        base = backbone.load(settings.backbone, weights=weights)
        channels = sum(base.channels)
        if settings.dimensions > channels:
            raise DetectorError(
                f"dimensions is {settings.dimensions}, but backbone {base.name} has {channels} channels; ask for fewer"
            )
        self.backbone = base.module
        self.grid = settings.grid
        self.register_buffer("scale", torch.tensor(base.std).mul(255).reciprocal().view(1, 3, 1, 1))
        self.register_buffer("shift", torch.tensor(base.mean).div(torch.tensor(base.std)).view(1, 3, 1, 1))
        self.projection = nn.Conv2d(channels, settings.dimensions, 1, bias=False)
        self.projection.weight = nn.Parameter(_projection(channels, settings), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.permute(0, 3, 1, 2).float() * self.scale - self.shift
        return self.projection(torch.cat([self._on_grid(level) for level in self.backbone(pixels)], dim=1))

    def _on_grid(self, level: Tensor) -> Tensor:
        size = level.shape[-1]
        if size > self.grid:
            return F.avg_pool2d(level, size // self.grid)
        if size < self.grid:
            return F.interpolate(level, size=(self.grid, self.grid), mode="bilinear", align_corners=False)
        return level


class Padim(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """The whole detector, the one definition that is fitted, exported and kept as the reference.

    uint8 [N, H, W, 3] RGB to (anomaly_map float32 [N, grid, grid], score float32 [N]).
    `mean` is [grid², 1, d], `whitening` [grid², d, d]: (x - mean) @ whitening has unit covariance at its position.
    """

    mean: Tensor
    whitening: Tensor
    kernel: Tensor

    def __init__(self, embedding: Embedding, settings: PadimSettings) -> None:
        super().__init__()
        cells, dimensions = settings.grid**2, settings.dimensions
        self.embedding = embedding
        self.grid = settings.grid
        self.register_buffer("mean", torch.zeros(cells, 1, dimensions))
        self.register_buffer("whitening", torch.zeros(cells, dimensions, dimensions))
        self.register_buffer("kernel", _gaussian(settings.smoothing))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.judge(self.embedding(images))

    def judge(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and scores of embedded images, float32 [N, d, grid, grid]."""
        cells = embedded.flatten(2).permute(2, 0, 1)
        whitened = torch.matmul(cells - self.mean, self.whitening)
        distance = whitened.square().mean(dim=2).sqrt().permute(1, 0)
        maps = self._smooth(distance.reshape(-1, 1, self.grid, self.grid)).squeeze(1)
        return maps, maps.flatten(1).amax(dim=1)

    def _smooth(self, maps: Tensor) -> Tensor:
        radius = self.kernel.shape[0] // 2
        if radius == 0:
            return maps
        maps = F.pad(maps, (radius, radius, radius, radius), mode="replicate")
        return F.conv2d(F.conv2d(maps, self.kernel.view(1, 1, 1, -1)), self.kernel.view(1, 1, -1, 1))


def fit(module: Padim, embedded: Tensor, settings: PadimSettings) -> None:
    """Set `module`'s Gaussians from embedded good images, float32 [N, d, grid, grid], N ≥ 2."""
    count, dimensions = embedded.shape[:2]
    cells = embedded.flatten(2).permute(2, 0, 1)
    mean = cells.mean(dim=1, keepdim=True)
    centred = cells - mean
    covariance = centred.transpose(1, 2) @ centred / (count - 1)
    shared = covariance.mean(dim=0)
    unit = torch.eye(dimensions)
    covariance.mul_(1 - settings.shrinkage).add_(settings.shrinkage * shared).add_(settings.ridge * unit)
    lower = torch.linalg.cholesky(covariance)
    # the transposed inverse of the Cholesky factor whitens row vectors
    whitening = torch.linalg.solve_triangular(lower, unit.expand_as(lower), upper=False).transpose(1, 2)
    module.mean.copy_(mean)
    module.whitening.copy_(whitening)


def load(path: Path, card: DetectorCard) -> Padim:
    """The module whose weights `save` wrote; raises DetectorError when they do not fit the card."""
    try:
        settings = settings_of(card)
        module = Padim(Embedding(settings, weights=False), settings)
        safetensors.torch.load_model(module, path)
    except (OSError, SafetensorError, RuntimeError) as error:
        raise DetectorError(
            f"{path} does not hold the weights that its card describes: {error}; fetch it again"
        ) from error
    module.eval()
    return module


def save(module: Padim, path: Path) -> None:
    """All weights and buffers, as safetensors."""
    safetensors.torch.save_model(module, str(path))


def settings_of(card: DetectorCard) -> PadimSettings:
    """The settings on a card; raises DetectorError naming what is missing."""
    names: Sequence[str] = PadimSettings.__slots__
    try:
        return PadimSettings(**{name: card.parameters[name] for name in names})  # type: ignore[arg-type]
    except KeyError as error:
        raise DetectorError(f"the card of {card.name} has no parameter {error}: train the detector again") from None


def _projection(channels: int, settings: PadimSettings) -> Tensor:
    """Orthonormal rows [d, C, 1, 1], the same for the same seed."""
    generator = torch.Generator().manual_seed(settings.seed)
    basis, _ = torch.linalg.qr(torch.randn(channels, channels, generator=generator))
    return basis[: settings.dimensions].reshape(settings.dimensions, channels, 1, 1).contiguous()


def _gaussian(deviation: float) -> Tensor:
    """Weights of a one-dimensional Gaussian filter, reaching three standard deviations."""
    radius = round(3 * deviation)
    offsets = torch.arange(-radius, radius + 1, dtype=torch.float32)
    weights = torch.exp(-offsets.square() / (2 * deviation**2)) if radius else torch.ones(1)
    return weights / weights.sum()
