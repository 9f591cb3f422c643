"""From pixels to one feature vector per grid cell: a frozen backbone, brought to few channels on one grid.

Every detector starts here. Levels of several depths meet on a grid of `stride` pixels a cell. `projection` mixes their
channels by a fixed random semi-orthogonal matrix (Kim et al. 2021, arXiv:2105.14737); `pca` keeps the directions that
explain `variance` of what good frames show. `neighbourhood` averages each level over that many of its cells either way
(Roth et al. 2022, arXiv:2106.08265).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import backbone
from models.backbone import DEFAULT, LEVELS, STRIDES, Backbone
from sightline.errors import DetectorError

Reduction = Literal["projection", "pca"]

MOST_TILES = 4

_PCA_CELLS = 40_000
"""Feature vectors that a PCA looks at, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSettings:
    """Which features, and how many; the defaults are the recipe of docs/detectors.md.

    `stride` is image pixels per grid cell, `levels` are the strides of the backbone's levels in use, `dimensions` is
    the most channels that are kept.
    """

    backbone: str = DEFAULT
    input_size: int = 256
    stride: int = 8
    levels: tuple[int, ...] = STRIDES
    reduction: Reduction = "projection"
    dimensions: int = 100
    variance: float = 0.95
    neighbourhood: int = 1
    seed: int = 0
    tiles: int = 1

    def __post_init__(self) -> None:
        deepest = max(self.levels, default=0)
        if not self.levels or any(level not in LEVELS for level in self.levels):
            raise DetectorError(f"levels are {self.levels}, expected some of {LEVELS}")
        if self.input_size % max(deepest, self.stride) or not 64 <= self.input_size <= 1024:
            raise DetectorError(
                f"input size is {self.input_size}, expected a multiple of {max(deepest, self.stride)} from 64 to 1024"
            )
        if self.stride not in LEVELS:
            raise DetectorError(f"stride is {self.stride}, expected one of {LEVELS}")
        if self.reduction not in ("projection", "pca"):
            raise DetectorError(f"reduction is {self.reduction!r}, expected 'projection' or 'pca'")
        if self.dimensions < 1:
            raise DetectorError(f"dimensions is {self.dimensions}, expected 1 or more")
        if not 0 < self.variance <= 1:
            raise DetectorError(f"variance is {self.variance}, expected a share above 0 and up to 1")
        if self.neighbourhood < 1 or self.neighbourhood % 2 == 0:
            raise DetectorError(f"neighbourhood is {self.neighbourhood}, expected an odd number of cells")

        if not 1 <= self.tiles <= MOST_TILES:
            raise DetectorError(f"tiles is {self.tiles}, expected 1 to {MOST_TILES} a side")

    @property
    def side(self) -> int:
        """Rows and columns of the pictures, in pixels."""
        return self.tiles * self.input_size

    @property
    def grid(self) -> int:
        """Rows and columns of the anomaly map."""
        return self.side // self.stride

    def on_card(self) -> dict[str, str | float | int | bool]:
        """Plain values for a card's `parameters`."""
        return asdict(self) | {"levels": ",".join(map(str, self.levels))}

    @classmethod
    def from_card(cls, parameters: Mapping[str, str | float | int | bool]) -> FeatureSettings:
        """The settings that `on_card` wrote; raises KeyError naming what is missing."""
        # cards of before there were tiles
        given = {"tiles": 1, **parameters}
        chosen = {field.name: given[field.name] for field in fields(cls)}
        return cls(**chosen | {"levels": tuple(int(level) for level in str(chosen["levels"]).split(","))})  # type: ignore[arg-type]


class Features(nn.Module):  # type: ignore[misc]  # torch is not followed by mypy
    """uint8 [N, H, W, 3] RGB to float32 [N, d, grid, grid]; frozen once `fit` has set the reduction."""

    weight: Tensor
    bias: Tensor

    def __init__(self, settings: FeatureSettings, *, weights: bool = True, channels: int | None = None) -> None:
        """`weights=False` and `channels` give the shape alone, for tensors that are loaded afterwards."""
        super().__init__()
        base = backbone.load(settings.backbone, weights=weights, levels=settings.levels)
        self.backbone = base.module
        self.settings = settings
        self.register_buffer("scale", torch.tensor(base.std).mul(255).reciprocal().view(1, 3, 1, 1))
        self.register_buffer("shift", torch.tensor(base.mean).div(torch.tensor(base.std)).view(1, 3, 1, 1))
        self.widths = base.channels
        weight = torch.empty(channels, sum(base.channels)) if channels else _initial(base, settings)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", torch.zeros(weight.shape[0]))

    @property
    def dimensions(self) -> int:
        """Channels of a feature vector."""
        return int(self.weight.shape[0])

    def pixels(self, images: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] to normalised float32 [N, 3, H, W]."""
        return images.permute(0, 3, 1, 2).float() * self.scale - self.shift

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels to feature vectors."""
        return _together(self._vectors(apart(pixels, self.settings.tiles)), self.settings.tiles)

    def _vectors(self, pixels: Tensor) -> Tensor:
        found = self.bias.view(1, -1, 1, 1)
        first = 0
        for level, width in zip(self.backbone(pixels), self.widths, strict=True):
            found = found + self._on_grid(level, self.weight[:, first : first + width])
            first += width
        return found

    def _on_grid(self, level: Tensor, weight: Tensor) -> Tensor:
        """One level's share of the vectors: averaging and mixing commute, so each is done where cells are fewer."""
        grid, size = self.settings.input_size // self.settings.stride, level.shape[-1]
        if self.settings.neighbourhood > 1:
            level = F.avg_pool2d(
                level, self.settings.neighbourhood, 1, self.settings.neighbourhood // 2, count_include_pad=False
            )
        if size > grid:
            level = F.avg_pool2d(level, size // grid)
        mixed = F.conv2d(level, weight[:, :, None, None])
        if size < grid:
            mixed = F.interpolate(mixed, size=(grid, grid), mode="bilinear", align_corners=False)
        return mixed

    def raw(self, pixels: Tensor) -> Tensor:
        """All channels of all levels on the grid, float32 [N, C, grid, grid]."""
        levels = self.backbone(apart(pixels, self.settings.tiles))
        unit = torch.eye(sum(self.widths)).split(self.widths, dim=1)
        found = sum((self._on_grid(level, part) for level, part in zip(levels, unit, strict=True)), torch.tensor(0.0))
        return _together(found, self.settings.tiles)

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Set the reduction from uint8 batches [N, H, W, 3] of good frames; `projection` needs none."""
        if self.settings.reduction == "projection":
            return
        generator = torch.Generator().manual_seed(self.settings.seed)
        cells = torch.cat([_some(self.raw(self.pixels(batch)), generator) for batch in batches])[:_PCA_CELLS]
        self.weight, self.bias = principal(cells, self.settings.dimensions, self.settings.variance)


def apart(pixels: Tensor, tiles: int) -> Tensor:
    """[N, c, T·S, T·S] to its tiles, [N·T·T, c, S, S]."""
    if tiles == 1:
        return pixels
    return pixels.unflatten(3, (tiles, -1)).unflatten(2, (tiles, -1)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


def _together(found: Tensor, tiles: int) -> Tensor:
    """What `apart` undoes: [N·T·T, d, g, g] to [N, d, T·g, T·g]."""
    if tiles == 1:
        return found
    return found.unflatten(0, (-1, tiles, tiles)).permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def principal(cells: Tensor, most: int, variance: float) -> tuple[Tensor, Tensor]:
    """Weight [d, C] and bias [d] that project onto the leading directions of standardised `cells`, float32 [M, C].

    d is the fewest directions that explain `variance`, at most `most`. Raises DetectorError when nothing varies.
    """
    mean, deviation = cells.mean(0), cells.std(0)
    alive = deviation > 1e-6 * deviation.max().clamp_min(1e-12)
    if not bool(alive.any()) or not bool(torch.isfinite(deviation).all()):
        raise DetectorError("the good frames show no variation at all: they are one picture, or blank; add others")
    scale = torch.where(alive, 1 / deviation.clamp_min(1e-12), 0.0)
    values, vectors = torch.linalg.eigh(torch.cov(((cells - mean) * scale).T))
    values, vectors = values.flip(0).clamp_min(0), vectors.flip(1)
    explained = values.cumsum(0) / values.sum()
    count = min(most, int((explained < variance).sum()) + 1)
    weight = vectors[:, :count].T * scale
    return weight.contiguous(), -(weight @ mean)


def _some(features: Tensor, generator: torch.Generator) -> Tensor:
    """A sample of the cells of [N, C, grid, grid], [M, C]: neighbours say nearly the same."""
    cells = features.permute(0, 2, 3, 1).flatten(0, 2)
    return cells[torch.randperm(len(cells), generator=generator)[: max(1, len(cells) // 8)]]


def _initial(base: Backbone, settings: FeatureSettings) -> Tensor:
    """Orthonormal rows [d, C], the same for the same seed."""
    channels = sum(base.channels)
    if settings.dimensions > channels and settings.reduction == "projection":
        raise DetectorError(
            f"dimensions is {settings.dimensions}, but backbone {base.name} has {channels} channels; ask for fewer"
        )
    generator = torch.Generator().manual_seed(settings.seed)
    basis, _ = torch.linalg.qr(torch.randn(channels, channels, generator=generator))
    return basis[: settings.dimensions].contiguous()
