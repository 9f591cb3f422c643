"""Variants of good frames: what a part would look like a little elsewhere, in other light, less sharp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from models.dataset import load_images
from sightline.errors import SourceError

DEFAULT_SIZE = 1500
"""Pictures a product, the given ones included."""


@dataclass(frozen=True, slots=True)
class Changes:
    """How far a variant may go; 0 leaves a change out.

    Flips are for products that look the same from either side: a part that lies the wrong way round can be a defect.
    """

    rotation: float = 4.0
    """Degrees, either way."""
    scale: float = 0.05
    """Share by which the part grows or shrinks."""
    shift: float = 0.03
    """Share of the picture's side, either way."""
    light: float = 0.08
    """Share by which the picture gets brighter or darker."""
    blur: float = 0.7
    """Largest deviation of the blur, in pixels of a picture whose shorter side is 256; half of the variants have it."""
    noise: float = 3.0
    """Largest deviation of the noise, of 255."""
    flip_horizontal: bool = False
    flip_vertical: bool = False

    def __post_init__(self) -> None:
        wrong = [field.name for field in fields(self) if getattr(self, field.name) < 0]
        if wrong:
            raise SourceError(f"{', '.join(wrong)} must not be negative; 0 leaves the change out")
        if self.scale >= 1 or self.light >= 1:
            raise SourceError(f"scale {self.scale} and light {self.light} are shares below 1; 0.05 means 5 %")


_MILD = Changes(blur=0, noise=0)


def variants(images: NDArray[np.uint8], copies: int, seed: int) -> NDArray[np.uint8]:
    """`copies` mild variants of each of `images`, uint8 [N, H, W, 3] to [N, copies, H, W, 3]; moved and lit only.

    The same for the same seed. Borders are mirrored. Nothing is flipped: a part that lies the wrong way round can be a
    defect.
    """
    rng = np.random.default_rng(seed)
    count, height, width, _ = images.shape
    varied = np.empty((count, copies, height, width, 3), np.uint8)
    for image, row in zip(images, varied, strict=True):
        for target in row:
            target[:] = _varied(image, rng, _MILD)
    return varied


def symmetries(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Square `images`, uint8 [N, S, S, 3], turned by 90, 180 and 270 degrees and mirrored: [N, 4, S, S, 3]."""
    turned = [np.rot90(images, turns, axes=(1, 2)) for turns in (1, 2, 3)]
    return np.stack([*turned, images[:, :, ::-1]], axis=1)


def augment_to(
    source: NDArray[np.uint8] | Sequence[Path],
    size: int = DEFAULT_SIZE,
    *,
    seed: int = 0,
    changes: Changes | None = None,
    shape: tuple[int, int] = (256, 256),
    batch: int = 32,
) -> Iterator[NDArray[np.uint8]]:
    """`size` pictures made of `source`, in batches uint8 [≤ batch, H, W, 3]; only one batch is in memory at a time.

    Each given picture comes once as it is, then all come as variants, equally often; of more than `size`, as many are
    drawn. `source` is uint8 [N, H, W, 3], or paths, which are read as `shape` (height, width) when their turn comes.
    Picture i depends on `source`, `seed` and `changes`, not on `batch`. Raises SourceError when there is nothing to
    vary, or a file cannot be read.
    """
    changes = changes or Changes()
    count = len(source)
    if not count:
        raise SourceError("there is no picture to make variants of; give at least one")
    if size < 1 or batch < 1:
        raise SourceError(f"{size} pictures in batches of {batch} cannot be made; both must be at least 1")
    rounds = -(-size // count)
    rng = np.random.default_rng(seed)
    # the first round in the given order where it is complete, the others shuffled, so that any part of it is a fair mix
    order = [np.arange(count) if size >= count else np.sort(rng.permutation(count)[:size])]
    order += [rng.permutation(count) for _ in range(rounds - 1)]
    chosen = np.concatenate(order)[:size]
    return _batches(source, chosen, seed, changes, shape, batch)


def _batches(
    source: NDArray[np.uint8] | Sequence[Path],
    chosen: NDArray[np.intp],
    seed: int,
    changes: Changes,
    shape: tuple[int, int],
    batch: int,
) -> Iterator[NDArray[np.uint8]]:
    count = len(source)
    for start in range(0, len(chosen), batch):
        indices = chosen[start : start + batch]
        if isinstance(source, np.ndarray):
            images = source[indices]
        else:
            images = load_images([source[index] for index in indices], *shape)
        for position, image in enumerate(images, start):
            if position >= count:
                image[:] = _varied(image, np.random.default_rng([seed, position]), changes)
        yield images


def _varied(image: NDArray[np.uint8], rng: np.random.Generator, changes: Changes) -> NDArray[np.uint8]:
    """One variant of `image`, uint8 [H, W, 3]; borders are mirrored."""
    height, width, _ = image.shape
    centre, angle = (width / 2, height / 2), rng.uniform(-changes.rotation, changes.rotation)
    turn = cv2.getRotationMatrix2D(centre, angle, 1 + rng.uniform(-changes.scale, changes.scale))
    turn[:, 2] += rng.uniform(-changes.shift, changes.shift, 2) * (width, height)
    moved = cv2.warpAffine(image, turn, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    lit = moved * (1 + rng.uniform(-changes.light, changes.light))
    if changes.flip_horizontal and rng.random() < 0.5:
        lit = lit[:, ::-1]
    if changes.flip_vertical and rng.random() < 0.5:
        lit = lit[::-1]
    if changes.blur and rng.random() < 0.5:
        deviation = rng.uniform(0, changes.blur) * min(height, width) / 256
        if deviation > 0.2:  # less does not change a pixel
            lit = cv2.GaussianBlur(np.ascontiguousarray(lit), (0, 0), deviation)
    if changes.noise:
        grain = rng.standard_normal((height, width, 1), np.float32)  # sensors of grey pictures have no coloured noise
        lit = lit + rng.uniform(0, changes.noise) * grain
    return np.asarray(np.clip(lit, 0, 255), np.uint8)
