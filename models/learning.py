"""What a head learns from: features of good frames, of mild variants of them, and of synthetic defects on them.

Everything is computed once; folds of a calibration and the final fit take their frames' part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.features import Features
from models.preparation import Preparation
from models.progress import Progress

_BATCH = 8


@dataclass(frozen=True, slots=True)
class Learnt:
    """One fit's material: `features` [M, d, g, g] of good pictures and their normalised `pixels` where a head asks.

    `spoilt` [S, d, g, g] are features of the same pictures with synthetic defects, `masks` [S, g, g] the share of each
    cell that a defect changed.
    """

    features: Tensor
    pixels: Tensor | None
    spoilt: Tensor
    masks: Tensor


@dataclass(frozen=True, slots=True)
class Material:
    """Of N frames: features [N, 1 + V, d, g, g], the frame itself first, then V variants; pixels alike or None.

    `spoilt` [N, S, d, g, g] and `masks` [N, S, g, g] hold S synthetic defects a frame.
    """

    features: Tensor
    pixels: Tensor | None
    spoilt: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def of(self, part: NDArray[np.intp] | slice) -> Learnt:
        """What is fitted on when the frames of `part` are learnt."""
        chosen = torch.arange(len(self))[part] if isinstance(part, slice) else torch.from_numpy(part)
        return Learnt(
            self.features[chosen].flatten(0, 1),
            None if self.pixels is None else self.pixels[chosen].flatten(0, 1),
            self.spoilt[chosen].flatten(0, 1),
            self.masks[chosen].flatten(0, 1),
        )

    def frames(self, part: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        """Features and pixels of the frames of `part` as they are, without variants."""
        chosen = torch.from_numpy(part)
        features = self.features[chosen, 0]
        return features, features if self.pixels is None else self.pixels[chosen, 0]

    def synthetic(self, part: NDArray[np.intp]) -> Tensor:
        """Features of the synthetic defects on the frames of `part`, [n·S, d, g, g]."""
        return self.spoilt[torch.from_numpy(part)].flatten(0, 1)


def gather(
    features: Features,
    paths: Sequence[Path],
    preparation: Preparation,
    *,
    defects: int,
    with_pixels: bool,
    seed: int,
    progress: Progress,
) -> Material:
    """Compute the material of the pictures at `paths`, each with `defects` synthetic ones.

    Raises SourceError naming a picture that cannot be read.
    """
    size, grid, count = features.settings.side, features.settings.grid, len(paths)
    shape = (features.dimensions, grid, grid)
    variants = preparation.copies
    found = torch.empty(count, 1 + variants, *shape)
    pixels = torch.empty(count, 1 + variants, 3, size, size) if with_pixels else None
    spoilt, masks = torch.empty(count, defects, *shape), torch.empty(count, defects, grid, grid)
    for start in range(0, count, _BATCH):
        progress("features", start, count)
        pictures = preparation.load(paths[start : start + _BATCH])
        part = slice(start, start + len(pictures))
        images = preparation.seen(pictures)
        every = np.concatenate([images[:, None], preparation.varied(images, seed + start)], axis=1)
        normal = features.pixels(torch.from_numpy(every.reshape(-1, *images.shape[1:])))
        found[part] = features(normal).unflatten(0, (len(images), -1))
        if pixels is not None:
            pixels[part] = normal.unflatten(0, (len(images), -1))
        if defects:
            made = preparation.spoilt(pictures, defects, seed + start)
            spoilt[part] = described(features, made.images).unflatten(0, (len(images), -1))
            masks[part] = torch.from_numpy(shares(made.masks, grid)).unflatten(0, (len(images), -1))
    progress("features", count, count)
    return Material(found, pixels, spoilt, masks)


def described(features: Features, images: NDArray[np.uint8]) -> Tensor:
    """Features [N, d, g, g] of `images`, uint8 [N, S, S, 3], a few at a time."""
    parts = (images[start : start + _BATCH] for start in range(0, len(images), _BATCH))
    return torch.cat([features(features.pixels(torch.from_numpy(np.ascontiguousarray(part)))) for part in parts])


def shares(masks: NDArray[np.bool_], grid: int) -> NDArray[np.float32]:
    """Share of each cell that a mask covers: bool [N, H, W] to [N, grid, grid]."""
    small = [cv2.resize(mask.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA) for mask in masks]
    return np.stack(small).astype(np.float32)
